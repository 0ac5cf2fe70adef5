"""A program that forks around a dispatcher: ``forking.py WAY LEDGER``; it ends quietly."""

import asyncio
import gc
import os
import sys
import traceback
from types import SimpleNamespace

from timmy.dispatcher.durable import Dispatcher, Forked, Task

WAY, LEDGER = sys.argv[1:]
SETTINGS = SimpleNamespace(
    gitea_url="http://127.0.0.1:9", gitea_token="", gitea_repo="o/r", gitea_enabled=False
)


def make():
    dispatcher = Dispatcher(LEDGER, settings=SETTINGS, faster=50, lease=20)

    @dispatcher.local_agent
    async def work(assignment):
        await asyncio.sleep(0)
        return assignment.task.title

    return dispatcher


async def does_work(dispatcher, title):
    dispatch = await dispatcher.submit(Task(f"Triage {title}"))
    outcome = await dispatch.wait(timeout=60)
    assert outcome.result == f"Triage {title}", await dispatch.story()


async def opens_and_works(title):
    async with make() as dispatcher:
        await does_work(dispatcher, title)


def forked(child):
    """Runs something in a child, which ends after it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # The child has the parent's loop on its stack, which it must not run.
            asyncio._set_running_loop(None)
            asyncio.run(child())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def wait_for(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


async def is_refused(awaitable):
    try:
        await awaitable
    except Forked as error:
        assert "open it in the child" in str(error) or "Fork before it is opened" in str(error)
    else:
        raise AssertionError("it was not refused")


async def used_in_the_child():
    async with make() as dispatcher:
        dispatch = await dispatcher.submit(Task("Triage it"))

        async def child():
            for ask in (
                dispatcher.list(),
                dispatch.get(),
                dispatch.wait(),
                dispatcher.submit(Task("Triage it")),
                dispatcher.close(),
            ):
                await is_refused(ask)
            gc.collect()

        await asyncio.to_thread(wait_for, forked(child))
        # The child's end took nothing of the parent's away.
        await does_work(dispatcher, "in the parent")
        owners = [name for name in os.listdir(os.path.dirname(LEDGER)) if "-owner-" in name]
        assert len(owners) == 1, owners


async def opened_again_in_the_child():
    async with make() as dispatcher:

        async def child():
            await is_refused(make().__aenter__())
            await is_refused(opens_elsewhere())

        await asyncio.to_thread(wait_for, forked(child))
        await does_work(dispatcher, "in the parent")


async def opens_elsewhere():
    async with Dispatcher(f"{LEDGER}-other", settings=SETTINGS) as dispatcher:
        assert await dispatcher.list() == ()


async def with_a_call_on_its_way():
    dispatcher = Dispatcher(LEDGER, settings=SETTINGS, faster=50, lease=20)
    began, go_on = asyncio.Event(), asyncio.Event()

    @dispatcher.local_agent
    async def work(assignment):
        began.set()
        await go_on.wait()
        return "done"

    async with dispatcher:
        waiting = [
            asyncio.create_task(dispatcher.wait((await dispatcher.submit(task)).id))
            for task in (Task("Triage it"),)
        ]
        following = asyncio.ensure_future(anext(dispatcher.events(after=10_000)))
        await began.wait()

        async def child():
            await is_refused(dispatcher.list())

        pids = [forked(child) for _ in range(3)]
        for pid in pids:
            await asyncio.to_thread(wait_for, pid)
        go_on.set()
        assert (await waiting[0]).result == "done"
        following.cancel()


def opened_in_the_child():
    pid = forked(lambda: opens_and_works("in the child"))
    asyncio.run(opens_and_works("in the parent"))
    wait_for(pid)


def closed_before():
    asyncio.run(opens_and_works("in the parent"))
    pids = [forked(lambda: opens_and_works("in the child")) for _ in range(3)]
    for pid in pids:
        wait_for(pid)
    asyncio.run(opens_and_works("in the parent again"))


def child_that_ends_as_programs_do():
    """The child leaves by the interpreter's own end, with the parent's dispatcher in its hands."""
    kept = make()

    async def main():
        await kept.__aenter__()
        await does_work(kept, "in the parent")
        return os.fork()

    loop = asyncio.new_event_loop()
    pid = loop.run_until_complete(main())
    if pid:
        wait_for(pid)
        loop.run_until_complete(does_work(kept, "in the parent again"))
        loop.run_until_complete(kept.close())
        loop.close()


WAYS = {
    "used in the child": lambda: asyncio.run(used_in_the_child()),
    "opened again in the child": lambda: asyncio.run(opened_again_in_the_child()),
    "with a call on its way": lambda: asyncio.run(with_a_call_on_its_way()),
    "opened in the child": opened_in_the_child,
    "closed before": closed_before,
    "a child that ends as programs do": child_that_ends_as_programs_do,
}

if __name__ == "__main__":
    WAYS[WAY]()
