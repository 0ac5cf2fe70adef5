"""How things are printed.

Three readers, three rules. A person at a terminal gets colours and tables that fit. A pipe gets
plain text in which nothing is cut or folded, however long. A script with ``--json`` gets one
ASCII document. Titles and error texts come from anywhere, so they are never read as markup, and
what could move the cursor or turn the text around is shown as an escape.
"""

import json
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from timmy.dispatcher import Explanation, Span

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
#: Blanks between two columns.
_GAP = 2
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
    """Make a console without markup; colours are for a terminal, or where FORCE_COLOR asks."""
    coloured = stream.isatty() or bool(os.environ.get("FORCE_COLOR"))
    return Console(
        stderr=stderr, force_terminal=coloured, markup=False, emoji=False, highlight=False
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
    """Print a table: on a terminal one that fits it, elsewhere as wide as what is in it.

    A terminal that is too narrow for every word gets each row as a block of lines instead.
    """
    cells = [[Text(c) if isinstance(c, str) else c for c in row] for row in rows]
    plain = [list(columns), *([cell.plain for cell in row] for row in cells)]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*plain, strict=True)]
    if console.file.isatty():
        words = [
            max(cell_len(word) for cell in column for word in (*cell.split(), ""))
            for column in zip(*plain, strict=True)
        ]
        fitted = _fit(widths, words, console.width)
        if fitted is None:
            _print_blocks(console, columns, cells)
            return
        widths = fitted
    table = Table(box=None, show_header=True, header_style="bold", padding=0, pad_edge=False)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width, overflow="fold")
        table.add_column(width=_GAP)
    for row in cells:
        table.add_row(*(part for cell in row for part in (cell, "")))
    # Not the console's width: elsewhere than on a terminal it says nothing.
    lines = console.render_lines(
        table, console.options.update_width(sum(widths) + _GAP * len(widths)), pad=False
    )
    for segments in lines:
        text = Text.assemble(*((part.text, part.style or "") for part in segments))
        text.rstrip()
        line(console, text)


def _fit(widths: list[int], words: list[int], room: int) -> list[int] | None:
    """Narrow the widest columns until all fit, none below its longest word; None if none do."""
    fitted = list(widths)
    while sum(fitted) + _GAP * (len(fitted) - 1) > room:
        spare = [i for i, width in enumerate(fitted) if width > words[i]]
        if not spare:
            return None
        fitted[max(spare, key=lambda i: fitted[i])] -= 1
    return fitted


def _print_blocks(console: Console, columns: Sequence[str], rows: Iterable[Sequence[Text]]) -> None:
    """Print each row as its first cell and, below it, the others by name."""
    for first, *others in rows:
        named = [
            Text.assemble((f"{column} " if column else "", "dim"), cell)
            for column, cell in zip(columns[1:], others, strict=True)
            if cell.plain not in ("", "-")
        ]
        console.print(Text(first.plain, style="bold"))
        console.print(Padding(Text(" · ").join(named), (0, 0, 0, 2)))


def deciding_words(explanation: "Explanation") -> list[str]:
    """Return the keywords that decided the type, each once, in the order of the evidence."""
    decided = (m.keyword for m in explanation.matches if m.task_type == explanation.task_type)
    return list(dict.fromkeys(decided))


def coloured(text: str, field: str, marks: Iterable[tuple["Span", str]]) -> Text:
    """Return *text*, the *field* of a task, with the marked parts in their styles."""
    styles = [""] * len(text)
    for span, style in marks:
        if span.field == field:
            styles[span.start : span.end] = [style] * (span.end - span.start)
    made = Text()
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or styles[end] != styles[start]:
            made.append(visible(text[start:end], lines=True), style=styles[start] or None)
            start = end
    return made


def evidence_text(text: str, field: str, explanation: "Explanation") -> Text:
    """Return *text* (the title or the description) with every keyword found in it coloured."""
    # The words that decided come last, so that they win where words overlap.
    matches = sorted(explanation.matches, key=lambda m: m.task_type == explanation.task_type)
    marks = [
        (span, _DECIDED if match.task_type == explanation.task_type else _ALSO_FOUND)
        for match in matches
        for span in match.spans
    ]
    return coloured(text, field, marks)


def evidence_rows(explanation: "Explanation") -> list[tuple[Text, str, str, str]]:
    """Return a row for each keyword found: word, its type, where it stands, whether it decided."""
    rows = []
    for match in explanation.matches:
        decided = match.task_type == explanation.task_type
        places = " + ".join(f"{s.field} {s.start}-{s.end}" for s in match.spans)
        word = Text(match.keyword, style=_DECIDED if decided else _ALSO_FOUND)
        rows.append((word, str(match.task_type), places, "decided" if decided else ""))
    return rows
