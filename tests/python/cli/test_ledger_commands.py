"""What is submitted to a ledger, shown of it, and steered in it."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest

SUBMIT = ("submit", "Design it", "--issue", "1")


@pytest.fixture
def ledger(command, gitea, place):
    """The command with a ledger of its own and the settings of a sandbox."""

    def run(*arguments, **variables):
        ran = command(*arguments, **{"TIMMY_LEDGER": place} | gitea.variables | variables)
        assert "hunter22" not in ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        return ran

    run.place = place
    run.folder = command.folder
    run.gitea = gitea
    return run


#: For what is about a file.
in_a_file = pytest.mark.parametrize("place", ["sqlite"], indirect=True)


def submitted(ledger, *arguments):
    ran = ledger(*arguments, "--json")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"XDG_STATE_HOME": "{}/xdg"}, "xdg/timmy-dispatcher/dispatch.db"),
        ({"XDG_STATE_HOME": "relative"}, ".local/state/timmy-dispatcher/dispatch.db"),
        ({}, ".local/state/timmy-dispatcher/dispatch.db"),
    ],
)
def test_the_ledger_is_among_the_user_s_state_and_the_user_s_alone(command, variables, place):
    folder = command.folder
    variables = {name: value.format(folder) for name, value in variables.items()}
    ran = command("submit", "Roadmap", HOME=str(folder), **variables)
    assert ran.returncode == 0, ran.stderr
    made = folder / place
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700


def test_what_is_submitted_is_listed_and_shown(ledger):
    ran = ledger(*SUBMIT, "--criteria", "It works", "--priority", "2", "--key", "k1")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "status     pending queued" in ran.stdout
    assert "priority   2" in ran.stdout
    record = json.loads(ledger("list", "--json").stdout)[0]
    assert record["task"]["acceptance_criteria"] == ["It works"]
    assert (record["priority"], record["idempotency_key"]) == (2, "k1")
    assert record["created_at"].endswith("+00:00")
    shown = ledger("show", record["id"]).stdout
    assert "no process has come yet that does the work" in shown
    assert "submitted" in shown.split("Events")[1]
    story = json.loads(ledger("show", record["id"][:-1], "--json").stdout)
    assert story["record"]["id"] == record["id"]
    assert [event["kind"] for event in story["events"]] == ["submitted"]
    table = ledger("list").stdout
    assert f"{record['id'][-8:]}  pending queued" in table


def test_where_an_agent_takes_tasks_is_an_option_or_in_the_environment(ledger):
    given = "agent_api=http://agents.example/"
    assert (
        submitted(ledger, "submit", "Survey it", "--agent-endpoint", given)["agent"] == "agent_api"
    )
    ran = ledger("submit", "Survey it", TIMMY_AGENT_ENDPOINTS=given)
    assert ran.returncode == 0, ran.stderr


def test_the_same_issue_is_the_same_dispatch(ledger):
    first = submitted(ledger, *SUBMIT)
    again = submitted(ledger, "submit", "Something else", "--issue", "1")
    assert (first["new"], again["new"]) == (True, False)
    assert again["id"] == first["id"]
    assert "It was there already." in ledger(*SUBMIT).stderr


def test_a_key_of_another_task_is_refused(ledger):
    submitted(ledger, "submit", "Roadmap", "--key", "k")
    ran = ledger("submit", "Triage it", "--key", "k", "--json")
    assert ran.returncode == 1
    assert "belongs to another task" in json.loads(ran.stdout)["error"]


def test_the_description_comes_from_a_file_or_stdin(ledger):
    (ledger.folder / "task.md").write_text("Über alles\nzwei Zeilen", encoding="utf-8")
    record = submitted(ledger, "submit", "Roadmap", "--file", "task.md")
    assert record["task"]["description"] == "Über alles\nzwei Zeilen"
    # Nothing is on stdin here.
    assert submitted(ledger, "submit", "Triage", "--file", "-")["task"]["description"] == ""
    for wrong in (("--file", "none.md"), ("--file", "task.md", "-d", "x")):
        ran = ledger("submit", "Roadmap", *wrong)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr.startswith("Error: ")


def test_a_dry_run_keeps_and_makes_nothing(ledger):
    ran = ledger(*SUBMIT, "--gate", "checklist", "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert "architecture on timmy/swarm#1" in ran.stdout
    assert "Claude Code" in ran.stdout
    assert "checklist" in ran.stdout
    plan = json.loads(ledger(*SUBMIT, "--dry-run", "--json").stdout)
    assert [agent["label"] for agent in plan["agents"]] == ["claude-ready"]
    assert "There is no ledger" in ledger("list").stderr
    assert ledger.gitea.requests() == []


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (("submit", "Design it"), {}, "give `issue_number` (--issue N)"),
        (("submit", " "), {}, "title"),
        (SUBMIT, {"GITEA_TOKEN": ""}, "GITEA_TOKEN"),
        (SUBMIT, {"GITEA_REPO": "swarm"}, "GITEA_REPO"),
        (("submit", "Survey it"), {}, "--agent-endpoint AGENT=URL"),
        (("submit", "Survey it", "--agent-endpoint", "bob=x"), {}, "unknown agent 'bob'"),
        ((*SUBMIT, "--busy", "panic"), {}, "fallback"),
        ((*SUBMIT, "--agent", "nobody"), {}, "claude_code"),
        (("list", "--status", "lost"), {}, "pending"),
        (("list",), {}, "There is no ledger"),
        (("show", "1234"), {}, "`submit` and `run` make one"),
        (("ledger", "check"), {}, "TIMMY_LEDGER"),
        (("submit", "Roadmap"), {"TIMMY_LEDGER": "mysql://here/x"}, "mysql"),
        (("submit", "Roadmap"), {"TIMMY_LEDGER": "/proc/none/x.db"}, "/proc/none"),
    ],
)
def test_what_cannot_be_is_exit_2(ledger, arguments, variables, said):
    ran = ledger(*arguments, **variables)
    assert (ran.returncode, ran.stdout) == (2, ""), ran.stderr
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ledger.gitea.token not in ran.stderr


def test_filters_of_the_list(ledger):
    submitted(ledger, *SUBMIT)
    roadmap = submitted(ledger, "submit", "Roadmap")
    ledger("cancel", roadmap["id"])

    def titles(*options):
        listed = json.loads(ledger("list", *options, "--json").stdout)
        return [record["task"]["title"] for record in listed]

    assert titles() == ["Design it"]
    assert titles("--all") == ["Roadmap", "Design it"]
    assert titles("--status", "failed") == ["Roadmap"]
    assert titles("--agent", "timmy", "-a") == ["Roadmap"]
    assert titles("--repo", "Timmy/Swarm") == ["Design it"]
    assert titles("--repo", "other/one", "-a") == []
    assert titles("-a", "-n", "1") == ["Roadmap"]
    assert "There are more" in ledger("list", "-a", "-n", "1").stderr


def test_a_part_of_an_id_names_one_dispatch_or_none(ledger):
    ids = [submitted(ledger, "submit", f"Roadmap {n}")["id"] for n in range(2)]
    assert json.loads(ledger("hold", ids[0][-10:], "--json").stdout)["id"] == ids[0]
    for part, said in (
        (ids[0][:6], "is the beginning or end of 2 ids"),
        ("abc", "too short"),
        ("ffffffff", "There is no dispatch 'ffffffff'"),
        ("01a2ffff-0000-7000-8000-000000000000", "01a2ffff"),
    ):
        ran = ledger("show", part)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert said in ran.stderr


def test_steering(ledger):
    id = submitted(ledger, *SUBMIT)["id"]
    short = id[-8:]
    assert ledger("hold", short, "--reason", "not today").stdout == (
        f"{id} pending held: not today\n"
    )
    assert ledger("release", short).stdout.startswith(f"{id} pending queued: released")
    assert ledger("cancel", short).stdout.startswith(f"{id} failed cancelled")
    # What has ended cannot be called off, and says where it stands.
    for what in ("cancel", "hold"):
        ran = ledger(what, short)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "cancelled" in ran.stderr
    assert json.loads(ledger("retry", short, "--json").stdout)["phase"] == "queued"
    assert ledger("retry", short).returncode == 1


def test_another_type_is_another_route(ledger):
    id = submitted(ledger, *SUBMIT)["id"]
    ran = ledger("retype", id[-8:], "routine_coding", "--json")
    assert ran.returncode == 0, ran.stderr
    record = json.loads(ran.stdout)
    assert (record["task"]["task_type"], record["agent"]) == ("routine_coding", "kimi_code")
    assert ledger("retype", id, "cooking").returncode == 2
    ledger("cancel", id)
    assert ledger("retype", id, "planning").returncode == 1


def test_pausing(ledger):
    submitted(ledger, *SUBMIT)
    assert ledger("pause").stdout == "Nobody gets tasks any more.\n"
    assert ledger("resume").stdout == "Everybody gets tasks.\n"
    answer = json.loads(ledger("pause", "--json").stdout)
    assert answer == {"agent": None, "paused": True}


def test_the_repository_moves(ledger):
    submitted(ledger, *SUBMIT)
    assert ledger("repo", "move", "timmy/swarm", "timmy/hive").stdout == (
        "1 dispatch goes on in timmy/hive.\n"
    )
    assert json.loads(ledger("list", "--json").stdout)[0]["repo"] == "timmy/hive"
    assert ledger("repo", "move", "timmy/hive", "hive").returncode == 2


def test_the_file_is_made_and_checked(ledger):
    assert "is made, with version" in ledger("ledger", "migrate").stdout
    assert "already" in ledger("ledger", "migrate").stdout
    assert ": whole; version" in ledger("ledger", "check").stdout
    assert json.loads(ledger("ledger", "check", "--json").stdout)["wrong"] == []


@in_a_file
def test_a_broken_file_is_found(ledger):
    for number in range(40):
        submitted(ledger, "submit", "Roadmap", "--key", f"{number}", "-d", "x" * 500)
    place = Path(ledger.place)
    size = place.stat().st_size
    with place.open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(size // 3))
    ran = ledger("ledger", "check")
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "ERROR" in ran.stdout or "malformed" in ran.stderr


@in_a_file
@pytest.mark.parametrize("content", [b"no database at all, only text" * 40, b"SQLite format 3\0"])
def test_a_foreign_file_is_left_alone(ledger, content):
    place = Path(ledger.place)
    place.parent.mkdir()
    place.write_bytes(content)
    for arguments in (("list",), ("submit", "Roadmap"), ("ledger", "check")):
        ran = ledger(*arguments)
        assert ran.returncode == 1, arguments
        assert "Traceback" not in ran.stderr
    assert place.read_bytes() == content


def test_texts_that_mean_harm_are_shown_harmlessly(ledger):
    title = "Roadmap \x1b[2J\x07 [red]now[/]"
    id = submitted(ledger, "submit", title)["id"]
    for arguments in (("list",), ("show", id), ("hold", id, "--reason", "\x1b[2J")):
        ran = ledger(*arguments)
        assert ran.returncode == 0
        assert "\x1b" not in ran.stdout
        assert "\\x1b[2J" in ran.stdout
    assert "[red]now[/]" in ledger("list").stdout


def test_a_file_from_a_copy_is_looked_up(ledger):
    first = submitted(ledger, *SUBMIT)["id"]
    second = submitted(ledger, "submit", "Roadmap")["id"]
    answer = json.loads(ledger("ledger", "check", "--restored", "--json").stdout)
    assert answer["restored"][first] is None
    assert "cannot be looked up" in answer["restored"][second]
    listed = {one["id"]: one["phase"] for one in json.loads(ledger("list", "--json").stdout)}
    assert listed == {first: "queued", second: "held"}
    ran = ledger("ledger", "check", "--restored")
    assert f"{first}  goes on" in ran.stdout


def test_what_a_person_said_is_exported_for_training(ledger, tmp_path):
    submitted(ledger, "submit", "Roadmap")
    submitted(ledger, "submit", "Look at it", "--type", "planning")
    changed = submitted(ledger, "submit", "Look at that", "--issue", "1")["id"]
    assert ledger("retype", changed, "triage").returncode == 0
    lines = [json.loads(one) for one in ledger("model", "export").stdout.splitlines()]
    assert [(one["title"], one["label"]) for one in lines] == [
        ("Look at it", "planning"),
        ("Look at that", "triage"),
    ]
    data = tmp_path / "ours.jsonl"
    assert ledger("model", "export", "-o", str(data)).stdout.startswith("2 tasks are in ")
    assert ledger("model", "eval", str(data), "--json").returncode == 0


@pytest.mark.parametrize("arguments", [("list",), SUBMIT, ("ledger", "check"), ("run",)])
def test_a_server_that_is_not_there_is_said_with_what_to_do(ledger, arguments):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{free.getsockname()[1]}"
    ran = ledger(*arguments, TIMMY_LEDGER=f"postgresql://me:hunter22@{at}/db")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"no connection to the ledger at postgresql://{at}/db" in ran.stderr
    assert "see that the host and the port" in " ".join(ran.stderr.split())
