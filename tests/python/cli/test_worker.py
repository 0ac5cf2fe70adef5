"""`run`, as a process that is stopped, killed and looked at."""

import json
import re
import signal

import pytest

# A busy machine must not lose an answer that would have come.
TIMES = ("--faster", "50", "--time", "request=2s", "--time", "quarantine=1", "--time", "lease=8s")
FAST = ("run", *TIMES, "--agent-account", "claude_code=claude")


@pytest.fixture
def work(command, gitea, place):
    gitea.create_user("claude", "claude-token", "write:issue")
    gitea.add_writer(gitea.repo, "claude")
    command.variables = gitea.variables | {"TIMMY_LEDGER": place}
    command.gitea = gitea
    return command


def ask(work, *arguments):
    ran = work(*arguments, "--json", **work.variables)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def submit(work, *arguments):
    return ask(work, "submit", "Design it", "--issue", "1", *arguments)["id"]


def until(process, id, phase):
    """Read events until one says that the dispatch is in that phase."""
    for line in process.stdout:
        event = json.loads(line)
        if event["dispatch"] == id and event["body"].get("phase") == phase:
            return event
    raise AssertionError(process.stderr.read())


def close(gitea):
    gitea.act("claude", "PATCH", f"/repos/{gitea.repo}/issues/1", {"state": "closed"})


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_task_is_handed_over_watched_and_completed(work, stop):
    id = submit(work)
    with work.started(*FAST, "--json", **work.variables) as process:
        until(process, id, "handed_over")
        [comment] = work.gitea.comments(work.gitea.repo, 1)
        assert "Design it" in comment["body"] or "architecture" in comment["body"]
        close(work.gitea)
        until(process, id, "completed")
        process.send_signal(stop)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""
    assert ask(work, "list") == []
    story = ask(work, "show", id)
    assert [attempt["agent"] for attempt in story["attempts"]] == ["claude_code"]
    assert {effect["state"] for effect in story["effects"]} == {"done"}
    shown = work("show", id, **work.variables).stdout
    for section in ("Attempts", "Effects", "Events"):
        assert f"\n{section}\n" in shown
    assert f"comment done as {comment['id']}, phase: handing_over\n" in shown
    assert "label done, phase: handed_over\n" in shown


def test_who_waits_hears_of_the_end(work):
    with work.started(*FAST, "--json", **work.variables) as process:
        arguments = ("submit", "Design it", "--issue", "1", "--wait", "--json")
        with work.started(*arguments, **work.variables) as waiting:
            work.gitea.wait_for_requests(1, 30)
            for line in process.stdout:
                if json.loads(line)["body"].get("phase") == "handed_over":
                    break
            close(work.gitea)
            out, err = waiting.communicate(timeout=30)
        process.terminate()
        assert process.wait(30) == 0
    assert (waiting.returncode, err) == (0, "")
    assert json.loads(out)["status"] == "completed"


def test_who_gives_up_waiting_is_exit_3(work):
    arguments = ("submit", "Design it", "--issue", "1", "--wait", "--max-wait", "0.2")
    ran = work(*arguments, **work.variables)
    assert ran.returncode == 3
    assert "pending queued" in ran.stdout


def test_a_worker_that_was_killed_is_gone_on_for(work):
    gitea = work.gitea
    # The comment has its effect, and whoever asked for it is dead before the answer.
    gitea.fault("*/comments", method="POST", hold=True, after_effect=True, times=1)
    id = submit(work)
    with work.started(*FAST, "--json", **work.variables) as process:
        while not gitea.comments(gitea.repo, 1):
            gitea.wait_for_requests(1, 30)
        process.kill()
    gitea.clear_faults()
    with work.started(*FAST, "--json", **work.variables) as process:
        until(process, id, "handed_over")
        process.terminate()
        assert process.wait(30) == 0
    assert len(gitea.comments(gitea.repo, 1)) == 1
    assert [label["name"] for label in gitea.issue_labels(gitea.repo, 1)] == ["claude-ready"]


def test_a_second_signal_stops_at_once(work):
    work.gitea.fault("*/comments", method="POST", hold=True)
    submit(work)
    with work.started(*FAST, "--drain", "600", **work.variables) as process:
        while not any(request.method == "POST" for request in work.gitea.requests()):
            work.gitea.wait_for_requests(1, 30)
        process.terminate()
        for line in process.stderr:
            if line.startswith("Stopping"):
                break
        process.terminate()
        assert process.wait(30) == 130


def test_what_is_on_its_way_is_not_waited_for_longer_than_that(work):
    work.gitea.fault("*/comments", method="POST", hold=True)
    submit(work)
    with work.started(*FAST, "--drain", "0", **work.variables) as process:
        while not any(request.method == "POST" for request in work.gitea.requests()):
            work.gitea.wait_for_requests(1, 30)
        process.terminate()
        assert process.wait(30) == 0
    # It is in doubt, and may be looked at and given up.
    [effect] = [e for e in ask(work, "outbox", "list") if e["effect"] == "comment"]
    assert effect["state"] in ("sending", "in_doubt")
    assert effect["id"][-8:] in work("outbox", "list", **work.variables).stdout


