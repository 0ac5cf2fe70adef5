"""A program that forks: ``forking.py WAY``, with Gitea's address in the environment.

Parent and child dispatch, before and after, and both end by themselves.
"""

import asyncio
import multiprocessing
import os
import sys
import threading
from concurrent.futures import ProcessPoolExecutor

import timmy.dispatcher as d

ISSUE = int(os.environ["ISSUE"])


def dispatch(_=None):
    result = asyncio.run(asyncio.wait_for(d.dispatch_task("Design it", issue_number=ISSUE), 60))
    assert result.success and not result.metadata.get("failed_steps"), result
    return os.getpid()


def fork_and_dispatch():
    """Forks; the child dispatches and never comes back, the parent does."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            dispatch()
            status = 0
        finally:
            os._exit(status)
    return child


def wait_for(*children):
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


async def held(number):
    """Asks the server that never answers."""
    url = os.environ["ENDLESS_URL"]
    await d.dispatch_task("research it", api_endpoint=f"{url}/waiting-{number}")


async def with_work_in_flight(number, fork):
    tasks = [asyncio.create_task(held(number)) for _ in range(3)]
    reader, writer = await asyncio.open_connection("127.0.0.1", os.environ["SEEN_PORT"])
    writer.write(f"GET /seen/waiting-{number}/3 HTTP/1.1\r\n\r\n".encode())
    await reader.readline()
    writer.close()
    children = fork()
    await asyncio.to_thread(wait_for, *children)
    result = await d.dispatch_task("Design it", issue_number=ISSUE)
    assert result.success
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def before_any_thread():
    assert threading.active_count() == 1
    child = fork_and_dispatch()
    dispatch()
    wait_for(child)


def while_idle():
    dispatch()
    child = fork_and_dispatch()
    dispatch()
    wait_for(child)


def child_that_ends_as_programs_do():
    dispatch()
    child = os.fork()
    dispatch()
    if child:
        wait_for(child)


def grandchild():
    dispatch()
    child = os.fork()
    dispatch()
    wait_for(child or fork_and_dispatch())


def in_flight():
    dispatch()
    asyncio.run(with_work_in_flight("fork", lambda: [fork_and_dispatch() for _ in range(3)]))


def in_flight_from_a_thread():
    children = []

    def fork():
        thread = threading.Thread(target=lambda: children.append(fork_and_dispatch()))
        thread.start()
        thread.join()
        return children

    asyncio.run(with_work_in_flight("thread", fork))


def start(method):
    def run():
        dispatch()
        context = multiprocessing.get_context(method)
        process = context.Process(target=dispatch)
        process.start()
        dispatch()
        process.join()
        assert process.exitcode == 0
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            own = dispatch()
            assert own not in set(pool.map(dispatch, range(4)))

    return run


WAYS = {
    "before any thread": before_any_thread,
    "while idle": while_idle,
    "a child that ends as programs do": child_that_ends_as_programs_do,
    "a grandchild": grandchild,
    "in flight": in_flight,
    "in flight, from a thread": in_flight_from_a_thread,
    "multiprocessing fork": start("fork"),
    "multiprocessing forkserver": start("forkserver"),
    "multiprocessing spawn": start("spawn"),
}

if __name__ == "__main__":
    WAYS[sys.argv[1]]()
