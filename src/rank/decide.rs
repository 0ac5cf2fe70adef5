//! What a task is dispatched as, where its caller does not say it: the one decision of
//! `dispatch::Swarm`, `durable::Dispatcher` and the Python package.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::model::RankedClassifier;
use super::softmax::WHOLE;
use crate::infer::infer_task_type;
use crate::task::{TaskType, UnknownName};

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
///
/// Its name is `exact`, `ask`, or that of the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Below {
    /// The exact rules decide.
    #[default]
    Exact,
    /// It is of that type.
    Type(TaskType),
    /// Nobody gets it before somebody has said the type.
    Ask,
}

impl Below {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Ask => "ask",
            Self::Type(named) => named.as_str(),
        }
    }
}

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Below {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let types = TaskType::ALL.iter().copied().map(Self::Type);
        let known = || [Self::Exact, Self::Ask].into_iter().chain(types.clone());
        known()
            .find(|below| below.as_str() == name)
            .ok_or_else(|| UnknownName::new("below_confidence", name, known().map(Self::as_str)))
    }
}

/// What ranking made of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankedDecision {
    /// What to dispatch it as; the likeliest type where somebody is asked.
    pub task_type: TaskType,
    /// The likeliest type.
    pub likeliest: TaskType,
    /// How likely that is, in 1/10,000.
    pub probability: u32,
    /// What speaks for it, the weightiest first; at most five words or pairs of words.
    pub words: Vec<String>,
    /// How likely it must be, in 1/10,000.
    pub min_confidence: u32,
    /// What happens to the task, where it is not as likely.
    pub below: Option<Below>,
}

impl RankedDecision {
    /// Whether nobody gets it before somebody has said the type.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.below == Some(Below::Ask)
    }

    /// Why somebody is asked, where that is so.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.asks().then(|| {
            format!(
                "{} is only {} likely, which is below min_confidence {}: give the task_type",
                self.likeliest,
                percent(self.probability),
                share(self.min_confidence)
            )
        })
    }
}

/// As it stands in the log: type, probability, words, and what became of it.
impl fmt::Display for RankedDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.words.as_slice() {
            [] => "no word".to_owned(),
            words => words.join(", "),
        };
        let probability = percent(self.probability);
        write!(f, "{} with {probability}, for {words}", self.likeliest)?;
        match self.below {
            Some(below) => write!(f, "; below {}, so {below}", share(self.min_confidence)),
            None => Ok(()),
        }
    }
}

impl Inference {
    /// What ranking makes of a task; nothing where the exact rules are asked.
    #[must_use]
    pub fn decide(&self, title: &str, description: &str) -> Option<RankedDecision> {
        let Self::Ranked {
            model,
            min_confidence,
            below,
        } = self
        else {
            return None;
        };
        let model = model
            .as_deref()
            .unwrap_or_else(|| RankedClassifier::built_in());
        Some(model.decide(title, description, *min_confidence, *below))
    }
}

impl RankedClassifier {
    /// What to dispatch a task as; `min_confidence` is in 1/10,000.
    pub(crate) fn decide(
        &self,
        title: &str,
        description: &str,
        min_confidence: u32,
        below: Below,
    ) -> RankedDecision {
        let ranking = self.rank(title, description);
        let first = ranking.first();
        let likely = first.probability >= min_confidence;
        let task_type = match below {
            Below::Exact if !likely => infer_task_type(title, description),
            Below::Type(named) if !likely => named,
            _ => first.task_type,
        };
        let words = ranking.evidence().iter().filter(|found| found.weight > 0);
        RankedDecision {
            task_type,
            likeliest: first.task_type,
            probability: first.probability,
            words: words.map(|found| found.text.clone()).take(WORDS).collect(),
            min_confidence,
            below: (!likely).then_some(below),
        }
    }
}

/// The least number of parts, of 1/10,000, that is not below a share of 1.
#[cfg(feature = "python")]
pub(crate) fn parts(of: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 0 to 1"
    )]
    let nearest = (of.clamp(0.0, 1.0) * f64::from(WHOLE)).round() as u32;
    nearest + u32::from(share(nearest) < of)
}

/// A share of 1.
pub(crate) fn share(parts: u32) -> f64 {
    f64::from(parts) / f64::from(WHOLE)
}

fn percent(parts: u32) -> String {
    format!("{:.2} %", 100.0 * share(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: u32 = WHOLE + 1;

    fn decide(title: &str, min_confidence: u32, below: Below) -> RankedDecision {
        let ranked = Inference::Ranked {
            model: None,
            min_confidence,
            below,
        };
        ranked.decide(title, "").unwrap()
    }

    #[test]
    fn the_exact_rules_are_not_ranked() {
        assert_eq!(Inference::default().decide("Roadmap", ""), None);
    }

    #[test]
    fn below_the_confidence_it_goes_the_way_that_was_chosen() {
        let title = "Roadmap for the next quarter";
        let sure = decide(title, 0, Below::Ask);
        assert_eq!((sure.task_type, sure.below), (TaskType::Planning, None));
        assert_eq!(sure.words[0], "roadmap");
        assert_eq!(sure.reason(), None);
        let just = decide(title, sure.probability, Below::Ask);
        assert_eq!(just.below, None);

        let exact = decide("Look at it", NEVER, Below::Exact);
        assert_eq!(exact.task_type, TaskType::RoutineCoding);
        assert_eq!(exact.below, Some(Below::Exact));
        let named = decide(title, NEVER, Below::Type(TaskType::Triage));
        assert_eq!(named.task_type, TaskType::Triage);
        assert_eq!((named.likeliest, named.asks()), (TaskType::Planning, false));
        let asked = decide(title, sure.probability + 1, Below::Ask);
        assert_eq!(asked.task_type, TaskType::Planning);
        let reason = asked.reason().unwrap();
        assert!(reason.starts_with("planning is only "), "{reason}");
        assert!(reason.ends_with(": give the task_type"), "{reason}");
    }

    #[test]
    fn the_log_has_the_type_the_probability_and_the_words() {
        let mut decision = RankedDecision {
            task_type: TaskType::Triage,
            likeliest: TaskType::Planning,
            probability: 6_543,
            words: vec!["roadmap".to_owned(), "next quarter".to_owned()],
            min_confidence: 7_500,
            below: Some(Below::Type(TaskType::Triage)),
        };
        assert_eq!(
            decision.to_string(),
            "planning with 65.43 %, for roadmap, next quarter; below 0.75, so triage"
        );
        (decision.below, decision.words) = (None, Vec::new());
        assert_eq!(decision.to_string(), "planning with 65.43 %, for no word");
    }

    #[test]
    fn what_happens_below_has_a_name() {
        for below in [Below::Exact, Below::Ask, Below::Type(TaskType::Planning)] {
            assert_eq!(below.to_string().parse(), Ok(below));
        }
        let unknown = Below::from_str("nobody").unwrap_err().to_string();
        let says = "unknown below_confidence \"nobody\"; known are exact, ask, architecture, ";
        assert!(unknown.starts_with(says), "{unknown}");
    }
}
