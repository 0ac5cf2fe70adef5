"""How large a run is, and what it draws at random from."""

import os
import random

SOAK = os.environ.get("SOAK") == "1"
SEED = int(os.environ.get("SEED") or random.SystemRandom().getrandbits(32))


def of(small, full):
    """The size in `make test`, or in `make soak`."""
    return full if SOAK else small
