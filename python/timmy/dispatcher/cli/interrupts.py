"""Running a coroutine so that Ctrl-C ends it at once."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do as `asyncio.run`, without a moment in which SIGINT waits for the next thing to happen.

    asyncio's handler of SIGINT runs when the main thread wakes. A signal that is taken by another
    thread, or by this one right before it goes to sleep, does not wake it: between two looks at
    an issue that is a minute. A handler that the loop knows of wakes the loop.
    """

    async def interruptible() -> T:
        handler = signal.getsignal(signal.SIGINT)
        # Not callable where SIGINT is ignored; not implemented by the loops of Windows.
        if callable(handler):
            with contextlib.suppress(NotImplementedError):
                loop = asyncio.get_running_loop()
                loop.add_signal_handler(signal.SIGINT, handler, signal.SIGINT, None)
        return await work

    return asyncio.run(interruptible())
