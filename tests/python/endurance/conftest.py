import json
import random
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from endurance import scale
from endurance.endless import Endless


@pytest.fixture(autouse=True)
def draw():
    """The randomness of a test; the line stands in the report of a failure."""
    print(f"repeat with SEED={scale.SEED}")
    return random.Random(scale.SEED)


@pytest.fixture
def one_tls_context(monkeypatch):
    """httpx makes a TLS context for each client, which takes it 20 ms; here they share one."""
    context = httpx.create_ssl_context()
    monkeypatch.setattr("httpx._transports.default.create_ssl_context", lambda **_: context)


@pytest.fixture(scope="session")
def endless():
    """A server that keeps requests busy in the way that their path names."""
    with Endless() as server:
        yield server


@pytest.fixture(scope="module")
def reaching():
    """A function that asks for the issue under some environment, in a fresh process."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("reaching.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:

        def reach(way, url, env):
            case = {"way": way, "url": url, "env": env}
            program.stdin.write(json.dumps(case) + "\n")
            program.stdin.flush()
            return json.loads(program.stdout.readline())

        yield reach
        program.stdin.close()
