//! What a model says of a text, and why.

use std::collections::HashMap;

use super::features::{Feature, Word, Words};
use super::model::{RankedClassifier, Scores, TYPES};
use crate::infer::{Counter, Field, Span, Unit};
use crate::route::select_agent;
use crate::task::{AgentName, TaskType};

/// A task type and how likely it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankedType {
    /// The type.
    pub task_type: TaskType,
    /// The agent that gets such tasks by the built-in routes.
    pub agent: AgentName,
    /// In 1/10,000.
    pub probability: u32,
}

/// A word, or two neighbours, that spoke for or against the first type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The word or the words, lowered; every number is `0`.
    pub text: String,
    /// By how much it moved the logit of the first type, in 1/1000 nat: above 0 for it, below 0
    /// against it.
    pub weight: i32,
    /// Every place where it stands, in bytes, by position.
    pub spans: Vec<Span>,
}

/// Every task type by probability, and the evidence for and against the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    first: RankedType,
    types: Vec<RankedType>,
    evidence: Vec<Evidence>,
}

impl Ranking {
    /// The most likely type.
    #[must_use]
    pub fn first(&self) -> &RankedType {
        &self.first
    }

    /// All types, the most likely first; the probabilities sum to 10,000.
    #[must_use]
    pub fn types(&self) -> &[RankedType] {
        &self.types
    }

    /// The words for and against the first type, the weightiest first.
    #[must_use]
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// The same with its spans, which are in bytes, counted otherwise; the texts are those that
    /// were ranked.
    #[must_use]
    pub fn in_unit(mut self, title: &str, description: &str, unit: Unit) -> Self {
        let mut title = Counter::new(title, unit);
        let mut description = Counter::new(description, unit);
        for span in self.evidence.iter_mut().flat_map(|found| &mut found.spans) {
            *span = match span.field {
                Field::Title => title.span(*span),
                Field::Description => description.span(*span),
            };
        }
        self
    }
}

impl RankedClassifier {
    /// How likely each task type is, in 1/10,000, the likeliest first: what [`Self::rank`] says
    /// without the evidence, in half the time.
    #[must_use]
    pub fn probabilities(&self, title: &str, description: &str) -> Vec<(TaskType, u32)> {
        let scores = self.scores(&Words::of(title, description), &mut |_, _| ());
        ordered(&scores).to_vec()
    }

    /// How likely each task type is, and the words that say so.
    #[must_use]
    pub fn rank(&self, title: &str, description: &str) -> Ranking {
        let words = Words::of(title, description);
        let mut found: Vec<(Feature, usize)> = Vec::with_capacity(words.words.len() * 8);
        let scores = self.scores(&words, &mut |feature, row| found.push((feature, row)));
        let order = ordered(&scores);
        let ranked = |(task_type, probability): &(TaskType, u32)| RankedType {
            task_type: *task_type,
            agent: select_agent(*task_type),
            probability: *probability,
        };
        let [first, ..] = &order;
        let (task_type, _) = *first;
        let mut weights = vec![(0, 0); words.words.len()];
        for (feature, row) in found {
            let effect = self.effect(&scores, (feature, row), task_type);
            if let Some((alone, pair)) = weights.get_mut(feature.words.1) {
                *(if feature.words.0 == feature.words.1 {
                    alone
                } else {
                    pair
                }) += effect;
            }
        }
        Ranking {
            first: ranked(first),
            types: order.iter().map(ranked).collect(),
            evidence: evidence(&words, &weights),
        }
    }

    /// How a word alone, in a field, moves the logit of each type, in 1/1000 nat.
    #[must_use]
    pub fn word_weights(&self, word: &str, field: Field) -> Vec<(TaskType, i32)> {
        let words = match field {
            Field::Title => Words::of(word, ""),
            Field::Description => Words::of("", word),
        };
        let mut found = Vec::new();
        let scores = self.scores(&words, &mut |feature, row| found.push((feature, row)));
        let weight = |task_type: &TaskType| {
            let sum = found
                .iter()
                .map(|one| self.effect(&scores, *one, *task_type))
                .sum();
            (*task_type, thousandths(sum))
        };
        TaskType::ALL.iter().map(weight).collect()
    }
}

/// The types and their probabilities, by score.
fn ordered(scores: &Scores) -> [(TaskType, u32); TYPES] {
    let probabilities = scores.probabilities();
    let mut order: [(i64, TaskType); TYPES] = std::array::from_fn(|index| {
        let task_type = TaskType::ALL.get(index).copied();
        let logit = scores.logits.get(index).copied().unwrap_or(0);
        (logit, task_type.unwrap_or(TaskType::RoutineCoding))
    });
    order.sort_by_key(|(logit, _)| std::cmp::Reverse(*logit));
    order.map(|(_, task_type)| {
        let probability = probabilities.get(task_type as usize).copied();
        (task_type, probability.unwrap_or(0))
    })
}

/// An effect as it is shown.
fn thousandths(effect: i64) -> i32 {
    ((effect + (1 << 15)) >> 16) as i32
}

/// The words and pairs that have a weight; of each the sum over its places.
fn evidence(words: &Words, weights: &[(i64, i64)]) -> Vec<Evidence> {
    let mut places: HashMap<(&[char], &[char]), usize> = HashMap::new();
    let mut found: Vec<(i64, Vec<Span>, &Word, Option<&Word>)> = Vec::new();
    let mut before: Option<&Word> = None;
    for (word, (alone, pair)) in words.words.iter().zip(weights) {
        let neighbour = before.filter(|before| before.span.field == word.span.field);
        before = Some(word);
        let both = neighbour.map(|first| (*pair, first, Some(word)));
        for (weight, first, second) in [Some((*alone, word, None)), both].into_iter().flatten() {
            let end = second.map_or(first.span.end, |second| second.span.end);
            let span = Span { end, ..first.span };
            let letters = second.map_or(&[][..], |second| words.letters(second));
            let place = *places
                .entry((words.letters(first), letters))
                .or_insert(found.len());
            match found.get_mut(place) {
                Some((sum, spans, ..)) => {
                    *sum += weight;
                    spans.push(span);
                }
                None => found.push((weight, vec![span], first, second)),
            }
        }
    }
    let mut evidence: Vec<Evidence> = found
        .into_iter()
        .map(|(weight, spans, first, second)| (thousandths(weight), spans, first, second))
        .filter(|(weight, ..)| *weight != 0)
        .map(|(weight, spans, first, second)| Evidence {
            text: match second {
                Some(second) => format!("{} {}", words.text(first), words.text(second)),
                None => words.text(first),
            },
            weight,
            spans,
        })
        .collect();
    evidence.sort_by_key(|found| std::cmp::Reverse(found.weight.unsigned_abs()));
    evidence
}
