//! A text with what lowers into ASCII as ASCII, and the way back.

use std::borrow::Cow;

use super::text::{Field, Span};

/// The only characters outside ASCII that lower into it, and what they become.
const LOWERED: [(char, &str); 2] = [('\u{130}', "i\u{307}"), ('\u{212A}', "k")];

/// The first two bytes of each of [`LOWERED`], the second of them shared with others like ™.
pub(super) const BEGINNINGS: [[u8; 2]; 2] = [[0xC4, 0xB0], [0xE2, 0x84]];

/// A text in which [`LOWERED`] are lowered. ASCII stays as it is: the search has no case.
pub(super) struct Plain<'a> {
    text: Cow<'a, str>,
    changes: Vec<Change>,
}

/// Where a character of the source became a piece of the text, each as start and end.
struct Change {
    source: (usize, usize),
    text: (usize, usize),
}

impl<'a> Plain<'a> {
    pub(super) fn of(source: &'a str) -> Self {
        let mut plain = Self {
            text: Cow::Borrowed(source),
            changes: Vec::new(),
        };
        if may_change(source.as_bytes()) {
            plain.change(source);
        }
        plain
    }

    #[cold]
    fn change(&mut self, source: &'a str) {
        let mut text = String::with_capacity(source.len());
        let mut done = 0;
        for (start, character) in source.char_indices() {
            let Some((_, piece)) = LOWERED.iter().find(|(from, _)| *from == character) else {
                continue;
            };
            text.push_str(source.get(done..start).unwrap_or_default());
            let at = text.len();
            text.push_str(piece);
            done = start + character.len_utf8();
            self.changes.push(Change {
                source: (start, done),
                text: (at, text.len()),
            });
        }
        text.push_str(source.get(done..).unwrap_or_default());
        if !self.changes.is_empty() {
            self.text = Cow::Owned(text);
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn is_changed(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The part of the source that became a part of the text. Each end is beside an ASCII
    /// character or a piece.
    pub(super) fn span(&self, field: Field, start: usize, end: usize) -> Span {
        if start == end {
            return Span { field, start, end };
        }
        Span {
            field,
            start: self.origin(start).0,
            end: self.origin(end - 1).1,
        }
    }

    fn origin(&self, at: usize) -> (usize, usize) {
        let before = self.changes.partition_point(|change| change.text.0 <= at);
        match before
            .checked_sub(1)
            .and_then(|last| self.changes.get(last))
        {
            None => (at, at + 1),
            Some(change) if at < change.text.1 => change.source,
            Some(change) => {
                let start = change.source.1 + (at - change.text.1);
                (start, start + 1)
            }
        }
    }
}

/// Whether one of [`LOWERED`] may be in a text.
pub(super) fn may_change(text: &[u8]) -> bool {
    let second = text.get(1..).unwrap_or_default();
    // Without a way out of the loop, so that the compiler makes vectors of it.
    let [one, other] = BEGINNINGS;
    let any = |any, (&first, &second)| any | ([first, second] == one) | ([first, second] == other);
    !text.is_ascii() && text.iter().zip(second).fold(false, any)
}
