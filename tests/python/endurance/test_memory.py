"""Memory and descriptors after very much work are what they were after much of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from endurance import scale

HERE = Path(__file__).parent
MIB = 1024 * 1024


def test_a_process_does_not_grow():
    ran = subprocess.run(
        [sys.executable, str(HERE / "wearing.py"), str(scale.SEED), scale.of("0.1", "1")],
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
        timeout=scale.of(600, 7200),
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    print(ran.stdout)
    *kinds, whole = map(json.loads, ran.stdout.splitlines())
    assert len(kinds) == 7
    assert [kind for kind in kinds if kind["grown"] > 4 * MIB] == []
    assert whole["grown"] <= 4 * MIB
    assert whole["left"] <= 0
