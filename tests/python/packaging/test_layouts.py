"""The three ways to have `timmy.dispatcher`: alone, beside a dashboard, in a dashboard's `src/`."""

import pytest
from environments import PYDANTIC_SETTINGS, PYTEST, make_wheel, write

#: The command of the README that says which one is imported.
CHECK = ("-c", "import timmy.dispatcher as d; print(d.__file__)")
DISPATCH = """
import asyncio, sys
from timmy.dispatcher import dispatch_task
result = asyncio.run(dispatch_task("Design it", issue_number=1))
assert result.success, result
assert "httpx" not in sys.modules
print(result.label_applied)
"""
#: As short as can be, to tell the module that was there before from ours.
OLD_DISPATCHER = 'OLD = True\n\nasync def dispatch_task(title, **_):\n    return "old"\n'
EXTEND_PATH = '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'

DASHBOARD = {
    "timmy/__init__.py": '"""The dashboard."""\n\nNAME = "dashboard"\n',
    "timmy/brain/__init__.py": "",
    "timmy/brain/memory.py": "SIZE = 3\n",
    "timmy/app.py": "from timmy.dispatcher import dispatch_task\n",
}
DASHBOARD_WORKS = (
    "-c",
    "import timmy; from timmy.brain import memory; print(timmy.NAME, memory.SIZE)",
)


def ours(environment):
    return str(environment.site_packages / "timmy" / "dispatcher" / "__init__.py")


# --- alone -------------------------------------------------------------------------------


def test_alone_timmy_is_a_namespace_package(environment, wheel, gitea):
    environment.install(wheel)
    assert environment.run(*CHECK) == ours(environment)
    assert environment.run("-c", "import timmy; print(timmy.__file__)") == "None"
    assert environment.run("-c", DISPATCH, **gitea.variables) == "claude-ready"
    [comment] = gitea.comments(gitea.repo, 1)
    assert "Claude Code" in comment["body"]
    # Nothing else was needed, and the command says what it needs.
    assert {path.name for path in environment.site_packages.iterdir()} == {
        "timmy",
        "timmy_dispatcher-0.1.0.dist-info",
    }
    said = environment.fails("-m", "timmy.dispatcher.cli", "agents")
    assert "pip install 'timmy-dispatcher[cli]'" in said
    environment.uninstall("timmy-dispatcher")
    assert not [path for path in environment.site_packages.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"config.py": "debug = True\n"},
        {"config.py": "import a_module_that_is_not_there\n"},
        {"config/production.toml": ""},
        {"config/__init__.py": "", "config/settings.py": "DEBUG = True\n"},
    ],
)
def test_without_settings_of_a_host_the_environment_s_are_read_at_use(
    environment, wheel, gitea, config
):
    environment.install(wheel)
    write(environment.folder, config)
    late = f"""
import os
import timmy.dispatcher as d
assert not d.settings.gitea_token
os.environ.update({gitea.variables!r})
"""
    assert environment.run("-c", late + DISPATCH) == "claude-ready"


def test_a_host_s_broken_config_is_seen(environment, wheel):
    environment.install(wheel)
    write(environment.folder, {"config.py": 'raise ValueError("GITEA_URL is wrong")\n'})
    assert "GITEA_URL is wrong" in environment.fails("-c", "import timmy.dispatcher")


# --- beside a dashboard that is installed ------------------------------------------------


@pytest.mark.parametrize(
    ("order", "old"),
    [
        ("dashboard first", {}),
        ("dispatcher first", {}),
        ("dispatcher first", {"timmy/dispatcher.py": OLD_DISPATCHER}),
    ],
)
def test_beside_an_installed_dashboard(environment, wheel, tmp_path, order, old):
    dashboard = make_wheel(tmp_path, "timmy_dashboard", DASHBOARD | old)
    for each in (dashboard, wheel) if order == "dashboard first" else (wheel, dashboard):
        environment.install(each)
    # A package goes before a module of its name in the same folder, so an old one is no matter.
    assert environment.run(*CHECK) == ours(environment)
    assert environment.run(*DASHBOARD_WORKS) == "dashboard 3"
    environment.run(
        "-c",
        "from timmy import app, dispatcher; assert app.dispatch_task is dispatcher.dispatch_task",
    )

    environment.uninstall("timmy-dispatcher")
    assert environment.run(*DASHBOARD_WORKS) == "dashboard 3"
    if old:
        assert environment.run("-c", "import timmy.dispatcher as d; print(d.OLD)") == "True"
    else:
        assert "No module named 'timmy.dispatcher'" in environment.fails(*CHECK)
    assert not (environment.site_packages / "timmy" / "dispatcher").exists()

    environment.install(wheel)
    environment.uninstall("timmy-dashboard")
    assert environment.run(*CHECK) == ours(environment)


