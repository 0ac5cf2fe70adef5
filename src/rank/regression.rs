//! Multinomial logistic regression with a quadratic penalty, fitted by L-BFGS.
//!
//! No threads and no random start: the same examples in the same order give the same weights.

use super::arithmetic::{exp, ln};
use super::model::TYPES;

/// A row of weights, padded to what a vector register takes.
pub(super) type Row = [f32; 16];

/// Examples as sparse rows.
#[derive(Default)]
pub(super) struct Rows {
    ends: Vec<usize>,
    entries: Vec<(u32, f32)>,
    /// The type of each, and how much it counts.
    targets: Vec<(usize, f32)>,
}

impl Rows {
    pub(super) fn push(
        &mut self,
        entries: impl IntoIterator<Item = (u32, f32)>,
        target: (usize, f32),
    ) {
        self.entries.extend(entries);
        self.ends.push(self.entries.len());
        self.targets.push(target);
    }

    fn row(&self, index: usize) -> &[(u32, f32)] {
        let start = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        let end = self.ends.get(index).copied().unwrap_or(0);
        self.entries
            .get(start.copied().unwrap_or(0)..end)
            .unwrap_or_default()
    }
}

/// A fitted regression: a row for each feature, the last for the bias.
pub(super) struct Weights(pub(super) Vec<Row>);

impl Weights {
    pub(super) fn logits(&self, entries: &[(u32, f32)]) -> [f64; TYPES] {
        let mut sums = self.0.last().copied().unwrap_or_default();
        for (feature, value) in entries {
            if let Some(row) = self.0.get(*feature as usize) {
                for (sum, weight) in sums.iter_mut().zip(row) {
                    *sum += value * weight;
                }
            }
        }
        std::array::from_fn(|index| f64::from(sums.get(index).copied().unwrap_or(0.0)))
    }
}

/// The probabilities of logits, and the logarithm of what they were divided by.
pub(super) fn softmax(logits: &[f64; TYPES]) -> ([f64; TYPES], f64) {
    let highest = logits.iter().copied().fold(f64::MIN, f64::max);
    let powers = logits.map(|logit| exp(logit - highest));
    let sum: f64 = powers.iter().sum();
    (powers.map(|power| power / sum), ln(sum) + highest)
}

/// The mean loss of the rows with its penalty, and the gradient.
fn loss(weights: &Weights, rows: &Rows, penalty: f64, gradient: &mut [Row]) -> f64 {
    gradient.fill([0.0; 16]);
    let total: f64 = rows
        .targets
        .iter()
        .map(|(_, count)| f64::from(*count))
        .sum();
    let last = gradient.len() - 1;
    let mut loss = 0.0;
    for (index, (target, count)) in rows.targets.iter().enumerate() {
        let entries = rows.row(index);
        let logits = weights.logits(entries);
        let (probabilities, log_sum) = softmax(&logits);
        let share = f64::from(*count) / total;
        loss += share * (log_sum - logits.get(*target).copied().unwrap_or(0.0));
        let mut errors: Row = [0.0; 16];
        for (error, probability) in errors.iter_mut().zip(probabilities) {
            *error = (probability * share) as f32;
        }
        if let Some(error) = errors.get_mut(*target) {
            *error -= share as f32;
        }
        for (feature, value) in entries.iter().copied().chain([(last as u32, 1.0)]) {
            if let Some(row) = gradient.get_mut(feature as usize) {
                for (sum, error) in row.iter_mut().zip(&errors) {
                    *sum += value * error;
                }
            }
        }
    }
    let mut squares = 0.0;
    for (row, weights) in gradient.iter_mut().zip(&weights.0).take(last) {
        for (sum, weight) in row.iter_mut().zip(weights) {
            *sum += penalty as f32 * weight;
            squares += f64::from(*weight) * f64::from(*weight);
        }
    }
    loss + penalty * squares / 2.0
}

fn dot(left: &[Row], right: &[Row]) -> f64 {
    let row = |(left, right): (&Row, &Row)| {
        let mut sums = [0.0_f32; 16];
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum = left * right;
        }
        f64::from(sums.iter().sum::<f32>())
    };
    left.iter().zip(right).map(row).sum()
}

/// `to += factor * from`.
fn add(to: &mut [Row], factor: f64, from: &[Row]) {
    for (to, from) in to.iter_mut().zip(from) {
        for (to, from) in to.iter_mut().zip(from) {
            *to += factor as f32 * from;
        }
    }
}

/// How many steps the shape of the loss is remembered for.
const MEMORY: usize = 6;

/// Fits rows of so many features.
pub(super) fn fit(rows: &Rows, features: usize, penalty: f64, steps: usize) -> Weights {
    let mut weights = Weights(vec![[0.0; 16]; features + 1]);
    let mut gradient = vec![[0.0; 16]; features + 1];
    let mut value = loss(&weights, rows, penalty, &mut gradient);
    let mut past: Vec<(Vec<Row>, Vec<Row>, f64)> = Vec::new();
    for _ in 0..steps {
        let direction = direction(&gradient, &past);
        let slope = dot(&direction, &gradient);
        let mut length = if past.is_empty() {
            1.0 / dot(&gradient, &gradient).sqrt()
        } else {
            1.0
        };
        let mut next_gradient = vec![[0.0; 16]; features + 1];
        let mut next = None;
        for _ in 0..20 {
            let mut tried = Weights(weights.0.clone());
            add(&mut tried.0, length, &direction);
            let tried_value = loss(&tried, rows, penalty, &mut next_gradient);
            if tried_value <= value + 1e-4 * length * slope {
                next = Some((tried, tried_value));
                break;
            }
            length /= 2.0;
        }
        let Some((next, next_value)) = next else {
            break;
        };
        let mut moved = next.0.clone();
        add(&mut moved, -1.0, &weights.0);
        let mut turned = next_gradient.clone();
        add(&mut turned, -1.0, &gradient);
        let curvature = dot(&moved, &turned);
        if curvature > 0.0 {
            if past.len() == MEMORY {
                past.remove(0);
            }
            past.push((moved, turned, curvature));
        }
        let gain = value - next_value;
        (weights, gradient, value) = (next, next_gradient, next_value);
        if gain < 1e-6 * value {
            break;
        }
    }
    weights
}

/// The two-loop recursion: the gradient through the inverse of the loss's curvature.
fn direction(gradient: &[Row], past: &[(Vec<Row>, Vec<Row>, f64)]) -> Vec<Row> {
    let mut direction = gradient.to_vec();
    let mut factors = Vec::with_capacity(past.len());
    for (moved, turned, curvature) in past.iter().rev() {
        let factor = dot(moved, &direction) / curvature;
        add(&mut direction, -factor, turned);
        factors.push(factor);
    }
    let scale = past.last().map_or(1.0, |(_, turned, curvature)| {
        curvature / dot(turned, turned)
    });
    for row in &mut direction {
        *row = row.map(|value| value * -scale as f32);
    }
    for ((moved, turned, curvature), factor) in past.iter().zip(factors.iter().rev()) {
        // The direction is already turned downhill.
        let correction = -factor - dot(turned, &direction) / curvature;
        add(&mut direction, correction, moved);
    }
    direction
}
