"""A dispatcher belongs to the process that opened it, and says so in a forked child."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("forking.py")
WAYS = [
    "used in the child",
    "opened again in the child",
    "with a call on its way",
    "opened in the child",
    "closed before",
    "a child that ends as programs do",
]


@pytest.mark.parametrize("way", WAYS)
def test_parent_and_child(way, ledger):
    ran = subprocess.run(
        [sys.executable, PROGRAM, way, ledger],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
