"""Where the time goes, by thread and library, from `perf` (Linux): docs/performance.md.

    python benches/perf_shares.py hand-over [BENCH OF THE CORE] | inference | host-driven

Shares are of the whole process, its start included, which is made small by repeating.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter

import comparison

import dispatch

INFERENCE = """
from timmy.dispatcher import infer_task_type
text = "It jumps when users click. " * 76
for _ in range(3_000_000):
    infer_task_type("Fix the button", text)
"""
HOST_DRIVEN = """
import os, sys
sys.path.insert(0, "benches")
os.environ |= {"GITEA_URL": "http://gitea.test", "GITEA_TOKEN": "bench", "GITEA_REPO": "o/r"}
import host_driven
from timmy import dispatcher
host_driven.prepared(dispatcher.dispatch_task, host_driven.Mocked, "It jumps.", 8000)()()
"""
LIBRARIES = [
    (r"kernel|vdso", "the kernel"),
    (r"_core\.|bench-dispatch", "the core"),
    (r"python|_asyncio|_json|select|lib-dynload|-x86_64-linux-gnu\.so", "Python"),
]


def profile(command: list[str], environment: dict[str, str] | None = None) -> Counter[str]:
    """Run a command under `perf`; samples by thread and library."""
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "perf.data")
        record = ["perf", "record", "--quiet", "--event", "cpu-clock", "--freq", "3000"]
        subprocess.run(
            [*record, "--output", data, *command],
            env=os.environ | (environment or {}),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        fields = ["--sort", "comm,dso", "--fields", "sample,comm,dso", "--field-separator", ";"]
        report = subprocess.run(
            ["perf", "report", "--stdio", "--input", data, *fields],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
    samples: Counter[str] = Counter()
    for line in report.stdout.splitlines():
        if not line.startswith("#") and line.count(";") >= 2:
            count, thread, library = (cell.strip() for cell in line.split(";")[:3])
            where = next((name for of, name in LIBRARIES if re.search(of, library)), "libc")
            of_tokio = thread.startswith("timmy-dispatche")
            samples[f"{where}, in the thread of the requests" if of_tokio else where] += int(count)
    return samples


def show(what: str, samples: Counter[str]) -> None:
    """Print a table of shares."""
    total = sum(samples.values())
    rows = [(where, f"{100 * count / total:.0f} %") for where, count in samples.most_common()]
    comparison.table((what, "share"), *(row for row in rows if row[1] != "0 %"))
    print()


def main() -> None:
    """Profile what is named."""
    match sys.argv[1:]:
        case ["hand-over", *bare]:
            with dispatch.sandbox() as environment:
                script = [sys.executable, "benches/dispatch.py", "--measure", "", "4000", "1"]
                show("hand-overs from Python", profile(script, environment))
                for path in bare:
                    place = [*environment.values(), str(dispatch.ISSUES), "20000", "1", "1"]
                    for way in ("core", "bare"):
                        show(f"hand-overs of `{way}`", profile([path, way, *place]))
        case ["inference"]:
            show("inference, 2 KB", profile([sys.executable, "-c", INFERENCE]))
        case ["host-driven"]:
            show("hand-overs through httpx", profile([sys.executable, "-c", HOST_DRIVEN]))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
