//! Learning a model from texts whose types are known.

use std::collections::BTreeMap;

use super::arithmetic::{exp, ln};
use super::features::{GROUPS, Words, group};
use super::model::{RankedClassifier, SCALE, TYPES, nats};
use super::regression::{Rows, Weights, fit, softmax};
use crate::task::TaskType;

/// A task whose type is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Its title.
    pub title: String,
    /// Its description, which may be empty.
    pub description: String,
    /// What kind of work it is.
    pub task_type: TaskType,
    /// How much it counts; others count 1.
    pub weight: f32,
    /// Who wrote it, or where it comes from. Texts of one set are alike, so probabilities are
    /// made true by holding back whole sets; where there is but one, by holding back parts of it.
    pub set: String,
}

/// How a model is made.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Which examples are held back together for the calibration.
    pub seed: u64,
    /// How many features the model keeps: about six bytes each when compressed.
    pub features: usize,
    /// How strongly large weights are punished.
    pub penalty: f64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            features: 24_000,
            penalty: 0.25,
        }
    }
}

/// Why a model cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// Nothing to tell apart.
    #[error("at least {FEWEST} examples of two task types are needed to learn from")]
    TooFew,
    /// A weight that is no weight.
    #[error("example {0} has a weight that is not a positive number")]
    Weight(usize),
}

const FEWEST: usize = 10;
/// The examples are held back in so many parts.
const FOLDS: usize = 4;
const STEPS: usize = 60;
/// What the values of each group are multiplied by: how much it may say.
const EMPHASIS: [f64; GROUPS] = [1.0, 1.0, 0.7, 1.0];

