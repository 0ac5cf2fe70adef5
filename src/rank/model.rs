//! The model: a table of features with a weight for each task type, and its file.

use std::fmt;

use super::features::{Feature, GROUPS, Group, Words};
use super::softmax::{NAT, probabilities};
use crate::task::TaskType;

/// How many task types a model tells apart.
pub(super) const TYPES: usize = TaskType::ALL.len();
/// A row of weights, padded to what a vector register takes.
pub(super) type Row = [i8; 16];

const MAGIC: &[u8; 8] = b"timmyrnk";
const VERSION: u16 = 2;
/// Magic, version, length of the body, checksum of the body.
const HEADER: usize = 8 + 2 + 4 + 8;
/// A weight of 1 in nats is a scale of this.
pub(super) const SCALE: i64 = 1 << 20;
/// Sums of weights times scales must not overflow.
const HIGHEST_SCALE: u32 = 1 << 24;
const ROOT: u32 = 16;
/// No feature has this number.
const FREE: u32 = u32::MAX;

/// Why a model cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Something else than a model.
    #[error("this is not a model of timmy-dispatch: make one with `timmy-dispatch model train`")]
    NotAModel,
    /// A model for another version of this package.
    #[error("the model has format {found} and this version reads format {VERSION}: train it again")]
    Version {
        /// Its format.
        found: u16,
    },
    /// Less than was written.
    #[error("the model is cut off: {found} of {expected} bytes are there")]
    Truncated {
        /// How many bytes there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Not what was written.
    #[error("the model is damaged: its checksum is not that of its content")]
    Damaged,
}

/// A learned way from text to task types. [`RankedClassifier::built_in`] is the shipped one.
#[derive(Clone, PartialEq, Eq)]
pub struct RankedClassifier {
    /// What a weight of each group is, in nats by [`SCALE`].
    scales: [u32; GROUPS],
    /// In 1/[`NAT`].
    bias: [i32; TYPES],
    /// Sorted.
    keys: Vec<u32>,
    rows: Vec<Row>,
    /// An open hash table of the keys, and the row of each.
    slots: Vec<(u32, u32)>,
}

impl fmt::Debug for RankedClassifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RankedClassifier")
            .field("features", &self.keys.len())
            .finish()
    }
}

/// The scores of a text.
pub(super) struct Scores {
    /// In 1/[`NAT`].
    pub(super) logits: [i64; TYPES],
    /// One through the root of the number of features of each group, by 2^16.
    roots: [i64; GROUPS],
}

impl Scores {
    pub(super) fn probabilities(&self) -> [u32; TYPES] {
        probabilities(&self.logits)
    }
}

impl RankedClassifier {
    /// A model that knows nothing: every type is as likely.
    pub(super) fn empty() -> Self {
        Self::new([0; GROUPS], [0; TYPES], Vec::new(), Vec::new())
    }

    pub(super) fn new(
        scales: [u32; GROUPS],
        bias: [i32; TYPES],
        keys: Vec<u32>,
        rows: Vec<Row>,
    ) -> Self {
        let mut size = 16;
        while size < keys.len() * 4 {
            size *= 2;
        }
        let mut model = Self {
            scales,
            bias,
            keys,
            rows,
            slots: vec![(FREE, 0); size],
        };
        for (row, key) in (0..).zip(&model.keys) {
            let mut at = slot(*key, size);
            while let Some(taken) = model.slots.get_mut(at) {
                if taken.0 == FREE {
                    *taken = (*key, row);
                    break;
                }
                at = (at + 1) & (size - 1);
            }
        }
        model
    }

    /// The row of a feature.
    pub(super) fn row(&self, key: u32) -> Option<usize> {
        let size = self.slots.len();
        let mut at = slot(key, size);
        loop {
            let (taken, row) = *self.slots.get(at)?;
            if taken == key {
                return Some(row as usize);
            }
            if taken == FREE {
                return None;
            }
            at = (at + 1) & (size - 1);
        }
    }

