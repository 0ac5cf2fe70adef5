//! How good a model is on tasks whose types are known.

use super::model::{RankedClassifier, TYPES};
use super::softmax::WHOLE;
use super::train::Example;
use crate::infer::infer_task_type;
use crate::route::select_agent;
use crate::task::TaskType;

/// How many of some tasks were right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// With the right type.
    pub types: usize,
    /// With the right agent, whatever the type.
    pub agents: usize,
}

impl Score {
    fn count(&mut self, found: TaskType, right: TaskType) {
        self.types += usize::from(found == right);
        self.agents += usize::from(select_agent(found) == select_agent(right));
    }
}

/// The tasks of which the model was about as sure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bin {
    /// How many.
    pub tasks: usize,
    /// How many of them have the type that it said.
    pub right: usize,
    /// The sum of the probabilities that it gave, in 1/10,000.
    pub promised: u64,
}

/// What a model and the exact rules make of the same tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// How many tasks there are.
    pub tasks: usize,
    /// The model's score.
    pub ranked: Score,
    /// That of the exact rules.
    pub exact: Score,
    /// By task type: of how many tasks each is the right one, and on how many of them, and how
    /// often in all, the model says it.
    pub by_type: [(usize, usize, usize); TYPES],
    /// `(right, said, how often)`, the most frequent first.
    pub confusions: Vec<(TaskType, TaskType, usize)>,
    /// Tenths of the probability of the first type.
    pub calibration: [Bin; 10],
}

impl Evaluation {
    /// The mean distance between what the model promised and what came true, in 1/10,000.
    #[must_use]
    pub fn calibration_error(&self) -> u32 {
        let distance = |bin: &Bin| (bin.right as u64 * u64::from(WHOLE)).abs_diff(bin.promised);
        let sum: u64 = self.calibration.iter().map(distance).sum();
        (sum / self.tasks.max(1) as u64) as u32
    }
}

/// Ranks tasks whose types are known. The weights of the examples do not count.
#[must_use]
pub fn evaluate(model: &RankedClassifier, examples: &[Example]) -> Evaluation {
    let mut evaluation = Evaluation {
        tasks: examples.len(),
        ranked: Score::default(),
        exact: Score::default(),
        by_type: [(0, 0, 0); TYPES],
        confusions: Vec::new(),
        calibration: [Bin::default(); 10],
    };
    for Example {
        title,
        description,
        task_type: right,
        ..
    } in examples
    {
        let ranking = model.rank(title, description);
        let (said, probability) = (ranking.first().task_type, ranking.first().probability);
        let correct = said == *right;
        evaluation.ranked.count(said, *right);
        evaluation
            .exact
            .count(infer_task_type(title, description), *right);
        if let Some(counts) = evaluation.by_type.get_mut(*right as usize) {
            counts.0 += 1;
            counts.1 += usize::from(correct);
        }
        if let Some(counts) = evaluation.by_type.get_mut(said as usize) {
            counts.2 += 1;
        }
        let tenth = (probability * 10 / (WHOLE + 1)) as usize;
        if let Some(bin) = evaluation.calibration.get_mut(tenth) {
            bin.tasks += 1;
            bin.right += usize::from(correct);
            bin.promised += u64::from(probability);
        }
        if !correct {
            let known = evaluation
                .confusions
                .iter_mut()
                .find(|c| (c.0, c.1) == (*right, said));
            match known {
                Some(confusion) => confusion.2 += 1,
                None => evaluation.confusions.push((*right, said, 1)),
            }
        }
    }
    evaluation.confusions.sort_by_key(|(right, said, count)| {
        (std::cmp::Reverse(*count), *right as usize, *said as usize)
    });
    evaluation
}