/// The features of a text, sorted, each once.
fn keys(example: &Example) -> Vec<u32> {
    let mut keys = Vec::new();
    Words::of(&example.title, &example.description).visit(&mut |feature| keys.push(feature.key));
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The features that a model is made of.
struct Vocabulary {
    /// Sorted.
    keys: Vec<u32>,
    /// How rare each is.
    rarity: Vec<f64>,
}

impl Vocabulary {
    fn position(&self, key: u32) -> Option<usize> {
        self.keys.binary_search(&key).ok()
    }

    /// A text's features and their values.
    fn entries(&self, keys: &[u32]) -> Vec<(u32, f32)> {
        let known: Vec<usize> = keys.iter().filter_map(|key| self.position(*key)).collect();
        let mut counts = [0.0_f64; GROUPS];
        for position in &known {
            if let Some(count) = self
                .group(*position)
                .and_then(|group| counts.get_mut(group))
            {
                *count += 1.0;
            }
        }
        let entry = |position: usize| {
            let value = self.value(position) / counts.get(self.group(position)?)?.sqrt();
            Some((position as u32, value as f32))
        };
        known.into_iter().filter_map(entry).collect()
    }

    fn group(&self, position: usize) -> Option<usize> {
        self.keys.get(position).map(|key| group(*key))
    }

    /// What a feature counts for, before its group's number of features.
    fn value(&self, position: usize) -> f64 {
        let rarity = self.rarity.get(position).copied().unwrap_or(1.0);
        let emphasis = self.group(position).and_then(|group| EMPHASIS.get(group));
        rarity * emphasis.copied().unwrap_or(1.0) * RARITY_UNIT
    }
}

/// Brings the values of a text near to 1.
const RARITY_UNIT: f64 = 1.0 / 6.0;
/// Learns a model. The same examples and options give the same model on every platform.
///
/// # Errors
/// [`TrainError`]: there is too little to learn from.
pub fn train(examples: &[Example], options: &TrainOptions) -> Result<RankedClassifier, TrainError> {
    let first = examples.first().map(|example| example.task_type);
    if examples.len() < FEWEST || examples.iter().all(|one| Some(one.task_type) == first) {
        return Err(TrainError::TooFew);
    }
    let odd = examples
        .iter()
        .position(|one| !(one.weight.is_finite() && one.weight > 0.0));
    if let Some(index) = odd {
        return Err(TrainError::Weight(index));
    }
    let texts: Vec<Vec<u32>> = examples.iter().map(keys).collect();
    let everything: Vec<usize> = (0..examples.len()).collect();
    let learned = learn(examples, &texts, &everything, options);
    let temperature = temperature(examples, &texts, options);
    Ok(quantised(&learned, temperature))
}

/// Features and their weights.
struct Learned {
    vocabulary: Vocabulary,
    weights: Weights,
}

/// Learns from some of the examples: first which features say most, then their weights.
fn learn(
    examples: &[Example],
    texts: &[Vec<u32>],
    chosen: &[usize],
    options: &TrainOptions,
) -> Learned {
    let example = |index: &usize| Some((examples.get(*index)?, texts.get(*index)?.as_slice()));
    let tasks: Vec<(&Example, &[u32])> = chosen.iter().filter_map(example).collect();
    let total: f64 = tasks
        .iter()
        .map(|(example, _)| f64::from(example.weight))
        .sum();
    let penalty = options.penalty / total;
    let fitted = |vocabulary: Vocabulary| {
        let weights = fit(
            &rows(&vocabulary, &tasks),
            vocabulary.keys.len(),
            penalty,
            STEPS,
        );
        Learned {
            vocabulary,
            weights,
        }
    };
    let full = fitted(vocabulary(&tasks));
    if full.vocabulary.keys.len() <= options.features {
        return full;
    }
    fitted(full.weightiest(options.features))
}

/// Every feature that at least two texts have.
fn vocabulary(tasks: &[(&Example, &[u32])]) -> Vocabulary {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    for key in tasks.iter().flat_map(|(_, keys)| *keys) {
        *counts.entry(*key).or_default() += 1;
    }
    counts.retain(|_, count| *count > 1);
    let total = tasks.len() as f64 + 1.0;
    Vocabulary {
        rarity: counts
            .values()
            .map(|n| 1.0 + ln(total / (f64::from(*n) + 1.0)))
            .collect(),
        keys: counts.into_keys().collect(),
    }
}

impl Learned {
    /// The weight of each feature for each type, its value included.
    fn folded(&self) -> Vec<[f64; TYPES]> {
        let fold = |(position, row): (usize, &[f32; 16])| {
            let value = self.vocabulary.value(position);
            std::array::from_fn(|index| value * row.get(index).copied().map_or(0.0, f64::from))
        };
        let rows = self.weights.0.iter().take(self.vocabulary.keys.len());
        rows.enumerate().map(fold).collect()
    }

    /// The features whose weights say most.
    fn weightiest(&self, features: usize) -> Vocabulary {
        let Vocabulary { keys, rarity } = &self.vocabulary;
        let rarest = rarity.iter().copied().fold(0.0, f64::max);
        let mut order: Vec<(f64, u32, f64)> = self
            .folded()
            .iter()
            .zip(keys.iter().zip(rarity))
            .map(|(weights, (key, rarity))| {
                let norm: f64 = weights.iter().map(|weight| weight * weight).sum();
                // A frequent one says it more often.
                (norm * exp((rarest - rarity) * 0.5), *key, *rarity)
            })
            .collect();
        order.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
        order.truncate(features);
        order.sort_by_key(|(_, key, _)| *key);
        Vocabulary {
            keys: order.iter().map(|(_, key, _)| *key).collect(),
            rarity: order.iter().map(|(_, _, rarity)| *rarity).collect(),
        }
    }
}

/// The texts as rows. Frequent types count less, by the root of how frequent they are.
fn rows(vocabulary: &Vocabulary, tasks: &[(&Example, &[u32])]) -> Rows {
    let mut totals = [0.0_f32; TYPES];
    for (example, _) in tasks {
        if let Some(total) = totals.get_mut(example.task_type as usize) {
            *total += example.weight;
        }
    }
    let mean = totals.iter().sum::<f32>() / TYPES as f32;
    let mut rows = Rows::default();
    for (example, keys) in tasks {
        let of_type = example.task_type as usize;
        let balance = totals
            .get(of_type)
            .map_or(1.0, |total| (mean / total).sqrt());
        rows.push(
            vocabulary.entries(keys),
            (of_type, example.weight * balance),
        );
    }
    rows
}

/// The examples that are held back together.
fn folds(examples: &[Example], seed: u64) -> Vec<Vec<usize>> {
    let mut sets: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, example) in examples.iter().enumerate() {
        sets.entry(&example.set).or_default().push(index);
    }
    if sets.len() > 1 {
        return sets.into_values().collect();
    }
    let mut state = seed;
    let mut parts = vec![Vec::new(); FOLDS];
    for index in 0..examples.len() {
        if let Some(part) = parts.get_mut(split_mix(&mut state) as usize % FOLDS) {
            part.push(index);
        }
    }
    parts
}

