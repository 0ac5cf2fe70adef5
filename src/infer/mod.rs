//! Text → task type, with the evidence.

mod classifier;
mod signals;
#[cfg(feature = "tables")]
mod table;
mod text;

pub use classifier::{Classifier, Explanation, Match, TableError, explain_task_type};
pub use signals::SIGNALS;
pub use text::{Field, Span, Unit};

use crate::task::TaskType;

/// The task type of a text: the first in [`SIGNALS`] with a keyword anywhere in
/// `title + " " + description`, lowered; [`TaskType::RoutineCoding`] without any.
///
/// ```
/// use timmy_dispatcher::{infer::infer_task_type, task::TaskType};
/// assert_eq!(infer_task_type("Clean", "up the mess"), TaskType::Refactoring);
/// assert_eq!(infer_task_type("Bump a version", ""), TaskType::RoutineCoding);
/// ```
#[must_use]
pub fn infer_task_type(title: &str, description: &str) -> TaskType {
    let text = lowered(title, description);
    let found = SIGNALS
        .iter()
        .find(|(_, keywords)| keywords.iter().any(|keyword| text.contains(keyword)));
    found.map_or(TaskType::RoutineCoding, |(task_type, _)| *task_type)
}

/// The text that keywords are looked for in. All of them are ASCII, so only what lowers into ASCII
/// matters: A to Z, U+0130 (an i and a combining dot) and U+212A (a k).
fn lowered(title: &str, description: &str) -> String {
    let mut text = String::with_capacity(title.len() + description.len() + 1);
    for character in title.chars().chain([' ']).chain(description.chars()) {
        match character {
            '\u{130}' => text.push_str("i\u{307}"),
            '\u{212A}' => text.push('k'),
            other => text.push(other.to_ascii_lowercase()),
        }
    }
    text
}
