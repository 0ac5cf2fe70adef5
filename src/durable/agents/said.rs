//! What an agent says about a task, in an answer, at its status URL or in a callback. Everything in
//! it is hostile until read.

use serde_json::{Value, json};

use crate::ledger::machine::{Closer, Event};

/// So much of a reason is kept, in characters.
const REASON: usize = 500;
/// So much of what was said is kept, in bytes.
const KEPT: usize = 64 * 1024;

/// What an agent says about its attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It is done.
    Completed,
    /// It failed.
    Failed {
        /// Whether the same may well succeed later.
        transient: bool,
        /// Why.
        reason: String,
    },
    /// It is at work.
    Working,
    /// Nothing that is known.
    Nothing,
}

impl Said {
    /// Reads `{"status": "completed" | "failed" | "in_progress", …}`. A failure has a `class`:
    /// `transient` and `rate_limited` may pass, anything else is for good; and a reason in `error`,
    /// `reason` or `message`.
    #[must_use]
    pub fn read(body: &Value) -> Self {
        let text = |name| body.get(name).and_then(Value::as_str);
        match text("status") {
            Some("completed") => Self::Completed,
            Some("failed") => Self::Failed {
                transient: matches!(text("class"), Some("transient" | "rate_limited")),
                reason: ["error", "reason", "message"]
                    .into_iter()
                    .find_map(text)
                    .map_or_else(|| "it does not say why".to_owned(), bounded),
            },
            Some("in_progress" | "working" | "running") => Self::Working,
            _ => Self::Nothing,
        }
    }

    /// What it tells the dispatch.
    #[must_use]
    pub fn event(self, fence: u64) -> Option<Event> {
        Some(match self {
            Self::Completed => Event::Finished {
                fence,
                by: Closer::Agent,
            },
            Self::Failed { transient, reason } => Event::AgentFailed {
                fence,
                transient,
                reason,
            },
            Self::Working => Event::SignOfLife { fence },
            Self::Nothing => return None,
        })
    }
}

/// What is kept of what was said.
pub(crate) fn kept(body: &Value) -> Value {
    let size = body.to_string().len();
    if size <= KEPT {
        return body.clone();
    }
    json!({ "status": body.get("status").and_then(Value::as_str).map(bounded), "bytes": size })
}

pub(crate) fn bounded(text: &str) -> String {
    text.chars().take(REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agents_say() {
        let failed = |transient, reason: &str| Said::Failed {
            transient,
            reason: reason.to_owned(),
        };
        let cases = [
            (json!({"status": "completed"}), Said::Completed),
            (
                json!({"status": "failed"}),
                failed(false, "it does not say why"),
            ),
            (
                json!({"status": "failed", "class": "transient", "error": "x"}),
                failed(true, "x"),
            ),
            (
                json!({"status": "failed", "class": "permanent", "error": 7, "message": "y"}),
                failed(false, "y"),
            ),
            (json!({"status": "running"}), Said::Working),
            (json!({"status": "accepted"}), Said::Nothing),
            (json!({"status": ["completed"]}), Said::Nothing),
            (json!(["completed"]), Said::Nothing),
            (Value::Null, Said::Nothing),
        ];
        for (body, said) in cases {
            assert_eq!(Said::read(&body), said, "{body}");
        }
        let long = json!({"status": "failed", "error": "é".repeat(10_000)});
        assert_eq!(Said::read(&long), failed(false, &"é".repeat(REASON)));
        assert_eq!(
            kept(&json!({"status": "completed", "x": "y".repeat(KEPT)}))["status"],
            "completed"
        );
    }
}
