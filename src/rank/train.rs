//! Learning a model from texts whose types are known.

use std::collections::BTreeMap;

use super::arithmetic::{exp, ln};
use super::features::{GROUPS, Group, KINDS, Words, kind};
use super::model::{RankedClassifier, SCALE, TYPES, nats};
use super::regression::{Rows, Weights, fit, softmax};
use super::vectors::WordVectors;
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
    /// How many features the model keeps: about five bytes each when compressed.
    pub features: usize,
    /// How strongly large weights are punished.
    pub penalty: f64,
    /// By which words are known to be alike.
    pub vectors: Option<WordVectors>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            features: 32_000,
            penalty: 0.25,
            vectors: None,
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
const EMPHASIS: [f64; GROUPS] = [1.0, 0.6, 0.7, 1.4];
/// What the weights of each kind are worth beside a word's when features are chosen: pairs and parts
/// have smaller ones, for they share what they say. Found by trying.
const WORTH: [f64; KINDS] = [1.0, 1.0, 6.0, 15.0];

/// The features of a text with their groups, sorted, each once.
fn keys(example: &Example) -> Vec<(u32, Group)> {
    let mut keys = Vec::new();
    Words::of(&example.title, &example.description)
        .visit(&mut |feature| keys.push((feature.key, feature.group)));
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The features that a model is made of.
struct Vocabulary<'a> {
    /// Sorted.
    keys: Vec<u32>,
    /// How rare each is.
    rarity: Vec<f64>,
    vectors: Option<&'a WordVectors>,
}

impl Vocabulary<'_> {
    fn position(&self, key: u32) -> Option<usize> {
        self.keys.binary_search(&key).ok()
    }

    /// A text's features and their values.
    fn entries(&self, keys: &[(u32, Group)]) -> Vec<(u32, f32)> {
        let position = |(key, group): &(u32, Group)| Some((self.position(*key)?, *group as usize));
        let known: Vec<(usize, usize)> = keys.iter().filter_map(position).collect();
        let mut counts = [0.0_f64; GROUPS];
        for (_, group) in &known {
            if let Some(count) = counts.get_mut(*group) {
                *count += 1.0;
            }
        }
        let entry = |(position, group): (usize, usize)| {
            let share = EMPHASIS.get(group)? / counts.get(group)?.sqrt();
            Some((position as u32, (self.value(position) * share) as f32))
        };
        let mut entries: Vec<(u32, f32)> = known.into_iter().filter_map(entry).collect();
        let mut means = vec![0.0; self.dimensions()];
        for (position, value) in &entries {
            for (mean, part) in means.iter_mut().zip(self.vector(*position as usize)) {
                *mean += value * part;
            }
        }
        entries.extend((self.keys.len() as u32..).zip(means));
        entries
    }

    /// How many features stand behind those of the keys: the mean of the words' vectors.
    fn dimensions(&self) -> usize {
        self.vectors.map_or(0, WordVectors::dimensions)
    }

    /// The vector of a feature, as it counts; nothing where it has none.
    fn vector(&self, position: usize) -> impl Iterator<Item = f32> {
        let key = self.keys.get(position);
        let vector = key.zip(self.vectors).and_then(|(key, all)| all.of(*key));
        vector
            .unwrap_or_default()
            .iter()
            .map(|part| part * LIKENESS)
    }

    /// What a feature counts for, before its group.
    fn value(&self, position: usize) -> f64 {
        self.rarity.get(position).copied().unwrap_or(1.0) * RARITY_UNIT
    }
}

/// Brings the values of a text near to 1.
const RARITY_UNIT: f64 = 1.0 / 6.0;
/// How much a word's vector counts beside the word itself.
const LIKENESS: f32 = 0.5;

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
    let texts: Vec<Vec<(u32, Group)>> = examples.iter().map(keys).collect();
    let everything: Vec<usize> = (0..examples.len()).collect();
    let lesson = Lesson::of(examples, &texts, &everything, options);
    let mut learned = lesson.learn(vocabulary(&lesson.tasks, options.vectors.as_ref()));
    if learned.vocabulary.keys.len() > options.features {
        learned = lesson.learn(learned.weightiest(options.features));
    }
    let temperature = temperature(examples, &texts, options);
    Ok(quantised(&learned, temperature))
}

