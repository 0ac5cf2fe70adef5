"""A program that asks for an issue in one environment after another, each in a process of its own.

It reads lines of JSON, ``{"way": …, "url": …, "env": {…}}``, and answers each with what it came to.
"""

import asyncio
import json
import logging
import os
import sys

import httpx  # noqa: F401  (once, and not in every child)
import timmy.dispatcher as d

said = []


class Keep(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())


def reach(case):
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT_"):
            del os.environ[name]
    os.environ.update(case["env"], GITEA_URL=case["url"], GITEA_TOKEN="t", GITEA_REPO="o/r")
    d.use_http(case["way"])
    status = asyncio.run(d.wait_for_completion(5, 1, 0.01))
    return {"status": status, "said": said}


d.logger.addHandler(Keep())
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            print(json.dumps(reach(json.loads(line))), flush=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
