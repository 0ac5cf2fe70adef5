"""What the page shows, computed here: in the shape in which the WASM module's wrapper gives it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from html import escape
from typing import NotRequired, TypedDict

from timmy import dispatcher
from timmy.dispatcher import _core, _inference

#: Matches in an answer: those that decided, as many as the page marks.
MAX_MATCHES = 200
#: Different words that are named.
MAX_WORDS = 6
#: Words and pairs for and against the likeliest type, as many as the page marks.
MAX_EVIDENCE = 12


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


class RankedType(Agent):
    """A task type, who gets it, and how likely it is, in 1/10,000."""

    type: str
    agent: str
    probability: int


class Evidence(TypedDict):
    """Words for (above 0) or against (below 0) the likeliest type."""

    text: str
    weight: int
    spans: list[Span]


class Ranking(TypedDict):
    """Every task type, the likeliest first, and the weightiest words."""

    types: list[RankedType]
    evidence: list[Evidence]


class Explanation(TypedDict):
    """A task type, who gets such tasks, and what spoke for it."""

    type: str
    agent: str
    displayName: str
    interface: str
    label: str | None
    matches: list[Match]
    ranking: NotRequired[Ranking]


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


def settings_of_ranking() -> dict[str, object]:
    """Return what this program's settings say of ranking; a replaced ``infer_task_type`` goes
    before them, as it does when a task is dispatched.
    """
    if dispatcher.infer_task_type is not dispatcher._EXACT_RULES:
        return {}
    return _inference.unread(dispatcher.settings)


def model() -> bytes:
    """Return the model that this program ranks by.

    Raises:
        ValueError: It cannot be read.
    """
    return _inference.classifier(dispatcher.settings)._model.to_bytes()


def ranking(title: str, description: str) -> Ranking:
    """Return how likely each type of a text is, and the weightiest words.

    Raises:
        ValueError: The model cannot be read.
    """
    found = _inference.classifier(dispatcher.settings).rank(title, description)
    counted = _in_units(title, description)
    types: list[RankedType] = []
    for one in found.types:
        agent = _agent_of(one.task_type)
        probability = round(one.probability * 10_000)
        types.append(
            {"type": one.task_type, "agent": agent["name"], **agent, "probability": probability}
        )
    evidence: list[Evidence] = [
        {
            "text": one.text,
            "weight": one.weight,
            "spans": [counted(span) for span in one.spans[:MAX_MATCHES]],
        }
        for one in found.evidence[:MAX_EVIDENCE]
    ]
    return {"types": types, "evidence": evidence}


def explanation(title: str, description: str) -> Explanation:
    """Return the explanation of a text, with the matches that decided."""
    found = dispatcher.explain_task_type(title, description)
    agent = _agent_of(found.task_type)
    counted = _in_units(title, description)
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
                "spans": [counted(span) for span in match.spans],
            }
            for match in found.deciding[:MAX_MATCHES]
        ],
    }


def _in_units(title: str, description: str) -> Callable[[dispatcher.Span], Span]:
    """Return what counts a span of the texts in UTF-16 units."""
    fields = {"title": _Utf16(title), "description": _Utf16(description)}

    def counted(span: dispatcher.Span) -> Span:
        units = fields[span.field].units
        return {"field": span.field, "start": units(span.start), "end": units(span.end)}

    return counted


class _Utf16:
    """Counts a text as JavaScript does, where what is behind U+FFFF has two units."""

    def __init__(self, text: str) -> None:
        self._astral = [at for at, character in enumerate(text) if character > "\uffff"]

    def units(self, position: int) -> int:
        return position + bisect_left(self._astral, position)


def fragment(found: Explanation) -> str:
    """Return an explanation as a piece of HTML; what is in it from a text is escaped."""
    words = [match["keyword"] for match in found["matches"]]
    otherwise = "no keyword speaks for another kind"
    kind, agent, share = found["type"], found["displayName"], ""
    if "ranking" in found:
        first = found["ranking"]["types"][0]
        words = [one["text"] for one in found["ranking"]["evidence"] if one["weight"] > 0]
        otherwise = "no word speaks for it"
        kind, agent, share = (
            first["type"],
            first["displayName"],
            f" {first['probability'] / 100:.1f}%",
        )
    marks = [f"<mark>{escape(word)}</mark>" for word in list(dict.fromkeys(words))[:MAX_WORDS]]
    why = f"because of {' '.join(marks)}" if marks else otherwise
    kind = escape(kind.replace("_", " ").capitalize())
    return f"<p><b>{kind}</b>{share} for <b>{escape(agent)}</b>, {why}</p>\n"
