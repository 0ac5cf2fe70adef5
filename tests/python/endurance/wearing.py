"""A program that wears itself and says what became of it: ``wearing.py SEED SCALE``.

The sandbox is a process of its own, for it remembers what it is asked. Prints one line of JSON for
each kind of work: how much the memory grew after the warm-up, in bytes, and how many descriptors.
"""

import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import time

import httpx
import timmy.dispatcher as d

from endurance.process import descriptors, resident

SANDBOX = """
import sys
from timmy.dispatcher.sandbox import Sandbox
with Sandbox(gitea="1.26") as gitea:
    repo = gitea.create_repo("swarm")
    print(gitea.url, gitea.token, repo, gitea.create_issue(repo, "Design it"), flush=True)
    sys.stdin.read()
"""
AT_ONCE = 50
TITLES = ["Design the router", "Quick fix", "Ünïcode and 漢字", "Tidy the attic " * 20, ""]


def infer(times):
    for number in range(times):
        title = TITLES[number % len(TITLES)] + str(number)
        d.infer_task_type(title, title)
        if number % 10 == 0:
            d.explain_task_type(title, title)


def many(one, at_once=AT_ONCE):
    """Does something so many times, some at once."""

    async def worker(numbers):
        for number in numbers:
            await one(number)

    def work(times):
        async def main():
            numbers = iter(range(times))
            await asyncio.gather(*(worker(numbers) for _ in range(at_once)))

        asyncio.run(main())

    return work


async def through_gitea(_):
    assert (await d.dispatch_task("Design it", issue_number=ISSUE)).success


async def to_an_agent(_):
    result = await d.dispatch_task("research it", api_endpoint=f"{URL}/agent")
    assert result.success, result


async def in_vain(_):
    # No such issue: a failure, a comment that fails too, an escalation.
    result = await d.dispatch_task("Design it", issue_number=ISSUE + 1, max_retries=0)
    assert result.status is d.DispatchStatus.ESCALATED


async def cancelled(number):
    if number % 2:
        task = asyncio.create_task(d.dispatch_task("Design it", issue_number=ISSUE))
    else:
        task = asyncio.create_task(d.wait_for_completion(ISSUE))
    for _ in range(DRAW.randrange(8)):
        await asyncio.sleep(0)
    if number % 3 == 0:
        await asyncio.sleep(DRAW.random() * 0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def with_httpx(work):
    # httpx makes a TLS context of half a megabyte for each client; what the allocator keeps of
    # those comes and goes by megabytes, with or without the dispatcher. Here all share one.
    context = httpx.create_ssl_context()
    httpx._transports.default.create_ssl_context = lambda **_: context

    def driven(times):
        d.use_http("httpx")
        try:
            work(times)
        finally:
            d.use_http("auto")

    return driven


KINDS = {
    "inferences": (100_000, infer),
    "dispatches": (20_000, many(through_gitea)),
    "agents": (5_000, many(to_an_agent)),
    "failures": (2_000, many(in_vain)),
    "cancelled": (10_000, many(cancelled)),
    "httpx": (500, with_httpx(many(through_gitea, 2))),
    "httpx cancelled": (500, with_httpx(many(cancelled, 2))),
}


def settled(least):
    """The number of descriptors, once it is no more than that or time is up."""
    end = time.monotonic() + 60
    while descriptors() > least and time.monotonic() < end:
        time.sleep(0.05)
    return descriptors()


def main():
    scale = float(sys.argv[2])
    measured = []
    for warm_up in (True, False):
        for kind, (times, work) in KINDS.items():
            # The warm-up is long enough for every buffer and pool to have its size.
            due = max(round(times * scale * (0.5 if warm_up else 1)), AT_ONCE)
            before = resident()
            work(due)
            gc.collect()
            if not warm_up:
                grown = resident() - before
                print(json.dumps({"kind": kind, "times": due, "grown": grown}), flush=True)
                measured.append(before)
    whole = resident() - measured[0]
    print(json.dumps({"kind": "all", "grown": whole, "left": settled(BARE) - BARE}), flush=True)


if __name__ == "__main__":
    DRAW = random.Random(int(sys.argv[1]))
    with subprocess.Popen(
        [sys.executable, "-c", SANDBOX], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sandbox:
        URL, token, repo, issue = sandbox.stdout.readline().split()
        ISSUE = int(issue)
        os.environ.update(GITEA_URL=URL, GITEA_TOKEN=token, GITEA_REPO=repo)
        d.logger.disabled = True
        # One of each, so that what stays open for good is open.
        asyncio.run(through_gitea(0))
        with_httpx(many(through_gitea))(1)
        # The connection that was just used closes when it is idle.
        BARE = settled(descriptors() - 1)
        main()
        sandbox.stdin.close()