# --- in a dashboard that is run from src/ ------------------------------------------------

CONFIG = """
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    gitea_url: str = "http://localhost:3000"
    gitea_token: str = ""
    gitea_repo: str = "rockachopa/Timmy-time-dashboard"
    gitea_enabled: bool = True


settings = Settings()
"""
CONFTEST = """
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
"""
TESTS = """
from unittest.mock import AsyncMock, patch

import timmy.dispatcher as d
from config import settings


def test_settings_are_the_host_s():
    assert d.settings is settings


async def test_a_patched_function_is_called():
    failed = d.DispatchResult(d.TaskType.TRIAGE, d.AgentType.TIMMY, None, d.DispatchStatus.FAILED)
    with patch("timmy.dispatcher._dispatch_local", AsyncMock(return_value=failed)) as local:
        result = await d.dispatch_task("Triage it", max_retries=0)
    local.assert_awaited_once()
    assert result.status is d.DispatchStatus.ESCALATED


async def test_patched_settings():
    with patch("timmy.dispatcher.settings") as mock:
        mock.gitea_enabled = False
        result = await d.dispatch_task("Design it", issue_number=1, max_retries=0)
    assert result.error == "Gitea integration not configured (no token or disabled)."
"""


@pytest.fixture
def checkout(tmp_path):
    """A dashboard's checkout, as it was before."""
    folder = tmp_path / "dashboard"
    write(folder / "src", DASHBOARD | {"config.py": CONFIG, "timmy/dispatcher.py": OLD_DISPATCHER})
    write(
        folder,
        {
            "tests/conftest.py": CONFTEST,
            "tests/test_dispatch.py": TESTS,
            "pytest.ini": "[pytest]\nasyncio_mode = auto\n",
        },
    )
    return folder


def test_in_a_dashboard_that_is_run_from_src(environment, wheel, checkout, gitea):
    environment.install(wheel)
    environment.borrow(*PYDANTIC_SETTINGS, *PYTEST)
    old = checkout / "src" / "timmy" / "dispatcher.py"
    init = checkout / "src" / "timmy" / "__init__.py"

    def run(*arguments):
        return environment.run(*arguments, cwd=checkout, PYTHONPATH="src", **gitea.variables)

    # Installed, and nothing else done: the old one, silently.
    assert run(*CHECK) == str(old)
    init.write_text(init.read_text() + EXTEND_PATH)
    assert run(*CHECK) == str(old)

    # The file deleted: ours, with the host's own settings.
    kept = old.read_text()
    old.unlink()
    assert run(*CHECK) == ours(environment)
    assert run(*DASHBOARD_WORKS) == "dashboard 3"
    assert run("-c", DISPATCH) == "claude-ready"
    same = "import config, timmy.dispatcher as d; print(d.settings is config.settings)"
    assert run("-c", same) == "True"
    assert "3 passed" in environment.run("-m", "pytest", "-q", cwd=checkout)

    # Installed with `pip install -e`, its src/ comes behind site-packages on the path.
    editable = environment.site_packages / "dashboard.pth"
    editable.write_text(str(checkout / "src"))
    assert environment.run(*CHECK) == ours(environment)
    assert environment.run(*DASHBOARD_WORKS) == "dashboard 3"

    # Going back: the file restored.
    old.write_text(kept)
    assert environment.run(*CHECK) == str(old)
    editable.unlink()
    assert run(*CHECK) == str(old)
    environment.uninstall("timmy-dispatcher")
    assert run(*CHECK) == str(old)
    assert run(*DASHBOARD_WORKS) == "dashboard 3"


def test_without_the_one_line_it_is_not_found(environment, wheel, checkout):
    environment.install(wheel)
    (checkout / "src" / "timmy" / "dispatcher.py").unlink()
    said = environment.fails(*CHECK, cwd=checkout, PYTHONPATH="src")
    assert "No module named 'timmy.dispatcher'" in said
