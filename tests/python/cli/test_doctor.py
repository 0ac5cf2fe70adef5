"""`doctor`: what it prints, and its exit code. What it finds is tested in the core."""

import json
import re

import pytest

SCOPES = ("write:issue", "read:repository", "read:user")


@pytest.fixture
def doctor(command, gitea):
    for login in ("claude", "kimi"):
        gitea.create_user(login, f"{login}-token", *SCOPES)
    gitea.create_user("dispatcher", "narrow-token", *SCOPES)
    gitea.add_writer(gitea.repo, "dispatcher")

    def run(*arguments, **variables):
        return command(
            "doctor",
            *("--agent-account", "claude_code=claude", "--agent-account", "kimi_code=kimi"),
            *arguments,
            **gitea.variables
            | {"GITEA_TOKEN": "narrow-token", "TIMMY_LEDGER": "there/dispatch.db"}
            | variables,
        )

    run.gitea = gitea
    run.command = command
    run.folder = command.folder
    return run


def test_all_is_well(doctor):
    ran = doctor("--agent-endpoint", f"agent_api={doctor.gitea.url}/agent")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert re.match(r"ok +token +of the account dispatcher$", lines[3])
    assert lines[-1].endswith("as they should be.") or "1 warning." in lines[-1]
    assert "narrow-token" not in ran.stdout
    assert not (doctor.folder / "there").exists()


def test_what_is_wrong_says_what_to_do(doctor):
    doctor.gitea.create_user("blind", "blind-token", "read:issue", "read:user")
    doctor.gitea.add_writer(doctor.gitea.repo, "blind")
    ran = doctor(GITEA_TOKEN="blind-token")
    assert (ran.returncode, ran.stderr) == (1, "")
    for scope in ("write:issue", "read:repository"):
        assert re.search(rf"ERROR +token +it lacks the scope {scope}: ", ran.stdout)
        assert f"make a token that has {scope} too, and set GITEA_TOKEN" in ran.stdout
    assert "blind-token" not in ran.stdout


def test_as_json(doctor):
    ran = doctor("--json", GITEA_TOKEN="wrong-token")
    assert ran.returncode == 1
    findings = json.loads(ran.stdout)
    [token] = [finding for finding in findings if finding["check"] == "token"]
    assert token["severity"] == "error"
    assert "GITEA_TOKEN" in token["advice"]
    assert "wrong-token" not in ran.stdout


def test_the_environment_says_it_too(doctor):
    ran = doctor(TIMMY_AGENT_ENDPOINTS=f"agent_api={doctor.gitea.url}/agent")
    assert "takes connections" in ran.stdout
    ran = doctor(TIMMY_RECEIVE="127.0.0.1:0", TIMMY_WEBHOOK_SECRET="hook-secret")
    assert "webhook" in ran.stdout
    assert "hook-secret" not in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--agent-account", "claude_code"), "AGENT=VALUE"),
        (("--agent-account", "bob=b"), "unknown agent 'bob'"),
        (("--agent-slots", "kimi_code=many"), "a number"),
        (("--receive", "127.0.0.1:0"), "TIMMY_WEBHOOK_SECRET"),
    ],
)
def test_options_that_cannot_be(doctor, arguments, said):
    ran = doctor(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr


def test_the_ledger_and_who_works_on_it(doctor, place):
    ran = doctor(TIMMY_LEDGER=place)
    assert re.search(
        r"ok +ledger +\S.* is not there yet; the first submission makes it", ran.stdout
    )
    variables = doctor.gitea.variables | {"TIMMY_LEDGER": place}
    assert doctor.command("ledger", "migrate", **variables).returncode == 0
    ran = doctor(TIMMY_LEDGER=place)
    shown = re.search(r"ok +ledger +(\S+)(.*), version \d+\n", ran.stdout)
    assert "hunter22" not in ran.stdout + ran.stderr
    if "://" in place:
        schema = place.rpartition("=")[2]
        assert re.fullmatch(r"postgresql://127\.0\.0\.1:\d+/postgres", shown[1])
        assert shown[2] == f" ({schema})"
    else:
        assert shown[1] == place
    assert re.search(r"warning +workers +none runs", ran.stdout)


def test_an_ascii_terminal(doctor):
    ran = doctor(PYTHONIOENCODING="ascii")
    assert ran.returncode == 0
    assert "-> " in ran.stdout
