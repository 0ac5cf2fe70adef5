"""Puts the dashboard in place before any test imports the dispatcher."""

import logging
import os
from unittest.mock import MagicMock

import pytest

from dropin import host

host.install()

# The module that is replaced has none of the differences.
collect_ignore_glob = ["test_differences*"] if os.environ.get(host.ORACLE_VARIABLE) else []


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    """The host's settings, fresh for each test and seen by the dispatcher."""
    import config
    from timmy import dispatcher

    fresh = host.HostSettings()
    monkeypatch.setattr(config, "settings", fresh)
    monkeypatch.setattr(dispatcher, "settings", fresh)
    return fresh


@pytest.fixture
def log_lines(caplog):
    """A function giving the dispatcher's lines so far, INFO and above, as (level, text)."""
    caplog.set_level(logging.DEBUG, "timmy.dispatcher")

    def lines():
        return [
            (record.levelname, record.getMessage())
            for record in caplog.records
            if record.name == "timmy.dispatcher" and record.levelno >= logging.INFO
        ]

    return lines


@pytest.fixture
def replace_httpx(monkeypatch):
    """A function that makes `httpx.AsyncClient(...)` give the clients it is handed, in order.

    A single client is given every time. Returns the mock that stands for the class.
    """

    def replace(*clients):
        options = {"return_value": clients[0]} if len(clients) == 1 else {"side_effect": clients}
        constructor = MagicMock(**options)
        monkeypatch.setattr("httpx.AsyncClient", constructor)
        return constructor

    return replace