def test_effects_that_wait_are_hastened_and_dropped(work):
    work.gitea.fault("*/comments", method="POST", status=429, retry_after=3600)
    dispatch = submit(work)
    with work.started(*FAST, **work.variables) as process:
        waits = []
        while not waits:
            waits = [
                effect
                for effect in ask(work, "outbox", "list")
                if effect["state"] == "ready" and effect["not_before"] is not None
            ]
        process.terminate()
        assert process.wait(30) == 0
    # Who looks is told, also when nobody works.
    alone = f"UTC: {work.gitea.url}/api/v1 is left alone: cannot comment: 429"
    assert waits[0]["reason"] in alone
    for shown in (("list",), ("show", dispatch)):
        said = work(*shown, **work.variables).stdout
        assert "the comment for claude_code waits until " in said
        assert alone in said
    id = waits[0]["id"]
    ran = work("outbox", "retry", id[-8:], **work.variables)
    assert (ran.returncode, ran.stdout) == (0, f"{id} is tried at once.\n")
    assert ask(work, "outbox", "drop", id) == {"id": id, "changed": True}
    ran = work("outbox", "drop", id, **work.variables)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "unsettled effect" in ran.stderr


def test_local_agents_are_functions(work):
    (work.folder / "own.py").write_text(
        "async def triage(assignment):\n    return {'said': assignment.task.title.upper()}\n"
    )
    arguments = (*FAST, "--local", "timmy=own:triage")
    with work.started(*arguments, **work.variables) as process:
        ran = work("submit", "Roadmap", "--wait", "--json", **work.variables)
        process.terminate()
        assert process.wait(30) == 0
    assert json.loads(ran.stdout)["result"] == {"said": "ROADMAP"}


def test_gates_and_owners_are_functions_too(work):
    (work.folder / "own.py").write_text(
        "async def triage(assignment):\n    return 1\n"
        "async def never(question):\n    return 'not today'\n"
        "def tell(escalation):\n"
        "    open('told', 'w').write(escalation.task.title)\n"
    )
    arguments = (*FAST, "--local", "timmy=own:triage", "--gate", "never=own:never")
    with work.started(*arguments, "--callback", "oncall=own:tell", **work.variables) as process:
        wanted = ("--gate", "never", "--callback", "oncall", "--reassignments", "0")
        ran = work("submit", "Roadmap", *wanted, "--wait", "--json", **work.variables)
        told = work.folder / "told"
        while not (told.exists() and told.read_text()):
            assert process.poll() is None
        process.terminate()
        assert process.wait(30) == 0
    record = json.loads(ran.stdout)
    assert (record["status"], told.read_text()) == ("escalated", "Roadmap")
    assert "not today" in record["reason"]


@pytest.mark.parametrize(
    ("option", "function", "said"),
    [
        ("--gate", "approved=os:getcwd", "cannot be called 'approved'"),
        ("--gate", "mine=os:sep", "a gate is a coroutine function"),
        ("--callback", "mine=os", "MODULE:FUNCTION"),
        ("--callback", "mine=os:nothing", "nothing"),
    ],
)
def test_gates_and_owners_that_are_none(work, option, function, said):
    ran = work("run", option, function, **work.variables)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("local", "said"),
    [
        ("timmy", "AGENT=VALUE"),
        ("timmy=own", "MODULE:FUNCTION"),
        ("timmy=none:f", "No module named 'none'"),
        ("timmy=os:nothing", "nothing"),
        ("claude_code=os:getcwd", "claude_code"),
        ("bob=os:getcwd", "bob"),
    ],
)
def test_functions_that_are_none(work, local, said):
    ran = work("run", "--local", local, **work.variables)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_quiet_is_quiet(work):
    id = submit(work)
    with work.started(*FAST, "--quiet", **work.variables) as process:
        while ask(work, "show", id)["record"]["phase"] != "handed_over":
            pass
        process.terminate()
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


def test_in_a_pipe_events_are_lines(work):
    id = submit(work)
    with work.started(*FAST, **work.variables) as process:
        for line in process.stdout:
            assert re.match(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  {id[-8:]}  \w+", line)
            if "phase: handed_over" in line:
                break
        process.terminate()
        _, err = process.communicate(timeout=30)
    shown = re.sub("//.*@", "//", work.variables["TIMMY_LEDGER"])
    shown = re.sub(r"\?schema=(.*)", r" (\1)", shown)
    assert err.startswith(f"Working on {shown}, process {process.pid}\n")
    assert "Stopping" in err


@pytest.mark.parametrize(("columns", "lines"), [(120, 40), (60, 12)])
def test_the_live_view(work, columns, lines):
    id = submit(work)
    ask(work, "submit", "Roadmap")
    code, shown = work.on_terminal(
        *FAST,
        columns=columns,
        lines=lines,
        stop_at=["1/1", "Roadmap"],
        **work.variables,
    )
    assert code == 0
    assert id[-8:] in shown
    assert "hunter22" not in shown
    # The cursor is there again.
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_an_agent_out_of_time_loses_its_task(work):
    id = submit(work, "--reassignments", "0")
    arguments = (*FAST, "--agent-deadline", "claude_code=0.3s", "--json")
    with work.started(*arguments, TIMMY_TIMES="grace=0.1 poll=0.1s", **work.variables) as process:
        until(process, id, "timed_out")
        process.terminate()
        assert process.wait(30) == 0
    [attempt] = ask(work, "show", id)["attempts"]
    assert attempt["outcome"] == "time_out"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--time", "poll=soon"), "give a time as 90s"),
        (("--time", "poll=5w"), "give a time as 90s"),
        (("--time", "poll=-1"), "give a time as 90s"),
        (("--time", "pole=5s"), "there is no 'pole'; there are heartbeat"),
        (("--time", "lease=11s"), "longer than a request and the margin"),
        (("--time", "heartbeat=16s"), "at most half of the lease"),
        (("--agent-deadline", "claude_code=nan"), "give a time as 90s"),
        (("--idempotent", "bob"), "unknown agent 'bob'"),
    ],
)
def test_times_that_cannot_be(work, arguments, said):
    ran = work("run", *arguments, **work.variables)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
