import pytest
from timmy.dispatcher.durable import Dispatcher
from timmy.dispatcher.sandbox import Sandbox

from durable.world import NOWHERE, PACE, World


@pytest.fixture(params=["1.25", "1.26"])
def world(request, tmp_path):
    with Sandbox(request.param) as gitea:
        yield World(gitea, tmp_path)


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "dispatch.db"


@pytest.fixture
def alone(ledger):
    """Makes dispatchers that have no Gitea."""

    def make(**more):
        return Dispatcher(ledger, **({"settings": NOWHERE} | PACE | more))

    return make