/// Features and their weights.
struct Learned<'a> {
    vocabulary: Vocabulary<'a>,
    weights: Weights,
}

/// Some of the examples, and what the features are weighed by.
struct Lesson<'a> {
    tasks: Vec<(&'a Example, &'a [(u32, Group)])>,
    penalty: f64,
}

impl<'a> Lesson<'a> {
    fn of(
        examples: &'a [Example],
        texts: &'a [Vec<(u32, Group)>],
        chosen: &[usize],
        options: &TrainOptions,
    ) -> Self {
        let example = |index: &usize| Some((examples.get(*index)?, texts.get(*index)?.as_slice()));
        let tasks: Vec<_> = chosen.iter().filter_map(example).collect();
        let weights = tasks
            .iter()
            .map(|(one, _): &(&Example, _)| f64::from(one.weight));
        let penalty = options.penalty / weights.sum::<f64>();
        Self { tasks, penalty }
    }

    /// Learns the weights of some features.
    fn learn<'v>(&self, vocabulary: Vocabulary<'v>) -> Learned<'v> {
        let features = vocabulary.keys.len() + vocabulary.dimensions();
        let rows = rows(&vocabulary, &self.tasks);
        let weights = fit(&rows, features, self.penalty, STEPS);
        Learned {
            vocabulary,
            weights,
        }
    }
}

/// Every feature that at least two texts have, and every word that has a vector.
fn vocabulary<'a>(
    tasks: &[(&Example, &[(u32, Group)])],
    vectors: Option<&'a WordVectors>,
) -> Vocabulary<'a> {
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    for (_, keys) in tasks {
        let mut before = None;
        for (key, _) in *keys {
            // A word of both fields stands there twice.
            if before != Some(key) {
                *counts.entry(*key).or_default() += 1;
            }
            before = Some(key);
        }
    }
    counts.retain(|key, count| *count > 1 || vectors.is_some_and(|all| all.of(*key).is_some()));
    for key in vectors.iter().flat_map(|all| all.keys()) {
        counts.entry(key).or_default();
    }
    let total = tasks.len() as f64 + 1.0;
    Vocabulary {
        rarity: counts
            .values()
            .map(|n| 1.0 + ln(total / (f64::from(*n) + 1.0)))
            .collect(),
        keys: counts.into_keys().collect(),
        vectors,
    }
}

impl<'a> Learned<'a> {
    /// The weight of each feature for each type, its value included.
    fn folded(&self) -> Vec<[f64; TYPES]> {
        let (own, of_vectors) = self.weights.0.split_at(self.vocabulary.keys.len());
        let fold = |(position, own): (usize, &[f32; 16])| {
            let mut row = *own;
            for (part, of_part) in self.vocabulary.vector(position).zip(of_vectors) {
                for (weight, of_part) in row.iter_mut().zip(of_part) {
                    *weight += part * of_part;
                }
            }
            let value = self.vocabulary.value(position);
            std::array::from_fn(|index| value * row.get(index).copied().map_or(0.0, f64::from))
        };
        own.iter().enumerate().map(fold).collect()
    }

    /// The features whose weights say most.
    fn weightiest(&self, features: usize) -> Vocabulary<'a> {
        let Vocabulary { keys, rarity, .. } = &self.vocabulary;
        let rarest = rarity.iter().copied().fold(0.0, f64::max);
        let mut order: Vec<(f64, u32, f64)> = self
            .folded()
            .iter()
            .zip(keys.iter().zip(rarity))
            .map(|(weights, (key, rarity))| {
                let norm: f64 = weights.iter().map(|weight| weight * weight).sum();
                // A frequent one says it more often.
                let worth = WORTH.get(kind(*key)).copied().unwrap_or(1.0);
                (norm * exp(rarest - rarity) * worth, *key, *rarity)
            })
            .collect();
        order.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
        order.truncate(features);
        order.sort_by_key(|(_, key, _)| *key);
        Vocabulary {
            keys: order.iter().map(|(_, key, _)| *key).collect(),
            rarity: order.iter().map(|(_, _, rarity)| *rarity).collect(),
            vectors: self.vocabulary.vectors,
        }
    }
}

