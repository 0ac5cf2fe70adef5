//! What kind of work a task is: what the caller says, the exact rules, or ranking.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::dispatch::Task;
use crate::infer::infer_task_type;
use crate::rank::{RankedClassifier, Ranking, WHOLE};
use crate::task::TaskType;

/// So many words are kept of what speaks for a type.
const WORDS: usize = 5;

/// How the type of a task is found, where its caller does not say it.
#[derive(Debug, Clone, Default)]
pub enum Inference {
    /// By the exact rules.
    #[default]
    Exact,
    /// By ranking.
    Ranked {
        /// The model; nothing: the shipped one.
        model: Option<Arc<RankedClassifier>>,
        /// How likely the likeliest type must be, in 1/10,000.
        min_confidence: u32,
        /// What happens to a task below that.
        below: Below,
    },
}

/// What happens to a task whose type is not likely enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Below {
    /// The exact rules decide.
    #[default]
    Exact,
    /// It is of that type.
    Type(TaskType),
    /// It is kept, and nobody gets it before a person has said the type.
    Ask,
}

/// What was decided.
pub(super) struct Decided {
    pub(super) task_type: TaskType,
    /// How, for the record of everything.
    pub(super) how: Value,
    /// Why a person is asked.
    pub(super) ask: Option<String>,
}

impl Inference {
    pub(super) fn decide(&self, task: &Task) -> Decided {
        let decided = |task_type: TaskType, how: Value| Decided {
            task_type,
            how,
            ask: None,
        };
        if let Some(given) = task.task_type {
            let how = json!({ "by": "caller", "task_type": given.as_str() });
            return decided(given, how);
        }
        let exact = || infer_task_type(&task.title, &task.description);
        let Self::Ranked {
            model,
            min_confidence,
            below,
        } = self
        else {
            let found = exact();
            let how = json!({ "by": "exact", "task_type": found.as_str() });
            return decided(found, how);
        };
        let model = model
            .as_deref()
            .unwrap_or_else(|| RankedClassifier::built_in());
        let ranking = model.rank(&task.title, &task.description);
        let first = ranking.first();
        let mut how = noted(&ranking);
        tracing::info!("ranked {:?}: {how}", task.title);
        if first.probability >= *min_confidence {
            return decided(first.task_type, how);
        }
        let (task_type, by) = match below {
            Below::Exact => (exact(), "exact"),
            Below::Type(named) => (*named, "setting"),
            Below::Ask => (first.task_type, "ask"),
        };
        if let Some(how) = how.as_object_mut() {
            how.insert("below".to_owned(), share(*min_confidence).into());
            how.insert("by".to_owned(), by.into());
            how.insert("task_type".to_owned(), task_type.as_str().into());
        }
        let ask = (*below == Below::Ask).then(|| {
            format!(
                "{} is only {:.2} % likely, which is below {:.2} %: say which type it is",
                first.task_type,
                100.0 * share(first.probability),
                100.0 * share(*min_confidence),
            )
        });
        Decided {
            task_type,
            how,
            ask,
        }
    }
}

fn noted(ranking: &Ranking) -> Value {
    let first = ranking.first();
    let words = ranking.evidence().iter().filter(|found| found.weight > 0);
    let words: Vec<&str> = words.map(|found| found.text.as_str()).take(WORDS).collect();
    json!({
        "by": "ranked",
        "task_type": first.task_type.as_str(),
        "likeliest": first.task_type.as_str(),
        "probability": share(first.probability),
        "words": words,
    })
}

fn share(parts: u32) -> f64 {
    f64::from(parts) / f64::from(WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(min_confidence: u32, below: Below) -> Inference {
        Inference::Ranked {
            model: None,
            min_confidence,
            below,
        }
    }

    #[test]
    fn a_type_that_is_given_always_wins() {
        let mut task = Task::new("Roadmap for the next quarter");
        task.task_type = Some(TaskType::Triage);
        for inference in [Inference::Exact, ranked(WHOLE, Below::Ask)] {
            let decided = inference.decide(&task);
            assert_eq!(decided.task_type, TaskType::Triage);
            assert_eq!(
                (decided.how["by"].as_str(), decided.ask),
                (Some("caller"), None)
            );
        }
    }

    #[test]
    fn below_the_confidence_it_goes_the_way_that_was_chosen() {
        let task = Task::new("Roadmap for the next quarter");
        let sure = ranked(0, Below::Ask).decide(&task);
        assert_eq!((sure.task_type, sure.ask), (TaskType::Planning, None));
        assert_eq!(sure.how["words"][0], "roadmap");

        let never = WHOLE + 1;
        let exact = ranked(never, Below::Exact).decide(&Task::new("Look at it"));
        assert_eq!(exact.task_type, TaskType::RoutineCoding);
        assert_eq!(exact.how["by"], "exact");
        let named = ranked(never, Below::Type(TaskType::Triage)).decide(&task);
        assert_eq!((named.task_type, named.ask), (TaskType::Triage, None));
        let asked = ranked(never, Below::Ask).decide(&task);
        assert!(asked.ask.unwrap().starts_with("planning is only "));
    }
}
