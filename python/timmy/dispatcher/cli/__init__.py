"""The command line `timmy-dispatch`.

============== ==========================================================
``app``        the commands, their options, their exit codes
``inference``  `infer`
``model``      training, judging and reading models
``submission`` `submit`
``dispatches`` looking at what is in a ledger, and steering it
``outbox``     what is still to be sent, and where a repository has gone
``worker``     `run`, with its live view
``health``     `doctor`, and what looks after the ledger's file
``registry``   what is said of agents on the command line
``place``      where the ledger is, and how things in it are named
``demo``       the tour: a sandbox, a dozen tasks, a table
``survival``   its second part: a worker that is killed
``display``    how things are printed: terminal, pipe, JSON, hostile text
============== ==========================================================

It needs the extra ``[cli]`` (Typer and Rich); the dispatcher itself needs neither.
"""

import sys

__all__ = ["main"]

#: What people read who installed the dispatcher alone.
MISSING_EXTRA = "timmy-dispatch needs Typer and Rich: pip install 'timmy-dispatcher[cli]'"


def main() -> int:
    """Run `timmy-dispatch` on this process's arguments and return its exit code."""
    try:
        from .app import run  # noqa: PLC0415  (here, so that a missing extra can be told)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "timmy":
            raise
        print(MISSING_EXTRA, file=sys.stderr)
        return 2
    return run(sys.argv[1:])
