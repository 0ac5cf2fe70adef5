//! Text → features: words, pairs of neighbours, and parts of words.
//!
//! A feature is known by a number: its kind in the upper bits, a hash of its text of [`HASH_BITS`] below.
//! Two texts that share a number share a weight, in training as in use.

use crate::infer::{Field, Span};

/// Where features stand. The sum of each group is divided by the root of the number of its
/// features, so that a long description does not drown the title.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Title,
    Description,
    Pairs,
    Parts,
}

/// How many groups there are.
pub(super) const GROUPS: usize = 4;

/// The kinds, as they stand in the upper bits of a feature's number. A word has the same weights in
/// a title and in a description.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word = 0,
    FirstWord = 1,
    Pair = 2,
    Part = 3,
}

/// How many kinds there are.
pub(super) const KINDS: usize = 4;

/// The kind of a feature, as its place in a table of them.
pub(super) const fn kind(key: u32) -> usize {
    (key >> HASH_BITS) as usize % KINDS
}

/// The feature of a word.
pub(super) fn word_key(lowered: &str) -> u32 {
    key(Kind::Word, word_hash(lowered.chars()))
}

/// A feature and the words that it stands in.
#[derive(Clone, Copy)]
pub(super) struct Feature {
    pub(super) key: u32,
    pub(super) group: Group,
    /// The index of its first word, and that of its last.
    pub(super) words: (usize, usize),
}

/// A word of a text: where it stands, and its lowered characters.
pub(super) struct Word {
    pub(super) span: Span,
    letters: (usize, usize),
    hash: u32,
}

/// The words of a task's two fields.
pub(super) struct Words {
    pub(super) words: Vec<Word>,
    /// How many of them are the title's.
    title: usize,
    letters: Vec<char>,
}

const SEED: u32 = 0x811c_9dc5;
/// The hash of what stands before the first word and behind the last.
const EDGE: u32 = 0x51ed_270b;
/// Few, for they are a third of a model's file; one in a hundred strange words is taken for another.
const HASH_BITS: u32 = 20;
const LONGEST_PART: usize = 5;
const SHORTEST_PART: usize = 3;

const fn step(hash: u32, value: u32) -> u32 {
    (hash ^ value).wrapping_mul(0x0100_0193).rotate_left(5)
}

fn word_hash(letters: impl Iterator<Item = char>) -> u32 {
    letters.fold(SEED, |hash, letter| step(hash, u32::from(letter)))
}

const fn key(kind: Kind, hash: u32) -> u32 {
    let mixed = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
    ((kind as u32) << HASH_BITS) | ((mixed ^ (mixed >> 12)) >> (u32::BITS - HASH_BITS))
}

impl Words {
    pub(super) fn of(title: &str, description: &str) -> Self {
        let mut words = Self {
            words: Vec::with_capacity((title.len() + description.len()) / 5 + 4),
            title: 0,
            letters: Vec::with_capacity(title.len() + description.len()),
        };
        words.read(Field::Title, title);
        words.title = words.words.len();
        words.read(Field::Description, description);
        words
    }

    /// Adds the words of a field: runs of letters and digits, split where `camelCase` has its
    /// humps, and question marks.
    fn read(&mut self, field: Field, text: &str) {
        let mut begun: Option<(usize, usize)> = None;
        let mut after_lower = false;
        for (at, character) in text.char_indices() {
            let alphanumeric = if character.is_ascii() {
                character.is_ascii_alphanumeric()
            } else {
                character.is_alphanumeric()
            };
            if !alphanumeric {
                self.end(field, begun.take(), at);
                if character == '?' {
                    let from = self.letters.len();
                    self.letters.push('?');
                    self.end(field, Some((at, from)), at + 1);
                }
                continue;
            }
            if after_lower && character.is_uppercase() {
                self.end(field, begun.take(), at);
            }
            begun.get_or_insert((at, self.letters.len()));
            after_lower = character.is_lowercase();
            if character.is_ascii() {
                self.letters.push(character.to_ascii_lowercase());
            } else {
                self.letters.extend(character.to_lowercase());
            }
        }
        self.end(field, begun, text.len());
    }

    /// Ends the word that begins at these places of the field and of the letters. All numbers are
    /// one word.
    fn end(&mut self, field: Field, begun: Option<(usize, usize)>, end: usize) {
        let Some((start, from)) = begun else { return };
        let letters = self.letters.get(from..).unwrap_or_default();
        if letters.iter().all(|letter| letter.is_numeric()) {
            self.letters.truncate(from);
            self.letters.push('0');
        }
        let letters = self.letters.get(from..).unwrap_or_default();
        let hash = word_hash(letters.iter().copied());
        self.words.push(Word {
            span: Span { field, start, end },
            letters: (from, self.letters.len()),
            hash,
        });
    }

    pub(super) fn letters(&self, word: &Word) -> &[char] {
        self.letters
            .get(word.letters.0..word.letters.1)
            .unwrap_or_default()
    }

    /// The word as features spell it.
    pub(super) fn text(&self, word: &Word) -> String {
        self.letters(word).iter().collect()
    }

    /// Visits every feature, repeated ones again.
    pub(super) fn visit(&self, visit: &mut impl FnMut(Feature)) {
        let mut before = EDGE;
        for (index, word) in self.words.iter().enumerate() {
            let alone = (index, index);
            let mut feature = |kind, group, hash, words| {
                visit(Feature {
                    key: key(kind, hash),
                    group,
                    words,
                })
            };
            let is_title = index < self.title;
            if index == 0 && is_title {
                feature(Kind::FirstWord, Group::Title, word.hash, alone);
            }
            let field = if is_title {
                Group::Title
            } else {
                Group::Description
            };
            feature(Kind::Word, field, word.hash, alone);
            let is_first = index == 0 || index == self.title;
            let pair = step(step(SEED, if is_first { EDGE } else { before }), word.hash);
            let words = (index - usize::from(!is_first), index);
            feature(Kind::Pair, Group::Pairs, pair, words);
            if index + 1 == self.title || index + 1 == self.words.len() {
                let pair = step(step(SEED, word.hash), EDGE);
                feature(Kind::Pair, Group::Pairs, pair, alone);
            }
            before = word.hash;
            let letters = self.letters(word);
            if !matches!(letters, ['?' | '0']) {
                parts(letters, &mut |hash| {
                    feature(Kind::Part, Group::Parts, hash, alone);
                });
            }
        }
    }
}

/// The hashes of the parts of 3 to 5 characters of `<word>`.
fn parts(letters: &[char], visit: &mut impl FnMut(u32)) {
    let end = letters.len() + 2;
    let at = |index: usize| match index.checked_sub(1) {
        None => '<',
        Some(index) => letters.get(index).copied().unwrap_or('>'),
    };
    for start in 0..end.saturating_sub(SHORTEST_PART - 1) {
        let mut hash = SEED;
        for (length, index) in (1..=LONGEST_PART).zip(start..end) {
            hash = step(hash, u32::from(at(index)));
            if length >= SHORTEST_PART {
                visit(hash);
            }
        }
    }
}
