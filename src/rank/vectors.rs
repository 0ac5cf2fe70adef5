//! Word vectors, by which training knows that words are alike, also those of no text.
//!
//! A linear model over the mean of its words' vectors is a row of weights for each word, so the
//! vectors are folded into the model's table and are not needed where it is used.

use std::collections::BTreeMap;

use super::features::word_key;

const MAGIC: &[u8; 8] = b"timmyvec";
const VERSION: u16 = 1;
/// Vectors have a mean square of 1; this many steps of eight bits are 1.
const STEPS: f32 = 64.0;

/// Why word vectors cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VectorsError {
    /// Something else.
    #[error("these are no word vectors of this project")]
    NotVectors,
    /// Less or more than was written.
    #[error("the word vectors are damaged")]
    Damaged,
}

/// A vector for each of some words.
///
/// The file: `timmyvec`, the version and the number of dimensions (16 bits each, the lower byte
/// first), the number of bytes of the words (32 bits), the words with a line break behind each, and
/// for each dimension a signed byte for each word, 64 of which are 1.
#[derive(Debug, Clone, PartialEq)]
pub struct WordVectors {
    dimensions: usize,
    /// The word's feature, and its place.
    places: BTreeMap<u32, usize>,
    values: Vec<f32>,
}

impl WordVectors {
    /// Reads a file's content.
    ///
    /// # Errors
    /// [`VectorsError`]: it is something else, or not whole.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VectorsError> {
        let body = bytes
            .strip_prefix(MAGIC)
            .ok_or(VectorsError::NotVectors)?
            .strip_prefix(&VERSION.to_le_bytes())
            .ok_or(VectorsError::NotVectors)?;
        Self::read(body).ok_or(VectorsError::Damaged)
    }

    fn read(body: &[u8]) -> Option<Self> {
        let (dimensions, body) = body.split_first_chunk()?;
        let dimensions = usize::from(u16::from_le_bytes(*dimensions));
        let (length, body) = body.split_first_chunk()?;
        let (words, bytes) = body.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let words: Vec<&str> = std::str::from_utf8(words).ok()?.lines().collect();
        if bytes.len() != words.len() * dimensions {
            return None;
        }
        let mut values = vec![0.0; bytes.len()];
        for (dimension, column) in bytes.chunks_exact(words.len().max(1)).enumerate() {
            for (word, step) in column.iter().enumerate() {
                *values.get_mut(word * dimensions + dimension)? = f32::from(*step as i8) / STEPS;
            }
        }
        let key = |(place, word): (usize, &&str)| (word_key(word), place);
        Some(Self {
            dimensions,
            places: words.iter().enumerate().map(key).collect(),
            values,
        })
    }

    /// How many numbers a vector has.
    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The features that have a vector.
    pub(super) fn keys(&self) -> impl Iterator<Item = u32> {
        self.places.keys().copied()
    }

    /// The vector of a feature.
    pub(super) fn of(&self, key: u32) -> Option<&[f32]> {
        let start = self.places.get(&key)? * self.dimensions;
        self.values.get(start..start + self.dimensions)
    }
}
