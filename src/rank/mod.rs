//! Text → how likely each task type is, learned from texts, with the words that say so.
//!
//! A linear model over words, pairs of words and parts of words. It works with integers alone, so
//! the same text gives the same numbers on every platform.
//!
//! Dispatching goes by the exact rules unless its [`Inference`] is [`Inference::Ranked`].

mod arithmetic;
mod decide;
mod evaluate;
mod features;
mod model;
mod ranking;
mod regression;
mod softmax;
mod train;
mod vectors;

use std::sync::LazyLock;

#[cfg(feature = "python")]
pub(crate) use decide::parts;
#[cfg(feature = "durable")]
pub(crate) use decide::share;
pub use decide::{Below, Inference, RankedDecision};
pub use evaluate::{Bin, Evaluation, Score, evaluate};
pub use model::{ModelError, RankedClassifier};
pub use ranking::{Evidence, RankedType, Ranking};
pub use softmax::WHOLE;
pub use train::{Example, TrainError, TrainOptions, train};
pub use vectors::{VectorsError, WordVectors};

static BUILT_IN: LazyLock<RankedClassifier> = LazyLock::new(|| {
    // A test reads it: it is whole.
    RankedClassifier::from_bytes(include_bytes!("model.bin"))
        .unwrap_or_else(|_| RankedClassifier::empty())
});

impl RankedClassifier {
    /// The shipped model. `docs/model-card.md` says what it was trained on and what it is good at.
    #[must_use]
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }
}

/// How likely each task type is by the shipped model, and the words that say so.
///
/// ```
/// use timmy_dispatcher::{rank::rank_task_types, task::TaskType};
/// let ranking = rank_task_types("Roadmap for the next quarter", "");
/// assert_eq!(ranking.first().task_type, TaskType::Planning);
/// assert_eq!(ranking.evidence()[0].text, "roadmap");
/// assert_eq!(ranking.types().iter().map(|one| one.probability).sum::<u32>(), 10_000);
/// ```
#[must_use]
pub fn rank_task_types(title: &str, description: &str) -> Ranking {
    RankedClassifier::built_in().rank(title, description)
}
