//! What kind of work a task is, with how that was found, for the record of everything.

use serde_json::{Value, json};

use crate::dispatch::Task;
use crate::infer::infer_task_type;
use crate::rank::{Below, Inference, share};
use crate::task::TaskType;

/// What was decided.
pub(super) struct Decided {
    pub(super) task_type: TaskType,
    /// How, for the record of everything.
    pub(super) how: Value,
    /// Why a person is asked.
    pub(super) ask: Option<String>,
}

/// Decides by what the caller says, else by the caller's own rules, else as the policy wants it.
pub(super) fn decide(inference: &Inference, task: &Task, inferred: Option<TaskType>) -> Decided {
    let decided = |task_type: TaskType, by: &str| Decided {
        task_type,
        how: json!({ "by": by, "task_type": task_type.as_str() }),
        ask: None,
    };
    if let Some(given) = task.task_type {
        return decided(given, "caller");
    }
    if let Some(inferred) = inferred {
        return decided(inferred, "own rules");
    }
    let Some(ranked) = inference.decide(&task.title, &task.description) else {
        return decided(infer_task_type(&task.title, &task.description), "exact");
    };
    tracing::info!("Ranked task {:?}: {ranked}", task.title);
    let by = match ranked.below {
        None => "ranked",
        Some(Below::Exact) => "exact",
        Some(Below::Type(_)) => "setting",
        Some(Below::Ask) => "ask",
    };
    let mut how = json!({
        "by": by,
        "task_type": ranked.task_type.as_str(),
        "likeliest": ranked.likeliest.as_str(),
        "probability": share(ranked.probability),
        "words": ranked.words,
    });
    if let (Some(how), Some(_)) = (how.as_object_mut(), ranked.below) {
        how.insert("below".to_owned(), share(ranked.min_confidence).into());
    }
    Decided {
        task_type: ranked.task_type,
        how,
        ask: ranked.reason(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::WHOLE;

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
        for inference in [Inference::Exact, ranked(WHOLE + 1, Below::Ask)] {
            let decided = decide(&inference, &task, Some(TaskType::Research));
            assert_eq!(decided.task_type, TaskType::Triage);
            assert_eq!(
                (decided.how["by"].as_str(), decided.ask),
                (Some("caller"), None)
            );
        }
    }

    #[test]
    fn how_it_was_found_is_told() {
        let task = Task::new("Roadmap for the next quarter");
        let never = WHOLE + 1;
        for (inference, by) in [
            (Inference::Exact, "exact"),
            (ranked(0, Below::Ask), "ranked"),
            (ranked(never, Below::Exact), "exact"),
            (ranked(never, Below::Type(TaskType::Triage)), "setting"),
            (ranked(never, Below::Ask), "ask"),
        ] {
            let decided = decide(&inference, &task, None);
            assert_eq!(decided.how["by"], by);
            assert_eq!(decided.how["task_type"], decided.task_type.as_str());
            assert_eq!(decided.ask.is_some(), by == "ask");
            assert_eq!(
                decided.how["below"].is_null(),
                !matches!(&inference, Inference::Ranked { min_confidence, .. } if *min_confidence == never)
            );
            let own = decide(&inference, &task, Some(TaskType::Research));
            assert_eq!(
                own.how,
                json!({ "by": "own rules", "task_type": "research" })
            );
            if matches!(inference, Inference::Ranked { .. }) {
                assert_eq!(decided.how["likeliest"], "planning");
                assert_eq!(decided.how["words"][0], "roadmap");
            }
        }
    }
}
