"""What the page shows, computed here: in the shape in which the WASM module's wrapper gives it."""

from __future__ import annotations

from bisect import bisect_left
from html import escape
from typing import TypedDict

from timmy import dispatcher
from timmy.dispatcher import _core

#: Matches in an answer: those that decided, as many as the page marks.
MAX_MATCHES = 200
#: Different words that are named.
MAX_WORDS = 6


class Agent(TypedDict):
    """An agent as the page knows it."""

    name: str
    displayName: str
    interface: str
    label: str | None


class Span(TypedDict):
    """A part of a field, in UTF-16 units."""

    field: str
    start: int
    end: int


class Match(TypedDict):
    """A keyword in a text."""

    keyword: str
    type: str
    spans: list[Span]


class Explanation(TypedDict):
    """A task type, who gets such tasks, and what spoke for it."""

    type: str
    agent: str
    displayName: str
    interface: str
    label: str | None
    matches: list[Match]


def _built_in() -> dict[str, Agent]:
    agents: dict[str, Agent] = {
        name: {"name": name, "displayName": display_name, "interface": by, "label": label}
        for name, display_name, _, label, _, by in _core.agents()
    }
    return {task_type: agents[name] for task_type, name in _core.routes()}


def _agent_of(task_type: dispatcher.TaskType) -> Agent:
    name = dispatcher.select_agent(task_type)
    spec = dispatcher.AGENT_REGISTRY.get(name)
    if spec is None:
        return {"name": name, "displayName": name, "interface": "", "label": None}
    return {
        "name": name,
        "displayName": spec.display_name,
        "interface": spec.interface,
        "label": spec.gitea_label,
    }


def changed_routes() -> dict[str, Agent]:
    """Return the agents of those task types that this program sends elsewhere than is built in."""
    built_in = _built_in()
    now = {task_type.value: _agent_of(task_type) for task_type in dispatcher.TaskType}
    return {task_type: agent for task_type, agent in now.items() if agent != built_in[task_type]}


def explanation(title: str, description: str) -> Explanation:
    """Return the explanation of a text, with the matches that decided."""
    found = dispatcher.explain_task_type(title, description)
    agent = _agent_of(found.task_type)
    units = {"title": _Utf16(title), "description": _Utf16(description)}
    return {
        "type": found.task_type,
        "agent": agent["name"],
        "displayName": agent["displayName"],
        "interface": agent["interface"],
        "label": agent["label"],
        "matches": [
            {
                "keyword": match.keyword,
                "type": match.task_type,
                "spans": [
                    {
                        "field": span.field,
                        "start": units[span.field].units(span.start),
                        "end": units[span.field].units(span.end),
                    }
                    for span in match.spans
                ],
            }
            for match in found.deciding[:MAX_MATCHES]
        ],
    }


class _Utf16:
    """Counts a text as JavaScript does, where what is behind U+FFFF has two units."""

    def __init__(self, text: str) -> None:
        self._astral = [at for at, character in enumerate(text) if character > "\uffff"]

    def units(self, position: int) -> int:
        return position + bisect_left(self._astral, position)


def fragment(found: Explanation) -> str:
    """Return an explanation as a piece of HTML; what is in it from a text is escaped."""
    words = list(dict.fromkeys(match["keyword"] for match in found["matches"]))[:MAX_WORDS]
    marks = " ".join(f"<mark>{escape(word)}</mark>" for word in words)
    why = f"because of {marks}" if words else "no keyword speaks for another kind"
    kind = escape(found["type"].replace("_", " ").capitalize())
    return f"<p><b>{kind}</b> for <b>{escape(found['displayName'])}</b>, {why}</p>\n"
