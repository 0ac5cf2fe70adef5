"""The dashboard around the dispatcher: its `config` module, and which dispatcher it has.

Works in the test process and in the fresh interpreters some tests start.
"""

import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

ORACLE_VARIABLE = "TIMMY_DISPATCHER_ORACLE"


class HostSettings:
    """The part of a dashboard's settings that concerns the dispatcher."""

    gitea_url = "http://gitea.invalid:3000"
    gitea_token = "s3cret"
    gitea_repo = "rockachopa/dashboard"
    gitea_enabled = True


class OracleFinder:
    """Imports one source file under the name `timmy.dispatcher`."""

    def __init__(self, source):
        self.source = source

    def find_spec(self, name, _path=None, _target=None):
        if name == "timmy":
            namespace = ModuleSpec(name, None, is_package=True)
            namespace.submodule_search_locations = []
            return namespace
        if name == "timmy.dispatcher":
            return importlib.util.spec_from_file_location(name, self.source)
        return None


def install():
    """Give the interpreter a `config` module and, where one is asked for, the oracle."""
    config = ModuleType("config")
    config.settings = HostSettings()
    sys.modules["config"] = config
    oracle = os.environ.get(ORACLE_VARIABLE)
    if oracle:
        sys.meta_path.insert(0, OracleFinder(oracle))
