"""Processes that end with work in flight end as Python does without it."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from endurance import scale

PROGRAM = Path(__file__).with_name("leaving.py")
ENDINGS = [
    "return",
    "exit",
    "exit in a task",
    "exception",
    "hard exit",
    "SIGINT",
    "SIGTERM",
    "SIGTERM handled",
    "daemon thread",
    "busy daemon thread",
    "thread",
    "open loop",
]
#: The phases, and what the server does to the requests in them.
PHASES = {
    "connecting": "connecting",
    "waiting": "waiting",
    "body": "dripping",
    "between": "refusing",
    "asking": "waiting",
    "asleep": "open",
}
TIMES = scale.of(200, 1000)


#: Those of a Dispatcher: it opens and closes, waits for a dispatch or for events, has an agent of
#: its own at work.
KEPT_PHASES = ["opening", "submitted", "followed", "called"]


def run(endless, work, phase, ending, key, pause, ledger=""):
    url = endless.url
    if phase == "connecting" and work != "asyncio":
        url = f"http://127.0.0.1:{endless.full_port}"
    program = [sys.executable, "-X", "dev"] if os.environ.get("X_DEV") else [sys.executable]
    ran = subprocess.run(
        [*program, str(PROGRAM), work, phase, ending, url, key],
        env=os.environ
        | {"SEEN_PORT": str(endless.port), "PAUSE": str(pause), "LEDGER": str(ledger)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    # The place where a task waits differs, and is nobody's business.
    return ran.returncode, re.sub(rb"(?m)^task: .*$", b"task", ran.stderr), ran.stdout


@pytest.fixture(scope="module")
def of_python(endless):
    """What Python itself does at an ending."""

    @cache
    def expected(ending):
        return run(endless, "asyncio", "waiting", ending, f"waiting-{ending.replace(' ', '')}", 0)

    return expected


def test_an_end_with_work_in_flight_is_as_without_the_dispatcher(endless, of_python, draw):
    cases = [(phase, ending) for phase in PHASES for ending in ENDINGS]
    draw.shuffle(cases)
    jobs = []
    for number in range(TIMES):
        phase, ending = cases[number % len(cases)]
        driven = phase != "connecting" and draw.random() < 0.1
        work = "httpx" if driven else "native"
        key = f"{PHASES[phase]}-{number}"
        jobs.append((work, phase, ending, key, round(draw.random() * 0.02, 4)))
    for ending in ENDINGS:
        of_python(ending)

    with ThreadPoolExecutor(3) as pool:
        ran = list(pool.map(lambda job: run(endless, *job), jobs))
    wrong = [
        (job, result, of_python(job[2]))
        for job, result in zip(jobs, ran, strict=True)
        if result != of_python(job[2])
    ]
    assert wrong == []


def once_each(result):
    """The result without how many tasks were still there: those of own agents are more."""
    code, stderr, stdout = result
    destroyed = rb"(Task was destroyed but it is pending!\ntask\n)+"
    return code, re.sub(destroyed, b"tasks\n", stderr), stdout


def test_an_end_with_a_dispatcher_open_is_as_without_it(endless, of_python, draw, tmp_path):
    cases = [(phase, ending) for phase in KEPT_PHASES for ending in ENDINGS]
    draw.shuffle(cases)
    jobs = []
    for number in range(scale.of(2 * len(cases), 1000)):
        phase, ending = cases[number % len(cases)]
        pause = round(draw.random() * 0.05, 4)
        jobs.append(("durable", phase, ending, "none", pause, tmp_path / str(number)))
    for ending in ENDINGS:
        of_python(ending)

    with ThreadPoolExecutor(3) as pool:
        ran = list(pool.map(lambda job: run(endless, *job), jobs))
    wrong = [
        (job, result, of_python(job[2]))
        for job, result in zip(jobs, ran, strict=True)
        if once_each(result) != once_each(of_python(job[2]))
    ]
    assert wrong == []
