"""Two implementations of `timmy.dispatcher` side by side in one run."""

import argparse
import gc
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median
from types import ModuleType, SimpleNamespace


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return what every bench can be told."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--against", metavar="PATH", help="another implementation's dispatcher.py")
    options.add_argument(
        "--rounds", type=int, default=100, help="rounds of which to take the median"
    )
    return options


def arguments(description: str | None) -> argparse.Namespace:
    """Read the command line of a bench, and the other implementation if one is named."""
    parsed = parser(description).parse_args()
    parsed.against = parsed.against and load(parsed.against)
    return parsed


def load(path: str) -> ModuleType:
    """Import an implementation from its file; it finds the settings that it may ask a host for."""
    settings = SimpleNamespace(
        gitea_url=os.environ.get("GITEA_URL", "http://localhost:3000"),
        gitea_token=os.environ.get("GITEA_TOKEN", ""),
        gitea_repo=os.environ.get("GITEA_REPO", ""),
        gitea_enabled=True,
    )
    config = ModuleType("config")
    vars(config)["settings"] = settings
    sys.modules.setdefault("config", config)
    spec = importlib.util.spec_from_file_location("other_dispatcher", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def medians(
    runs: Mapping[str, Callable[[], Callable[[], int]]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the median seconds a call of each run.

    A run prepares itself and returns what is timed, which returns how many calls it made. The runs
    take turns, so that what disturbs the machine disturbs them all.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    gc.disable()
    for round_number in range(rounds + 1):
        for name, prepare in runs.items():
            run = prepare()
            begin = clock()
            calls = run()
            elapsed = clock() - begin
            if round_number:  # the first warms up
                seconds[name].append(elapsed / calls)
    gc.enable()
    return {name: median(times) for name, times in seconds.items()}


def duration(seconds: float) -> str:
    """Return a duration with a fitting unit."""
    for unit, factor in [("s", 1), ("ms", 1e3), ("µs", 1e6)]:
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def table(*rows: tuple[str, ...]) -> None:
    """Print a table in Markdown; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        print("| " + " | ".join(line) + " |")