/// The texts as rows. Frequent types count less, by the root of how frequent they are.
fn rows(vocabulary: &Vocabulary<'_>, tasks: &[(&Example, &[(u32, Group)])]) -> Rows {
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

/// The examples that are held back together: sets as wholes, where there are several.
fn folds(examples: &[Example], seed: u64) -> Vec<Vec<usize>> {
    let mut sets: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, example) in examples.iter().enumerate() {
        sets.entry(&example.set).or_default().push(index);
    }
    let mut parts = vec![Vec::new(); FOLDS];
    if sets.len() > 1 {
        let mut sets: Vec<Vec<usize>> = sets.into_values().collect();
        sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
        for set in sets {
            if let Some(smallest) = parts.iter_mut().min_by_key(|part| part.len()) {
                smallest.extend(set);
            }
        }
    } else {
        let mut state = seed;
        for index in 0..examples.len() {
            if let Some(part) = parts.get_mut(split_mix(&mut state) as usize % FOLDS) {
                part.push(index);
            }
        }
    }
    for part in &mut parts {
        part.sort_unstable();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// About one label in fifty is wrong, so nothing is surer than that.
const DOUBT: f64 = 0.02;

/// What the logits are divided by so that probabilities are true of texts that were held back.
fn temperature(examples: &[Example], texts: &[Vec<(u32, Group)>], options: &TrainOptions) -> f64 {
    let parts = folds(examples, options.seed);
    let held_back = |test: &Vec<usize>| {
        let others = 0..examples.len();
        let train: Vec<usize> = others
            .filter(|index| test.binary_search(index).is_err())
            .collect();
        if train.is_empty() {
            return Vec::new();
        }
        let lesson = Lesson::of(examples, texts, &train, options);
        let learned = lesson.learn(vocabulary(&lesson.tasks, options.vectors.as_ref()));
        let logits = |index: &usize| {
            let (example, keys) = (examples.get(*index)?, texts.get(*index)?);
            let logits = learned.weights.logits(&learned.vocabulary.entries(keys));
            Some((logits, example.task_type as usize, example.weight))
        };
        test.iter().filter_map(logits).collect::<Vec<_>>()
    };
    let held_back: Vec<_> = parts.iter().flat_map(held_back).collect();
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
    for (key, row) in vocabulary.keys.iter().zip(&weights) {
        if let Some(sum) = squares.get_mut(shared_unit(*key)) {
            sum.0 += row.iter().map(|weight| weight * weight).sum::<f64>();
            sum.1 += TYPES as f64;
        }
    }
    squares[Group::Description as usize] = squares[Group::Title as usize];
    let units =
        squares.map(|(sum, count)| ((sum / count.max(1.0)).sqrt() / STEPS_A_DEVIATION).max(1e-9));
    let quantise = |(key, row): (&u32, &[f64; TYPES])| {
        let unit = units.get(shared_unit(*key)).copied().unwrap_or(1.0);
        let mut quantised = [0_i8; 16];
        for (to, weight) in quantised.iter_mut().zip(row) {
            *to = step(weight / unit).clamp(-127.0, 127.0) as i8;
        }
        quantised
    };
    let rows = vocabulary.keys.iter().zip(&weights).map(quantise).collect();
    let mut scales = [0; GROUPS];
    for ((scale, unit), emphasis) in scales.iter_mut().zip(units).zip(EMPHASIS) {
        *scale = (unit * emphasis / temperature * SCALE as f64).round() as u32;
    }
    RankedClassifier::new(scales, bias.map(nats), vocabulary.keys.clone(), rows)
}

/// The group whose unit a feature's weights are in: words have the title's in both fields.
fn shared_unit(key: u32) -> usize {
    let groups = [Group::Title, Group::Title, Group::Pairs, Group::Parts];
    groups.get(kind(key)).map_or(0, |group| *group as usize)
}

/// The nearest whole number, but 0 also for what is a little more than half: zeros compress best.
fn step(value: f64) -> f64 {
    if value.abs() < DEAD {
        0.0
    } else {
        value.round()
    }
}

const DEAD: f64 = 0.6;
/// Into how many steps the standard deviation of the weights is divided.
const STEPS_A_DEVIATION: f64 = 0.85;
