//! The page of the docs that shows the state machines, written from their tables.

use std::fmt::Write as _;

use super::effect;
use super::machine::{self, EventKind, Phase, To};

/// `docs/state-machine.md`, as the tables say it must be.
///
/// ```
/// assert!(timmy_dispatcher::ledger::page().contains("stateDiagram-v2"));
/// ```
#[must_use]
pub fn page() -> String {
    let mut page = String::from(HEAD);
    dispatch_picture(&mut page);
    page.push_str(STATUSES);
    for &phase in Phase::ALL {
        let status = phase
            .status()
            .map_or("the attempt's, without one pending", |status| {
                status.as_str()
            });
        let _ = writeln!(page, "| `{phase}` | {status} |");
    }
    page.push_str(DISPATCH);
    for row in machine::TABLE {
        let from = list(row.from.iter().map(|phase| format!("`{phase}`")));
        let to = match row.to {
            To::Phase(phase) => format!("`{phase}`"),
            To::Same => "–".to_owned(),
            To::Resumed => "where it was".to_owned(),
        };
        let when = list(row.when.iter().map(|guard| guard.text()));
        let then = list(row.then.iter().map(|action| action.text()));
        let _ = writeln!(page, "| {from} | {} | {when} | {to} | {then} |", row.on);
    }
    page.push_str(EFFECT);
    effect_picture(&mut page);
    page.push_str(EFFECT_TABLE);
    for row in effect::TABLE {
        let from = list(row.from.iter().map(|phase| format!("`{phase}`")));
        let when = list(row.when.iter().map(|guard| guard.text()));
        let then = list(row.then.iter().map(|action| action.text()));
        let _ = writeln!(
            page,
            "| {from} | {} | {when} | `{}` | {then} |",
            row.on, row.to
        );
    }
    page
}

const HEAD: &str = "# The state machines

Written from the tables in `src/ledger` by `cargo run --example state_machine --features ledger`; a
test holds this page against them.

## A dispatch

Not drawn: what leads back to the same phase, to `held` (from every phase that is not terminal; a
release leads back), to `issue_gone` (likewise), and the retry that leads from a terminal phase to
`queued`.

```mermaid
stateDiagram-v2
    [*] --> queued: submitted
";

const STATUSES: &str = "```

| phase | status |
|---|---|
";

const DISPATCH: &str = "
Of the rows that could be taken the first is. An event that finds none, or names a fence other than
the dispatch's, changes nothing. `confirmed` and `withdrawn` are the machine's own: nothing of the
attempt is open any more, and for `withdrawn` its slot is not draining.

| in | on | if | to | then |
|---|---|---|---|---|
";

const EFFECT: &str = "
## An effect

```mermaid
stateDiagram-v2
    [*] --> ready
";

const EFFECT_TABLE: &str = "```

| in | on | if | to | then |
|---|---|---|---|---|
";

fn list<T: AsRef<str>>(items: impl Iterator<Item = T>) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(item.as_ref());
    }
    text
}

fn dispatch_picture(page: &mut String) {
    let drawn = machine::TABLE.iter().flat_map(|row| {
        row.from.iter().filter_map(move |&from| match row.to {
            To::Phase(to)
                if !matches!(
                    row.on,
                    EventKind::Hold | EventKind::IssueGone | EventKind::Retry
                ) =>
            {
                Some((from.as_str(), to.as_str(), row.on.as_str()))
            }
            _ => None,
        })
    });
    arrows(page, drawn);
    let ends = Phase::ALL.iter().filter(|phase| phase.is_terminal());
    for phase in ends {
        let _ = writeln!(page, "    {phase} --> [*]");
    }
}

fn effect_picture(page: &mut String) {
    let drawn = effect::TABLE.iter().flat_map(|row| {
        let arrow = move |from: &effect::Phase| (from.as_str(), row.to.as_str(), row.on.as_str());
        row.from.iter().map(arrow)
    });
    arrows(page, drawn);
    for phase in effect::Phase::ALL.iter().filter(|phase| phase.is_settled()) {
        let _ = writeln!(page, "    {phase} --> [*]");
    }
}

/// One arrow for each pair of phases, with everything that leads along it.
fn arrows<'a>(page: &mut String, drawn: impl Iterator<Item = (&'a str, &'a str, &'a str)>) {
    let mut arrows: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for (from, to, on) in drawn {
        match arrows
            .iter_mut()
            .find(|arrow| (arrow.0, arrow.1) == (from, to))
        {
            Some(arrow) if arrow.2.contains(&on) => {}
            Some(arrow) => arrow.2.push(on),
            None => arrows.push((from, to, vec![on])),
        }
    }
    for (from, to, on) in arrows {
        let _ = writeln!(page, "    {from} --> {to}: {}", on.join(", "));
    }
}
