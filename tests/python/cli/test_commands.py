"""What the commands say, and the exit codes that scripts rely on."""

import ctypes
import json
import os
import re
import signal

import pytest
from timmy.dispatcher import AgentType, TaskType

SECRET = "s3cret-token"


def lines_of(ran):
    return ran.stdout.splitlines()


def test_infer_shows_the_type_the_agent_and_the_words(command):
    ran = command("infer", "Clean", "-d", "up the mess, then review")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert lines_of(ran)[0] == "refactoring for Claude Code"
    assert "clean up  refactoring  title 0-5 + description 0-2  decided" in ran.stdout
    assert "review    code_review  description 18-24" in ran.stdout


def test_infer_without_a_keyword(command):
    ran = command("infer", "Rename it")
    assert ran.returncode == 0
    assert lines_of(ran)[-1] == "No keyword found: routine_coding is what is left."


def test_infer_as_json(command):
    ran = command("infer", "Clean", "-d", "up the mess", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    answer = json.loads(ran.stdout)
    assert (answer["task_type"], answer["agent"]) == ("refactoring", "claude_code")
    assert answer["words"] == ["clean up"]
    assert [span["field"] for span in answer["matches"][0]["spans"]] == ["title", "description"]


def test_agents(command):
    ran = command("agents")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [re.split(r" {2,}", line)[1] for line in lines_of(ran)[1:]] == list(AgentType)
    listed = json.loads(command("agents", "--json").stdout)
    assert [agent["name"] for agent in listed] == list(AgentType)
    strengths = [t for agent in listed for t in agent["strengths"]]
    assert sorted(strengths) == sorted(TaskType)


def test_dispatch_hands_over_on_gitea(command, gitea):
    ran = command(
        "dispatch",
        "Design it",
        "--issue",
        "1",
        "--criteria",
        "It works",
        "--criteria",
        "It is fast",
        "--json",
        **gitea.variables,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    answer = json.loads(ran.stdout)
    assert (answer["status"], answer["success"]) == ("assigned", True)
    assert answer["label_applied"] == "claude-ready"
    [comment] = gitea.comments(gitea.repo, 1)
    assert comment["id"] == answer["comment_id"]
    assert "It works" in comment["body"] and "It is fast" in comment["body"]


def test_dispatch_to_the_agent_and_the_type_that_are_named(command, gitea):
    ran = command(
        *("dispatch", "Design it", "--issue", "1", "--type", "research", "--agent", "kimi_code"),
        **gitea.variables,
    )
    assert ran.returncode == 0
    assert "type     research" in ran.stdout
    assert [label["name"] for label in gitea.issue_labels(gitea.repo, 1)] == ["kimi-ready"]


def test_dispatch_to_an_agent_behind_http(command, gitea):
    ran = command("dispatch", "Survey it", "--endpoint", f"{gitea.url}/agent")
    assert ran.returncode == 0, ran.stderr
    [request] = gitea.requests()
    assert (request.path, request.json()["title"]) == ("/agent", "Survey it")


def test_dispatch_without_an_issue_says_that_it_was_local(command):
    ran = command("dispatch", "Design it")
    assert ran.returncode == 0
    assert "without --issue the task was handled locally" in ran.stderr


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_an_escalation_is_exit_1(command, gitea, as_json):
    gitea.fault("/labels", status=403)
    gitea.fault("/comments", status=403)
    arguments = ("dispatch", "Design it", "--issue", "1", "--retries", "0", *as_json)
    ran = command(*arguments, **gitea.variables)
    assert ran.returncode == 1
    assert "escalated" in ran.stdout
    assert "403" in ran.stdout
    assert gitea.token not in ran.stdout + ran.stderr


def test_a_blank_title_is_exit_1(command):
    ran = command("dispatch", "  ", "--json")
    assert ran.returncode == 1
    assert json.loads(ran.stdout)["error"] == "`title` is required."


def test_wait(command, gitea):
    gitea.close_issue(gitea.repo, 1)
    ran = command("wait", "1", **gitea.variables)
    assert ran.returncode == 0
    assert re.fullmatch(r"#1 completed after \d+\.\d s\n", ran.stdout)
    answer = json.loads(command("wait", "1", "--json", **gitea.variables).stdout)
    assert (answer["issue"], answer["status"]) == (1, "completed")


def test_waiting_too_long_is_exit_3(command, gitea):
    ran = command("wait", "1", "--interval", "0.1", "--max-wait", "0.3", **gitea.variables)
    assert ran.returncode == 3
    assert ran.stdout.startswith("#1 timed_out")


def test_waiting_for_what_is_not_there_is_exit_1(command, gitea):
    ran = command("wait", "9", "--interval", "0.1", "--max-wait", "30", **gitea.variables)
    assert ran.returncode == 1
    assert ran.stdout.startswith("#9 failed")
    assert "404" in ran.stderr


def test_an_interrupted_wait_is_exit_130(command, gitea):
    with command.started("wait", "1", **gitea.variables) as process:
        gitea.wait_for_requests(1, 30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


def test_an_interrupt_that_another_thread_takes_ends_the_wait(command, gitea):
    with command.started("wait", "1", **gitea.variables) as process:
        gitea.wait_for_requests(1, 30)
        [other, *_] = (
            t for t in map(int, os.listdir(f"/proc/{process.pid}/task")) if t != process.pid
        )
        assert ctypes.CDLL(None).tgkill(process.pid, other, signal.SIGINT) == 0
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


# --- what is wrong, and what to set ------------------------------------------------------


DISPATCH, WAIT = ["dispatch", "Design it", "--issue", "1"], ["wait", "1"]


@pytest.mark.parametrize(
    ("arguments", "variables", "named"),
    [
        (DISPATCH, {}, ["GITEA_TOKEN", "GITEA_REPO"]),
        (WAIT, {"GITEA_TOKEN": SECRET, "GITEA_REPO": "swarm"}, ["GITEA_REPO"]),
        (DISPATCH, {"GITEA_TOKEN": SECRET, "GITEA_REPO": "a/b/c"}, ["GITEA_REPO"]),
        (
            WAIT,
            {"GITEA_URL": "git.example", "GITEA_TOKEN": SECRET, "GITEA_REPO": "a/b"},
            ["GITEA_URL"],
        ),
        (
            DISPATCH,
            {"GITEA_ENABLED": "false", "GITEA_TOKEN": SECRET, "GITEA_REPO": "a/b"},
            ["GITEA_ENABLED"],
        ),
    ],
)
def test_what_has_to_be_set(command, arguments, variables, named):
    ran = command(*arguments, "--json", **variables)
    assert ran.returncode == 2
    assert json.loads(ran.stdout)["set"] == named
    assert [line.split()[0].split("=")[0] for line in ran.stderr.splitlines()[1:]] == named
    assert SECRET not in ran.stdout + ran.stderr


def test_without_json_only_stderr_says_what_has_to_be_set(command):
    ran = command("wait", "1")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "GITEA_TOKEN" in ran.stderr


def test_an_api_agent_needs_an_address(command):
    for arguments in [(), ("--endpoint", "ftp://agent.example")]:
        ran = command("dispatch", "Survey it", *arguments)
        assert ran.returncode == 2
        assert "--endpoint https://" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dispatch", "x", "--type", "cooking"), "architecture"),
        (("dispatch", "x", "--agent", "nobody"), "claude_code"),
        (("dispatch", "x", "--issue", "seven"), "--issue"),
        (("dispatch", "x", "--retries", "-1"), "--retries"),
        (("wait", "0"), "N"),
        (("infer",), "TITLE"),
        (("infer", "x", "--colour"), "--colour"),
        (("fly",), "fly"),
        (("sandbox", "--gitea", "1.24"), "1.25"),
        (("sandbox", "--port", "70000"), "--port"),
    ],
)
def test_wrong_usage_is_exit_2(command, arguments, said):
    ran = command(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_wrong_usage_as_json(command):
    ran = command("wait", "seven", "--json")
    assert ran.returncode == 2
    assert "seven" in ran.stderr or "integer" in ran.stderr
    assert json.loads(ran.stdout)["error"]


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra(python_without, missing):
    ran = python_without([missing], "agents")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert (
        ran.stderr == "timmy-dispatch needs Typer and Rich: pip install 'timmy-dispatcher[cli]'\n"
    )


def test_help_lists_the_commands_and_the_exit_codes(command):
    ran = command("--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    for word in ("infer", "agents", "dispatch", "wait", "sandbox", "demo", "130", "GITEA_TOKEN"):
        assert word in ran.stdout
    nothing = command()
    assert nothing.returncode == 2
    assert "Commands:" in nothing.stderr


def test_the_host_s_settings_are_named(command):
    (command.folder / "config.py").write_text(
        "class settings:\n"
        "    gitea_url, gitea_token, gitea_repo = 'http://git.example', '', 'a/b'\n"
        "    gitea_enabled = True\n"
    )
    ran = command("wait", "1", PYTHONPATH=str(command.folder), GITEA_TOKEN="unused")
    assert ran.returncode == 2
    assert "GITEA_TOKEN" in ran.stderr
    assert "config.py" in ran.stderr