    /// The scores of a text; `visit` sees each feature that is in the model with its row, once for
    /// each field.
    pub(super) fn scores(&self, words: &Words, visit: &mut impl FnMut(Feature, usize)) -> Scores {
        let mut seen = vec![0_u64; self.rows.len() / 32 + 1];
        let mut sums = [[0_i32; 16]; GROUPS];
        let mut counts = [0_u64; GROUPS];
        words.visit(&mut |feature| {
            let Some(row) = self.row(feature.key) else {
                return;
            };
            let bit = 1 << (row % 32 * 2 + usize::from(feature.group == Group::Description));
            match seen.get_mut(row / 32) {
                Some(known) if *known & bit == 0 => *known |= bit,
                _ => return,
            }
            let group = feature.group as usize;
            if let (Some(weights), Some(sums), Some(count)) = (
                self.rows.get(row),
                sums.get_mut(group),
                counts.get_mut(group),
            ) {
                *count += 1;
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += i32::from(*weight);
                }
                visit(feature, row);
            }
        });
        let roots = counts.map(|count| ((1_u64 << (2 * ROOT)) / count.max(1)).isqrt() as i64);
        let mut logits = self.bias.map(i64::from);
        for ((sums, scale), root) in sums.iter().zip(&self.scales).zip(&roots) {
            for (logit, sum) in logits.iter_mut().zip(sums) {
                *logit += (i64::from(*sum) * i64::from(*scale) * root) / (SCALE << ROOT >> 16);
            }
        }
        Scores { logits, roots }
    }

    /// What a feature of a text adds to a type's score, in 1/1000 nat by 2^16.
    pub(super) fn effect(
        &self,
        scores: &Scores,
        (feature, row): (Feature, usize),
        task_type: TaskType,
    ) -> i64 {
        let group = feature.group as usize;
        let weight = self
            .rows
            .get(row)
            .and_then(|row| row.get(task_type as usize));
        let (Some(weight), Some(scale), Some(root)) =
            (weight, self.scales.get(group), scores.roots.get(group))
        else {
            return 0;
        };
        i64::from(*weight) * i64::from(*scale) * root * 1000 / SCALE
    }

    /// How many features it knows.
    #[must_use]
    pub fn features(&self) -> usize {
        self.keys.len()
    }

    /// The model as a file's content. The same model gives the same bytes everywhere.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.keys.len() * 17 + 128);
        body.push(TYPES as u8);
        for scale in self.scales {
            body.extend(scale.to_le_bytes());
        }
        for bias in self.bias {
            body.extend(bias.to_le_bytes());
        }
        body.extend((self.keys.len() as u32).to_le_bytes());
        let mut before = 0;
        for key in &self.keys {
            let mut difference = key - before;
            before = *key;
            while difference >= 0x80 {
                body.push(difference as u8 | 0x80);
                difference >>= 7;
            }
            body.push(difference as u8);
        }
        // By type, which compresses better than by feature.
        for task_type in 0..TYPES {
            body.extend(
                self.rows
                    .iter()
                    .flat_map(|row| row.get(task_type))
                    .map(|weight| *weight as u8),
            );
        }
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(checksum(&body).to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// Reads what [`RankedClassifier::to_bytes`] gave.
    ///
    /// # Errors
    /// [`ModelError`]: it is no model, of another format, cut off or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        if !bytes.starts_with(MAGIC) {
            let begins = !bytes.is_empty() && MAGIC.starts_with(bytes);
            return Err(if begins {
                ModelError::Truncated {
                    expected: HEADER,
                    found: bytes.len(),
                }
            } else {
                ModelError::NotAModel
            });
        }
        let truncated = ModelError::Truncated {
            expected: HEADER,
            found: bytes.len(),
        };
        let mut header = Reader(bytes.get(MAGIC.len()..).unwrap_or_default());
        let version = u16::from_le_bytes(header.array().ok_or(truncated.clone())?);
        if version != VERSION {
            return Err(ModelError::Version { found: version });
        }
        let length = u32::from_le_bytes(header.array().ok_or(truncated.clone())?) as usize;
        let sum = u64::from_le_bytes(header.array().ok_or(truncated)?);
        let body = header.0;
        if body.len() < length {
            let expected = HEADER.saturating_add(length);
            return Err(ModelError::Truncated {
                expected,
                found: bytes.len(),
            });
        }
        if body.len() > length || checksum(body) != sum {
            return Err(ModelError::Damaged);
        }
        // The checksum is no seal: whoever wrote the body, what is read must hold together.
        Self::read(&mut Reader(body)).ok_or(ModelError::Damaged)
    }

    fn read(body: &mut Reader<'_>) -> Option<Self> {
        if body.array()? != [TYPES as u8] {
            return None;
        }
        let mut scales = [0; GROUPS];
        for scale in &mut scales {
            *scale = u32::from_le_bytes(body.array()?);
            if *scale > HIGHEST_SCALE {
                return None;
            }
        }
        let mut bias = [0; TYPES];
        for bias in &mut bias {
            *bias = i32::from_le_bytes(body.array()?);
        }
        let count = u32::from_le_bytes(body.array()?) as usize;
        if count > body.0.len() {
            return None;
        }
        let mut keys = Vec::with_capacity(count);
        let mut key = 0_u32;
        for index in 0..count {
            let difference = body.number()?;
            if index > 0 && difference == 0 {
                return None;
            }
            key = key.checked_add(difference).filter(|key| *key != FREE)?;
            keys.push(key);
        }
        if body.0.len() != count * TYPES {
            return None;
        }
        let mut rows = vec![[0; 16]; count];
        for task_type in 0..TYPES {
            for row in &mut rows {
                let [weight] = body.array()?;
                *row.get_mut(task_type)? = weight as i8;
            }
        }
        Some(Self::new(scales, bias, keys, rows))
    }
}

const fn slot(key: u32, size: usize) -> usize {
    (key.wrapping_mul(0x9e37_79b1) >> 12) as usize & (size - 1)
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// A number in groups of seven bits, the lowest first.
    fn number(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in (0..32).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(number).ok();
            }
        }
        None
    }
}

/// A logit of as many nats, in the model's unit.
pub(super) fn nats(value: f64) -> i32 {
    (value * NAT as f64).round() as i32
}
