"""What the tests of the layouts share: the wheel, and environments for it."""

import pytest
from environments import PROJECT, Environment
from timmy.dispatcher.sandbox import gitea_sandbox  # noqa: F401  (a fixture)


@pytest.fixture(scope="session")
def wheel():
    """The wheel that `make wheel` has built."""
    [built] = (PROJECT / "dist").glob("*.whl")
    return built


@pytest.fixture
def environment(tmp_path):
    """An empty virtual environment."""
    return Environment(tmp_path / "venv")


@pytest.fixture
def gitea(gitea_sandbox):  # noqa: F811
    """A sandbox with one repository and one issue, and the variables that lead to it."""
    gitea_sandbox.repo = gitea_sandbox.create_repo("swarm")
    gitea_sandbox.create_issue(gitea_sandbox.repo, "Design it")
    gitea_sandbox.variables = {
        "GITEA_URL": gitea_sandbox.url,
        "GITEA_TOKEN": gitea_sandbox.token,
        "GITEA_REPO": gitea_sandbox.repo,
    }
    return gitea_sandbox
