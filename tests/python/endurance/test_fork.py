"""After a fork, parent and child dispatch, and both end quietly."""

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from timmy.dispatcher.sandbox import Sandbox

from endurance import scale

HERE = Path(__file__).parent
WAYS = [
    "before any thread",
    "while idle",
    "a child that ends as programs do",
    "a grandchild",
    "in flight",
    "in flight, from a thread",
    "multiprocessing fork",
    "multiprocessing forkserver",
    "multiprocessing spawn",
]


@pytest.fixture(scope="module")
def environment(endless):
    with Sandbox(gitea="1.26") as gitea:
        repo = gitea.create_repo("swarm")
        yield os.environ | {
            "GITEA_URL": gitea.url,
            "GITEA_TOKEN": gitea.token,
            "GITEA_REPO": repo,
            "ISSUE": str(gitea.create_issue(repo, "Design it")),
            "ENDLESS_URL": endless.url,
            "SEEN_PORT": str(endless.port),
        }


@pytest.mark.parametrize("way", WAYS)
def test_parent_and_child_dispatch_and_end(environment, endless, way):
    for _ in range(scale.of(1, 20)):
        endless.forget()
        ran = subprocess.run(
            [sys.executable, str(HERE / "forking.py"), way],
            env=environment,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, b"")


def test_a_pre_forking_server(environment):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "3"]
    with subprocess.Popen(
        [*program, "--log-level", "error", "--bind", address, "preforked:application"],
        env=environment | {"PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as server:
        try:
            # The workers say so when they are ready.
            for _ in range(3):
                assert server.stdout.readline() == b"ready\n"
            workers = set()
            for _ in range(scale.of(20, 500)):
                with urllib.request.urlopen(f"http://{address}/", timeout=60) as answer:
                    workers.add(answer.read())
        finally:
            server.terminate()
        assert (server.stderr.read(), server.wait(60)) == (b"", 0)
    assert b"" not in workers
