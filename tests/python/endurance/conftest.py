import random

import pytest

from endurance import scale
from endurance.endless import Endless


@pytest.fixture(autouse=True)
def draw():
    """The randomness of a test; the line stands in the report of a failure."""
    print(f"repeat with SEED={scale.SEED}")
    return random.Random(scale.SEED)


@pytest.fixture(scope="session")
def endless():
    """A server that keeps requests busy in the way that their path names."""
    with Endless() as server:
        yield server
