//! Text → task type, with the evidence.

use crate::task::TaskType;

/// The task type of a text.
#[must_use]
pub fn infer_task_type(title: &str, description: &str) -> TaskType {
    let _ = (title, description);
    TaskType::RoutineCoding
}
