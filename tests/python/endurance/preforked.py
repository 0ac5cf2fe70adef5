"""A web application that dispatches when it is loaded, before the server forks, and when asked."""

import asyncio
import os

import timmy.dispatcher as d


def dispatch():
    result = asyncio.run(d.dispatch_task("Design it", issue_number=int(os.environ["ISSUE"])))
    assert result.success, result


def application(environ, start_response):
    dispatch()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


dispatch()
os.register_at_fork(after_in_child=lambda: print("ready", flush=True))
