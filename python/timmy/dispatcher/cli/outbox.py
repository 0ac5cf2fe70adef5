"""`outbox` and `repo`: what is still to be sent or looked for, and where a repository has gone."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

import typer
from timmy.dispatcher.durable import Dispatcher

from .app import (
    ExitCode,
    Json,
    app,
)
from .dispatches import effect_table, plain
from .display import line, notes, print_json, print_table, results, visible
from .place import (
    EVERYTHING,
    LEDGER_ENVIRONMENT,
    Ledger,
    ask,
    one_of,
    short,
)

outbox = typer.Typer(
    help="Look at what is still to be sent or looked for, and steer it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(outbox, name="outbox")
repositories = typer.Typer(
    help="Go on where a repository has moved to.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(repositories, name="repo")

EffectId = Annotated[
    str, typer.Argument(metavar="ID", help="The effect; a beginning or an end of its id will do.")
]


@outbox.command("list", epilog=LEDGER_ENVIRONMENT)
def outbox_list(
    limit: Annotated[
        int, typer.Option("-n", "--limit", metavar="N", min=1, help="At most so many.")
    ] = 100,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """List the effects that are not settled, the oldest first."""
    effects = ask(ledger, lambda dispatcher: dispatcher.outbox(limit), as_json=as_json)
    if as_json:
        print_json([plain(effect) for effect in effects])
    elif effects:
        columns, rows = effect_table(effects)
        of = [[short(effect.dispatch), *row] for effect, row in zip(effects, rows, strict=True)]
        print_table(results(), ["dispatch", *columns], of)
    else:
        line(results(), "Everything is settled.")


def _steer_effect(
    ledger: str | None,
    part: str,
    act: Callable[[Dispatcher, UUID], Awaitable[bool]],
    done: str,
    not_done: str,
    *,
    as_json: bool,
) -> None:
    async def steered(dispatcher: Dispatcher) -> tuple[UUID, bool]:
        effects = await dispatcher.outbox(EVERYTHING)
        ids = (effect.id for effect in effects)
        id = one_of(ids, part, "unsettled effect", "`outbox list`")
        return id, await act(dispatcher, id)

    id, changed = ask(ledger, steered, as_json=as_json)
    if as_json:
        print_json({"id": str(id), "changed": changed})
    elif changed:
        line(results(), f"{id} {done}")
    else:
        line(notes(), f"{id} {not_done}")
    raise typer.Exit(ExitCode.SUCCESS if changed else ExitCode.FAILED)


@outbox.command("retry", epilog=LEDGER_ENVIRONMENT)
def outbox_retry(id: EffectId, ledger: Ledger = None, as_json: Json = False) -> None:
    """Have an effect that waits tried at once."""
    _steer_effect(
        ledger,
        id,
        lambda dispatcher, found: dispatcher.hasten(found),
        "is tried at once.",
        "does not wait: it is on its way, or in doubt and looked for in its time.",
        as_json=as_json,
    )


@outbox.command("drop", epilog=LEDGER_ENVIRONMENT)
def outbox_drop(id: EffectId, ledger: Ledger = None, as_json: Json = False) -> None:
    """Give an effect up, whatever became of it."""
    _steer_effect(
        ledger,
        id,
        lambda dispatcher, found: dispatcher.abandon(found),
        "is given up.",
        "is on its way this moment; try again in a moment.",
        as_json=as_json,
    )


@repositories.command("move", epilog=LEDGER_ENVIRONMENT)
def repo_move(
    old: Annotated[str, typer.Argument(metavar="OLD", help="owner/name, as it was.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="owner/name, as it is now.")],
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """Go on in a repository that has another name; what was held because of it is released."""
    moved = ask(ledger, lambda dispatcher: dispatcher.relocate(old, new), as_json=as_json)
    if as_json:
        print_json({"from": old, "to": new, "dispatches": moved})
    else:
        what = "dispatch goes" if moved == 1 else "dispatches go"
        line(results(), f"{moved} {what} on in {visible(new)}.")