/// About one label in fifty is wrong, so nothing is surer than that.
const DOUBT: f64 = 0.02;

/// What the logits are divided by so that probabilities are true of texts that were held back.
fn temperature(examples: &[Example], texts: &[Vec<u32>], options: &TrainOptions) -> f64 {
    let mut held_back = Vec::with_capacity(examples.len());
    for test in folds(examples, options.seed) {
        let others = 0..examples.len();
        let train: Vec<usize> = others
            .filter(|index| test.binary_search(index).is_err())
            .collect();
        if train.is_empty() {
            continue;
        }
        let learned = learn(examples, texts, &train, options);
        for index in test {
            if let (Some(example), Some(keys)) = (examples.get(index), texts.get(index)) {
                let logits = learned.weights.logits(&learned.vocabulary.entries(keys));
                held_back.push((logits, example.task_type as usize, example.weight));
            }
        }
    }
    let loss = |temperature: f64| -> f64 {
        let one = |(logits, target, weight): &([f64; TYPES], usize, f32)| {
            let logits = logits.map(|logit| logit / temperature);
            let (_, log_sum) = softmax(&logits);
            let right = logits.get(*target).copied().unwrap_or(0.0);
            let any = logits.iter().sum::<f64>() / TYPES as f64;
            f64::from(*weight) * (log_sum - (1.0 - DOUBT) * right - DOUBT * any)
        };
        held_back.iter().map(one).sum()
    };
    let candidates = (0..=40).map(|step| exp((f64::from(step) - 20.0) * 0.05));
    let best = candidates
        .map(|t| (loss(t), t))
        .min_by(|left, right| left.0.total_cmp(&right.0));
    best.map_or(1.0, |(_, temperature)| temperature)
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The model of these weights. Eight bits are more than enough, so most of them are left empty:
/// small numbers compress well.
fn quantised(learned: &Learned, temperature: f64) -> RankedClassifier {
    let (vocabulary, weights) = (&learned.vocabulary, learned.folded());
    let bias = learned.weights.logits(&[]).map(|bias| bias / temperature);
    let mut squares = [(0.0, 0.0_f64); GROUPS];
    for (position, row) in weights.iter().enumerate() {
        if let Some(sum) = vocabulary
            .group(position)
            .and_then(|group| squares.get_mut(group))
        {
            sum.0 += row.iter().map(|weight| weight * weight).sum::<f64>();
            sum.1 += TYPES as f64;
        }
    }
    let units =
        squares.map(|(sum, count)| ((sum / count.max(1.0)).sqrt() / STEPS_A_DEVIATION).max(1e-9));
    let mut rows = Vec::with_capacity(weights.len());
    for (position, row) in weights.iter().enumerate() {
        let unit = vocabulary
            .group(position)
            .and_then(|group| units.get(group))
            .copied();
        let mut quantised = [0_i8; 16];
        for (to, weight) in quantised.iter_mut().zip(row) {
            *to = (weight / unit.unwrap_or(1.0)).round().clamp(-127.0, 127.0) as i8;
        }
        rows.push(quantised);
    }
    RankedClassifier::new(
        units.map(|unit| (unit / temperature * SCALE as f64).round() as u32),
        bias.map(nats),
        vocabulary.keys.clone(),
        rows,
    )
}

/// Into how many steps the standard deviation of the weights is divided.
const STEPS_A_DEVIATION: f64 = 1.2;
