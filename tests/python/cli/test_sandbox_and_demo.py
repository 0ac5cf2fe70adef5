"""The two commands that serve a Gitea stand-in."""

import json
import os
import re
import signal
import socket
import urllib.request
from collections import Counter

import pytest
from command_line import COMMAND
from timmy.dispatcher.cli import demo
from timmy.dispatcher.cli.survival import Survival, Survivor

STOPS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("stop", STOPS)
def test_the_sandbox_says_its_address_first_and_stops_quietly(command, stop):
    with command.started("sandbox", "--gitea", "1.25", "--port", "0", "--token", "T") as process:
        url = process.stdout.readline().removesuffix("\n")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        request = urllib.request.Request(f"{url}/api/v1/user", headers={"Authorization": "token T"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        process.send_signal(stop)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert f"export GITEA_URL={url}" in err


@pytest.mark.parametrize("stop", STOPS)
def test_a_stop_right_after_the_first_line(command, stop):
    with command.started("sandbox", "--json") as process:
        started = json.loads(process.stdout.readline())
        process.send_signal(stop)
        assert process.wait(30) == 0
    assert started["url"].startswith("http://127.0.0.1:")
    assert started["token"]


def test_a_sandbox_with_a_repository_takes_a_dispatch(command):
    with command.started("sandbox", "--repo", "swarm", "--json") as process:
        started = json.loads(process.stdout.readline())
        ran = command(
            *("dispatch", "Design it", "--issue", "1", "--json"),
            GITEA_URL=started["url"],
            GITEA_TOKEN=started["token"],
            GITEA_REPO=started["repo"],
        )
        process.terminate()
        assert process.wait(30) == 0
    assert json.loads(ran.stdout)["status"] == "assigned"


@pytest.mark.parametrize(("options", "arrives"), [((), True), (("external",), False)])
def test_webhooks_go_to_this_machine_where_that_is_allowed(command, options, arrives):
    options = ("--webhook-hosts", *options) if options else ()
    with (
        socket.create_server(("127.0.0.1", 0)) as receiver,
        command.started("sandbox", "--repo", "swarm", "--json", *options) as process,
    ):
        started = json.loads(process.stdout.readline())
        root = f"{started['url']}/api/v1/repos/{started['repo']}"

        def post(path, body):
            headers = {
                "Authorization": f"token {started['token']}",
                "Content-Type": "application/json",
            }
            request = urllib.request.Request(root + path, json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert answer.status == 201

        url = f"http://127.0.0.1:{receiver.getsockname()[1]}/"
        config = {"url": url, "content_type": "json"}
        hook = {"type": "gitea", "config": config, "events": ["issues"], "active": True}
        post("/hooks", hook)
        post("/issues", {"title": "x"})
        if arrives:
            receiver.settimeout(30)
            with receiver.accept()[0] as delivery:
                assert delivery.recv(16).startswith(b"POST / HTTP/1.1")
        process.terminate()
        assert process.wait(30) == 0
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.accept()


def test_a_port_that_is_taken(command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = command("sandbox", "--port", str(port))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Error: The sandbox cannot serve on port" in ran.stderr
    assert "in use" in ran.stderr
    assert "--port 0" in ran.stderr
    assert str(port) in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("version", ["1.25", "1.26"])
def test_the_demo_checks_itself(command, version):
    ran = command("demo", "--gitea", version, "--json", COLUMNS="20")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["ok"]
    assert all(check["ok"] for check in report["checks"])
    tasks = report["tasks"]
    assert len(tasks) == 12
    assert {task["agent"] for task in tasks} == {"claude_code", "kimi_code", "agent_api", "timmy"}
    counted = Counter(task["status"] for task in tasks)
    assert counted == {"assigned": 10, "completed": 1, "escalated": 1}
    # A worker was killed while it had begun, and another one went on.
    survival = report["survival"]
    assert len(set(survival["workers"])) == 2
    assert survival["begun"] > 3
    assert {row["status"] for row in survival["rows"]} == {"completed"}
    assert "is killed (SIGKILL)" in ran.stderr
    # Progress, as it happens, for who looks on.
    assert "assigned  #1 Design the LLM router (claude_code)" in ran.stderr
    assert "completed  #3 The login test fails at night (claude_code)" in ran.stderr


def test_the_demo_asks_nobody_else(command):
    """With settings and a proxy that lead elsewhere."""
    ran = command(
        "demo",
        GITEA_URL="http://127.0.0.1:9",
        GITEA_TOKEN="mine",
        GITEA_ENABLED="false",
        HTTP_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
        ALL_PROXY="http://127.0.0.1:9",
    )
    assert ran.returncode == 0, ran.stderr
    head = ran.stdout.splitlines()[0]
    assert re.split(r"\s{2,}", head) == [
        *("task", "type", "decided by", "agent", "label", "comment", "status")
    ]


def test_the_demo_says_how_to_go_on(command):
    scripts = os.path.dirname(COMMAND[0])
    for path, shown in (("/nowhere", COMMAND[0]), (f"{scripts}:/nowhere", "timmy-dispatch")):
        last = command("demo", PATH=path).stdout.splitlines()[-1].strip()
        assert last == f"{shown} dispatch 'Review the login flow' --issue 1"


@pytest.mark.parametrize(("columns", "lines"), [(120, 40), (80, 24)])
def test_the_demo_on_a_terminal(command, columns, lines):
    code, shown = command.on_terminal("demo", columns=columns, lines=lines)
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    table = plain[plain.rindex("#1 Design the LLM") :].partition("Your own words")[0]
    for words in ("parallel_implementation", "escalated, 3 attempts", "completed", "kimi-ready"):
        assert words in re.sub(r"\s+", " ", table)
    assert "WRONG" not in plain
    assert max(len(line) for line in re.split(r"[\r\n]+", table)) <= columns


def test_the_demo_says_what_went_wrong():
    def checks(**changes):
        row = {"task": "x", "issue": 1, "agent": "kimi_code", "status": "completed"}
        counted = {"attempts": 1, "comments": 1, "labels": 1, "closed": True}
        rows = [Survivor(**row | counted) for _ in demo.survival.TASKS]
        rows[3] = Survivor(**row | counted | changes)
        survived = Survival(rows, [1, 2], begun=3, unsettled=0, seconds=1.0)
        return [check.ok for check in demo._checks_of(survived)]

    assert checks() == [True, True, True]
    assert checks(status="failed")[0] is False
    assert checks(closed=False)[0] is False
    for twice in ("attempts", "comments", "labels"):
        assert checks(**{twice: 2})[1] is False
