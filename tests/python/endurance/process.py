"""What a process holds, and waiting until something holds."""

import contextlib
import gc
import os
import time

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """The memory that this process has in RAM, in bytes."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * PAGE


def descriptors() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd")) - 1


def connections(port: int) -> int:
    """How many connections to a local port are open on the server's side."""
    with open("/proc/self/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    local = f"0100007F:{port:04X}"
    return sum(row[1] == local and row[3] in {"01", "08"} for row in rows)


def eventually(condition, what: str, seconds: float = 60) -> None:
    """Wait until a condition holds; it is looked at often and given ample time."""
    gc.collect()
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@contextlib.contextmanager
def peak_memory():
    """Gives a function that says how much memory the process had in RAM at most, in bytes."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as clear:
        clear.write("5")

    def peak() -> int:
        with open("/proc/self/status", encoding="ascii") as status:
            [line] = [line for line in status if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024

    yield peak
