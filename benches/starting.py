"""How long `import timmy.dispatcher` takes beside the standard library's modules that it needs."""

import subprocess
import sys
from collections.abc import Callable

import comparison

#: What the module and a program that dispatches need in any case.
STANDARD = "asyncio, atexit, base64, dataclasses, enum, json, logging, os, sys, typing"
HEAVY = ("httpx", "httpcore", "typer", "rich", "starlette")


def starting(code: str) -> Callable[[], Callable[[], int]]:
    """Return what starts a fresh interpreter."""

    def start() -> int:
        subprocess.run([sys.executable, "-c", code], check=True)
        return 1

    return lambda: start


def main() -> None:
    """Print both, and the difference."""
    parser = comparison.parser(__doc__)
    parser.set_defaults(rounds=25)
    arguments = parser.parse_args()
    code = f"import timmy.dispatcher, sys; assert not {{*{HEAVY!r}}} & {{*sys.modules}}"
    medians = comparison.medians(
        {"standard": starting(f"import {STANDARD}"), "dispatcher": starting(code)},
        arguments.rounds,
    )
    standard, own = medians["standard"], medians["dispatcher"]
    comparison.table(
        ("start of an interpreter that imports", "takes"),
        ("the standard library's modules", comparison.duration(standard)),
        ("timmy.dispatcher", comparison.duration(own)),
        ("the difference", comparison.duration(own - standard)),
    )


if __name__ == "__main__":
    main()
