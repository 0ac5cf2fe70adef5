//! Text → task type, with the evidence.

mod built_in;
mod classifier;
mod fingerprint;
mod plain;
mod search;
mod signals;
#[cfg(feature = "tables")]
mod table;
mod text;
#[cfg(target_arch = "x86_64")]
mod vector;

#[cfg(feature = "wasm")]
pub(crate) use built_in::{decided, evidence, keywords};
pub use classifier::{Classifier, Explanation, Match, TableError};
pub use signals::SIGNALS;
#[cfg(any(feature = "rank", feature = "wasm"))]
pub(crate) use text::Counter;
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
    built_in::infer::<true>(title, description)
}

/// The type of a text by the built-in table, and every keyword in it.
///
/// ```
/// use timmy_dispatcher::infer::explain_task_type;
/// let explanation = explain_task_type("Clean", "up the mess");
/// assert_eq!(explanation.matches[0].keyword, "clean up");
/// assert_eq!(explanation.matches[0].spans.len(), 2);
/// ```
#[must_use]
pub fn explain_task_type(title: &str, description: &str) -> Explanation {
    built_in::explain::<true>(title, description)
}

/// The same without what only some machines have, for tests to hold the two together.
#[doc(hidden)]
pub mod portable {
    use super::{Explanation, TaskType, built_in};

    #[must_use]
    pub fn infer_task_type(title: &str, description: &str) -> TaskType {
        built_in::infer::<false>(title, description)
    }

    #[must_use]
    pub fn explain_task_type(title: &str, description: &str) -> Explanation {
        built_in::explain::<false>(title, description)
    }
}
