"""What is said of agents on the command line, and the registry of this process that it goes to."""

import dataclasses
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from timmy import dispatcher
from timmy.dispatcher import AgentType

from .app import fail

#: What stands before the sign of equality, and what behind it.
Pairs = dict[str, str]


def repeatable(option: str, metavar: str, *, variable: str | None = None, text: str) -> Any:
    """Describe an option that may be given several times, or as words of a variable."""
    return typer.Option(
        option, metavar=metavar, envvar=variable, show_envvar=False, help=f"{text}; repeatable."
    )


Endpoints = Annotated[
    list[str] | None,
    repeatable(
        "--agent-endpoint",
        "AGENT=URL",
        variable="TIMMY_AGENT_ENDPOINTS",
        text="Where an agent takes tasks over HTTP",
    ),
]


def pairs(values: Iterable[str] | None, option: str, *, as_json: bool) -> Pairs:
    """Read `AGENT=VALUE` options."""
    read: Pairs = {}
    for value in values or ():
        name, separator, rest = value.partition("=")
        if not (name and separator and rest):
            fail(f"{option} takes AGENT=VALUE, not {value!r}", as_json=as_json)
        read[name] = rest
    return read


def set_endpoints(endpoints: list[str] | None, *, as_json: bool) -> None:
    """Put endpoints into the registry of this process."""
    for name, url in of_agents(endpoints, "--agent-endpoint", as_json=as_json).items():
        change(name, api_endpoint=url)


def of_agents(values: list[str] | None, option: str, *, as_json: bool) -> Pairs:
    """Read `AGENT=VALUE` options of agents that there are."""
    read = pairs(values, option, as_json=as_json)
    for name in read:
        check_agent(name, option, as_json=as_json)
    return read


def check_agent(name: str, option: str, *, as_json: bool) -> None:
    """End with an error of usage where there is no such agent."""
    if name not in dispatcher.AGENT_REGISTRY:
        known = ", ".join(dispatcher.AGENT_REGISTRY)
        fail(f"{option}: unknown agent {name!r}; known are {known}", as_json=as_json)


def change(name: str, **fields: Any) -> None:
    """Change an agent of the registry."""
    registry = dispatcher.AGENT_REGISTRY
    agent = AgentType(name)
    registry[agent] = dataclasses.replace(registry[agent], **fields)
