"""A program that ends with work in flight: ``leaving.py WORK PHASE ENDING URL KEY``.

WORK is ``native``, ``httpx``, ``durable`` (a Dispatcher over the ledgers ``LEDGER-0`` and so on) or
``asyncio``. The last is the stand-in: the same program without the
dispatcher, whose exit status and standard error say what Python itself does at that ending.
"""

import asyncio
import os
import signal
import sys
import threading
import time

# A shell that starts something in the background has it ignore this one.
signal.signal(signal.SIGINT, signal.default_int_handler)
WORK, PHASE, ENDING, URL, KEY = sys.argv[1:]
TASKS = 3


async def work(number):
    if WORK == "asyncio":
        reader, writer = await asyncio.open_connection("127.0.0.1", URL.rsplit(":", 1)[1])
        writer.write(f"GET /{KEY}/ HTTP/1.1\r\n\r\n".encode())
        await reader.read()
    elif WORK == "durable":
        await keep(number)
    elif PHASE in {"asking", "asleep"}:
        await d.wait_for_completion(number, 60, 7200)
    else:
        await d.dispatch_task("design", issue_number=number, max_retries=2)


async def keep(number):
    while True:
        dispatcher = Dispatcher(f"{os.environ['LEDGER']}-{number}")

        @dispatcher.local_agent
        async def call(assignment):
            reached.append("called")
            await asyncio.Event().wait()

        async with dispatcher:
            reached.append("opening")
            if PHASE == "opening":
                continue
            agent = "timmy" if PHASE == "called" else "agent_api"
            task = Task("research it", agent=agent, api_endpoint="http://127.0.0.1:9")
            dispatch = await dispatcher.submit(task)
            reached.append("submitted")
            if PHASE == "followed":
                async for _ in dispatcher.events():
                    reached.append("followed")
            await dispatch.wait()


reached = []
if WORK != "asyncio":
    import timmy.dispatcher as d
    from timmy.dispatcher.durable import Dispatcher, Task

    d.use_http("auto" if WORK == "durable" else WORK)
    d.logger.disabled = True
    os.environ.update(GITEA_URL=f"{URL}/{KEY}", GITEA_TOKEN="t", GITEA_REPO="o/r")

sleeping = []
asyncio_sleep = asyncio.sleep


async def counted_sleep(*args):
    sleeping.append(args)
    await asyncio_sleep(*args)


async def until(condition):
    while not condition():
        await asyncio_sleep(0.005)


def connecting():
    """How many sockets of this process wait for their connection to be taken."""
    own = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            own.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    with open("/proc/self/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return sum(row[3] == "02" and f"socket:[{row[9]}]" in own for row in rows)


async def in_flight():
    """Comes back when the work is in its phase."""
    if WORK == "durable":
        await until(lambda: reached.count(PHASE) >= TASKS)
    elif WORK != "asyncio" and PHASE == "connecting":
        await until(lambda: connecting() >= TASKS)
    elif WORK != "asyncio" and PHASE in {"between", "asleep"}:
        await until(lambda: len(sleeping) >= TASKS)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", os.environ["SEEN_PORT"])
        writer.write(f"GET /seen/{KEY}/{TASKS} HTTP/1.1\r\n\r\n".encode())
        await reader.readline()
        writer.close()
    # A moment more or less: the end may come at any point of the phase.
    await asyncio_sleep(float(os.environ["PAUSE"]))


async def exit_in_task():
    sys.exit(3)


async def main():
    asyncio.sleep = counted_sleep
    tasks = [asyncio.create_task(work(number)) for number in range(TASKS)]
    await in_flight()
    if ENDING == "exit in a task":
        await asyncio.create_task(exit_in_task())
    elif ENDING == "exit":
        sys.exit(4)
    elif ENDING == "exception":
        raise RuntimeError("the program ends here")
    elif ENDING == "hard exit":
        os._exit(5)
    elif ENDING.startswith("SIG"):
        number = getattr(signal, ENDING.split()[0])
        if ENDING.endswith("handled"):
            signal.signal(number, lambda *_: sys.exit(6))
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()
    return tasks


def in_thread(daemon):
    reached = threading.Event()

    async def tell():
        tasks = await main()
        reached.set()
        while daemon or threading.main_thread().is_alive():
            if ENDING.startswith("busy"):
                # Goes on dispatching while the interpreter ends.
                tasks.append(asyncio.create_task(work(0)))
            await asyncio_sleep(0.001)

    threading.Thread(target=asyncio.run, args=(tell(),), daemon=daemon).start()
    reached.wait()


if ENDING in {"daemon thread", "busy daemon thread"}:
    in_thread(daemon=True)
    if ENDING.startswith("busy"):
        time.sleep(0.05)
elif ENDING == "thread":
    in_thread(daemon=False)
elif ENDING == "open loop":
    loop = asyncio.new_event_loop()
    left = loop.run_until_complete(main())
else:
    asyncio.run(main())
