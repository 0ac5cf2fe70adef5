"""What the tests of the command line share."""

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

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


@pytest.fixture(scope="session")
def postgresql():
    """The URL of a PostgreSQL of the tests' own, with a password that nobody may read."""
    script = Path(__file__).parents[3] / "scripts" / "postgres"
    with subprocess.Popen(
        [script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        url = server.stdout.readline().strip()
        assert url.startswith("postgresql://"), "see above"
        yield url.replace("timmy@", "timmy:hunter22@")
        # It ends with its input.


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where a ledger may be made; nothing is there yet."""
    if request.param == "sqlite":
        return str(tmp_path / "state" / "dispatch.db")
    url = request.getfixturevalue("postgresql")
    return f"{url}?schema=cli_{uuid4().hex}"


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
