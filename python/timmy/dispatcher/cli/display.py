"""How things are printed.

Three readers, three rules. A person at a terminal gets colours and tables that fit. A pipe gets
plain text in which nothing is cut or folded, however long. A script with ``--json`` gets one
ASCII document. Titles and error texts come from anywhere, so they are never read as markup, and
what could move the cursor or turn the text around is shown as an escape.
"""

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from timmy.dispatcher import Explanation

#: The cells of one row of a table.
Row = Sequence[str | Text]

#: Control characters, lone surrogates, line separators, and what changes the direction of text.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

_STATUS_STYLES = {
    "assigned": "green",
    "completed": "bold green",
    "escalated": "bold red",
    "failed": "red",
    "timed_out": "yellow",
}
_DECIDED = "bold green"
_ALSO_FOUND = "yellow"


def _escape(match: re.Match[str]) -> str:
    """Write one unprintable character as Python would."""
    return match[0].encode("unicode_escape").decode("ascii")


def visible(text: object, *, lines: bool = False) -> str:
    """Return *text* with its unprintable characters as escapes; *lines* keeps line feeds."""
    if lines:
        return "\n".join(visible(line) for line in str(text).split("\n"))
    return _UNPRINTABLE.sub(_escape, str(text))


def _console(stream: TextIO, *, stderr: bool) -> Console:
    """Make a console without markup, and without colours where there is no terminal."""
    return Console(
        stderr=stderr, force_terminal=stream.isatty(), markup=False, emoji=False, highlight=False
    )


def results() -> Console:
    """Return the console for results: stdout, as it is now."""
    return _console(sys.stdout, stderr=False)


def notes() -> Console:
    """Return the console for progress, hints and errors: stderr, as it is now."""
    return _console(sys.stderr, stderr=True)


def line(console: Console, text: str | Text = "") -> None:
    """Print one line and leave the folding to the terminal."""
    console.print(text, soft_wrap=True)


def _finite(value: object) -> object:
    """Replace what JSON has no number for; an agent's answer may hold NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def print_json(document: object, *, one_line: bool = False) -> None:
    """Print *document* as one JSON document, in ASCII: lone surrogates stay what they are."""
    indent = None if one_line else 2
    text = json.dumps(_finite(document), indent=indent, allow_nan=False, default=str)
    print(text, flush=True)


def status_text(status: str, note: str = "") -> Text:
    """Return a dispatch status in its colour, with a remark behind it."""
    text = Text(status, style=_STATUS_STYLES.get(status, ""))
    if note:
        text.append(visible(note), style="none")
    return text


def print_table(console: Console, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Print a table that fits a terminal; elsewhere columns as wide as what is in them."""
    cells = [[Text(c) if isinstance(c, str) else c for c in row] for row in rows]
    if not console.is_terminal:
        plain = [list(columns), *([cell.plain for cell in row] for row in cells)]
        widths = [max(cell_len(cell) for cell in column) for column in zip(*plain, strict=True)]
        for texts in plain:
            padded = (c + " " * (w - cell_len(c)) for c, w in zip(texts, widths, strict=True))
            line(console, "  ".join(padded).rstrip())
        return
    table = Table(box=box.ROUNDED, show_lines=True, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*row)
    console.print(table)


def deciding_words(explanation: "Explanation") -> list[str]:
    """Return the keywords that decided the type, each once, in the order of the evidence."""
    decided = (m.keyword for m in explanation.matches if m.task_type == explanation.task_type)
    return list(dict.fromkeys(decided))


def evidence_text(text: str, field: str, explanation: "Explanation") -> Text:
    """Return *text* (the title or the description) with every keyword found in it coloured."""
    styles = [""] * len(text)
    # The words that decided come last, so that they win where words overlap.
    for match in sorted(explanation.matches, key=lambda m: m.task_type == explanation.task_type):
        style = _DECIDED if match.task_type == explanation.task_type else _ALSO_FOUND
        for span in match.spans:
            if span.field == field:
                styles[span.start : span.end] = [style] * (span.end - span.start)
    coloured = Text()
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or styles[end] != styles[start]:
            coloured.append(visible(text[start:end], lines=True), style=styles[start] or None)
            start = end
    return coloured


def evidence_rows(explanation: "Explanation") -> list[tuple[Text, str, str, str]]:
    """Return a row for each keyword found: word, its type, where it stands, whether it decided."""
    rows = []
    for match in explanation.matches:
        decided = match.task_type == explanation.task_type
        places = " + ".join(f"{s.field} {s.start}-{s.end}" for s in match.spans)
        word = Text(match.keyword, style=_DECIDED if decided else _ALSO_FOUND)
        rows.append((word, str(match.task_type), places, "decided" if decided else ""))
    return rows
