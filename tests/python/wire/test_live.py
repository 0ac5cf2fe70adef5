"""`make test-live`: against a sandbox as if it were the user's server."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from timmy.dispatcher.sandbox import Sandbox

HERE = Path(__file__).parent
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]


def run_live(*arguments, **settings):
    """What `make test-live` runs."""
    environment = {name: value for name, value in os.environ.items() if "GITEA" not in name}
    return subprocess.run(
        [*PYTEST, "-m", "live", HERE, *arguments],
        env={**environment, "TIMMY_TEST_LIVE": "1", **settings},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_it_passes_against_a_server_of_its_own_process():
    command = [sys.executable, "-m", "timmy.dispatcher.cli", "sandbox", "--json", "--gitea", "1.25"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        try:
            started = json.loads(server.stdout.readline())
            done = run_live(GITEA_URL=started["url"], GITEA_TOKEN=started["token"])
        finally:
            server.send_signal(signal.SIGTERM)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
    assert started["token"] not in done.stdout + done.stderr


def test_it_touches_what_it_made_and_removes_it():
    with Sandbox("1.26") as gitea:
        kept = gitea.create_repo("kept")
        done = run_live(GITEA_URL=f"{gitea.url}/", GITEA_TOKEN=gitea.token)
        requests = gitea.requests()
    assert done.returncode == 0, done.stdout + done.stderr
    made = {
        f"/api/v1/repos/{gitea.owner}/{one.json()['name']}"
        for one in requests
        if (one.method, one.path, one.status) == ("POST", "/api/v1/user/repos", 201)
    }
    of_others = [
        one.path
        for one in requests
        if one.path != "/api/v1/user/repos" and not one.path.startswith(tuple(made))
    ]
    removed = [one for one in requests if (one.method, one.status) == ("DELETE", 204)]
    assert of_others == []
    assert len(made) == len(removed) > 10
    assert gitea.labels(kept) == []


def test_a_token_that_cannot_make_repositories_is_told():
    with Sandbox() as gitea:
        gitea.create_user("guest", "guest-token", "write:issue")
        done = run_live(GITEA_URL=gitea.url, GITEA_TOKEN="guest-token")
        assert len(gitea.requests()) == 1
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert "test-live: GITEA_TOKEN cannot make repositories (403: " in said
    assert "scopes write:user, write:repository and write:issue" in said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "test-live: set GITEA_URL and GITEA_TOKEN"),
        ({"GITEA_URL": "http://127.0.0.1:1", "GITEA_TOKEN": "x"}, "test-live: "),
        ({"GITEA_URL": "127.0.0.1", "GITEA_TOKEN": "x"}, "test-live: "),
    ],
)
def test_settings_that_lead_nowhere_are_told(settings, message):
    done = run_live(**settings)
    assert done.returncode == 2
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
