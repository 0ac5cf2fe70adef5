//! The comments that dispatching writes, as pieces, so that each host can join its own texts.

/// A part of a comment: fixed words, or something that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<T> {
    /// Words of the comment itself.
    Words(&'static str),
    /// What the caller gave.
    Given(T),
}

use Piece::{Given, Words};

/// The comment that hands a task over.
pub fn assignment<T>(
    display_name: T,
    task_type: T,
    description: T,
    criteria: Option<impl IntoIterator<Item = T>>,
) -> Vec<Piece<T>> {
    let mut pieces = vec![
        Words("## Assigned to "),
        Given(display_name),
        Words("\n\n**Task type:** `"),
        Given(task_type),
        Words("`\n\n**Description:**\n"),
        Given(description),
        Words("\n\n**Acceptance criteria:**\n"),
    ];
    match criteria {
        Some(criteria) => {
            let mut bullet = "- ";
            for criterion in criteria {
                pieces.extend([Words(bullet), Given(criterion)]);
                bullet = "\n- ";
            }
        }
        None => pieces.push(Words("_None specified_")),
    }
    pieces.push(Words("\n\n---\n*Dispatched by Timmy agent dispatcher.*"));
    pieces
}

/// The comment that asks a person to step in.
pub fn escalation<T>(display_name: T, attempts: T, error: T) -> Vec<Piece<T>> {
    vec![
        Words("## Dispatch Escalated\n\nCould not assign to **"),
        Given(display_name),
        Words("** after "),
        Given(attempts),
        Words(" attempt(s).\n\n**Error:** "),
        Given(error),
        Words("\n\nManual intervention required.\n\n---\n*Timmy agent dispatcher.*"),
    ]
}

/// Joins the pieces of a comment.
///
/// ```
/// use timmy_dispatcher::channel::comment::{assignment, join};
/// let body = join(assignment("Timmy", "triage", "Sort the bugs", None::<[&str; 0]>));
/// assert!(body.starts_with("## Assigned to Timmy\n\n**Task type:** `triage`"));
/// assert!(body.contains("_None specified_"));
/// ```
#[must_use]
pub fn join<T: AsRef<str>>(pieces: Vec<Piece<T>>) -> String {
    let mut text = String::new();
    for piece in &pieces {
        text.push_str(match piece {
            Words(words) => words,
            Given(given) => given.as_ref(),
        });
    }
    text
}
