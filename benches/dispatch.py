"""Hand-overs over loopback, beside another implementation and bare reqwest: `make bench`.

Each way runs in a process of its own against one Gitea stand-in in another, on a CPU each where
there are two. The ways take turns; figures are medians over the rounds.
"""

import asyncio
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import comparison

ISSUES = 50
AT_ONCE = 50
SANDBOX = """
import sys
from timmy.dispatcher.sandbox import Sandbox
with Sandbox(gitea="1.26", token="bench") as gitea:
    repo = gitea.create_repo("swarm")
    for label in ("claude-ready", "kimi-ready"):
        gitea.create_label(repo, label)
    for _ in range(int(sys.argv[1])):
        gitea.create_issue(repo, "Fix the button")
    print(gitea.url, repo, flush=True)
    sys.stdin.read()
"""


@contextmanager
def sandbox() -> Iterator[dict[str, str]]:
    """Serve a Gitea in another process; the environment that leads there."""
    command = [sys.executable, "-c", SANDBOX, str(ISSUES)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url, repo = process.stdout.readline().split()
        place(process.pid, 1)
        yield {"GITEA_URL": url, "GITEA_TOKEN": "bench", "GITEA_REPO": repo}
        process.kill()


def place(process: int, which: int) -> None:
    """Keep a process on one CPU, where there are two."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 1:
        os.sched_setaffinity(process, {cpus[which]})


async def measure(dispatcher: Any, alone: int, together: int) -> dict[str, float]:
    """Hand over one by one, then many at once; figures a hand-over."""

    async def hand_over(number: int) -> None:
        result = await dispatcher.dispatch_task(
            "Fix the button",
            "It jumps when users click twice.",
            issue_number=1 + number % ISSUES,
        )
        assert result.label_applied and result.comment_id, result

    for number in range(20):
        await hand_over(number)
    times = []
    cpu = time.process_time()
    for number in range(alone):
        begin = time.perf_counter()
        await hand_over(number)
        times.append(time.perf_counter() - begin)
    cpu_alone = (time.process_time() - cpu) / alone

    numbers = iter(range(together))

    async def worker() -> None:
        for number in numbers:
            await hand_over(number)

    cpu, begin = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return {
        "alone": median(times),
        "cpu_alone": cpu_alone,
        "a_second": together / (time.perf_counter() - begin),
        "cpu": (time.process_time() - cpu) / together,
    }


def in_this_process() -> None:
    """Measure one implementation; what `main` starts."""
    _, path, alone, together = sys.argv[1:]
    if path:
        dispatcher: Any = comparison.load(path)
    else:
        # Not at the top: the settings of the host come first.
        dispatcher = importlib.import_module("timmy.dispatcher")
    print(json.dumps(asyncio.run(measure(dispatcher, int(alone), int(together)))))


def main() -> None:
    """Measure every way in turn and print what came of it."""
    parser = comparison.parser(__doc__)
    parser.add_argument("--bare", metavar="PATH", help="the bench of the core, built")
    parser.set_defaults(rounds=5)
    parsed = parser.parse_args()
    script = [sys.executable, __file__, "--measure"]
    with sandbox() as environment:
        place_of_gitea = [*environment.values(), str(ISSUES)]
        ways = {"this, from Python": [*script, "", "1000", "5000"]}
        if parsed.bare:
            counts = ["1000", "10000", str(AT_ONCE)]
            ways["this, from Rust"] = [parsed.bare, "core", *place_of_gitea, *counts]
            ways["bare reqwest"] = [parsed.bare, "bare", *place_of_gitea, *counts]
        if parsed.against:
            ways["the other"] = [*script, parsed.against, "60", "250"]
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        place(0, 0)
        for _ in range(parsed.rounds):
            for way, command in ways.items():
                ran = subprocess.run(
                    command, env=os.environ | environment, stdout=subprocess.PIPE, check=True
                )
                runs[way].append(json.loads(ran.stdout))
    figures = {
        way: {figure: median(run[figure] for run in made) for figure in made[0]}
        for way, made in runs.items()
    }
    report(figures)


def report(figures: dict[str, dict[str, float]]) -> None:
    """Print a row a way, with its ratio to the first one."""
    first = next(iter(figures.values()))

    def row(way: str, of: dict[str, float]) -> tuple[str, ...]:
        def beside(figure: str, shown: str) -> str:
            return f"{shown} ({of[figure] / first[figure]:.3g})"

        return (
            way,
            beside("alone", comparison.duration(of["alone"])),
            beside("cpu_alone", comparison.duration(of["cpu_alone"])),
            beside("a_second", f"{of['a_second']:.0f}/s"),
            beside("cpu", comparison.duration(of["cpu"])),
        )

    together = f"{AT_ONCE} at once"
    head = ("ratio to the first row", "one alone", "its CPU", together, "their CPU, each")
    comparison.table(head, *(row(way, of) for way, of in figures.items()))


if __name__ == "__main__":
    in_this_process() if sys.argv[1:2] == ["--measure"] else main()
