"""What the tests of the command line share."""

import subprocess
import sys

import pytest
from command_line import Command, environment
from timmy.dispatcher.sandbox import gitea_sandbox  # noqa: F401  (a fixture)


@pytest.fixture
def command(tmp_path):
    return Command(tmp_path)


@pytest.fixture
def gitea(gitea_sandbox):  # noqa: F811
    """A sandbox with one repository and one issue, and the variables that lead to it."""
    gitea_sandbox.repo = gitea_sandbox.create_repo("swarm")
    gitea_sandbox.number = gitea_sandbox.create_issue(gitea_sandbox.repo, "Design it")
    gitea_sandbox.variables = {
        "GITEA_URL": gitea_sandbox.url,
        "GITEA_TOKEN": gitea_sandbox.token,
        "GITEA_REPO": gitea_sandbox.repo,
    }
    return gitea_sandbox


@pytest.fixture
def python_without(tmp_path):
    """A function that runs the command where some packages cannot be imported."""

    def run(packages, *arguments):
        block = f"import sys; sys.modules.update(dict.fromkeys({packages!r}))\n"
        code = block + "from timmy.dispatcher.cli import main\nsys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
