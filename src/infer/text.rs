//! A task's text as keywords are looked for in it, and the way back to where it came from.

/// One of the two texts of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The title.
    Title,
    /// The description.
    Description,
}

impl Field {
    /// `"title"` or `"description"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Description => "description",
        }
    }
}

/// A part of a field; `start` and `end` are bytes unless converted by [`Span::in_unit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Where it lies.
    pub field: Field,
    /// Its first position.
    pub start: usize,
    /// The position behind its last.
    pub end: usize,
}

/// How positions are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// UTF-8 bytes, as in Rust.
    Bytes,
    /// Code points, as in Python.
    CodePoints,
    /// UTF-16 units, as in JavaScript.
    Utf16,
}

impl Span {
    /// The same span counted otherwise; `text` is the field's whole text.
    ///
    /// ```
    /// use timmy_dispatcher::infer::{Field, Span, Unit};
    /// let span = Span { field: Field::Title, start: 5, end: 9 };
    /// let counted = span.in_unit("🦀 plan", Unit::Utf16);
    /// assert_eq!((counted.start, counted.end), (3, 7));
    /// ```
    #[must_use]
    pub fn in_unit(self, text: &str, unit: Unit) -> Self {
        Counter::new(text, unit).span(self)
    }
}

/// Counts places in a text, cheaply if each is behind the one before.
pub(crate) struct Counter<'a> {
    text: &'a str,
    unit: Unit,
    /// A place in bytes, and in the unit.
    at: (usize, usize),
}

impl<'a> Counter<'a> {
    pub(crate) fn new(text: &'a str, unit: Unit) -> Self {
        let unit = if text.is_ascii() { Unit::Bytes } else { unit };
        Self {
            text,
            unit,
            at: (0, 0),
        }
    }

    pub(crate) fn span(&mut self, span: Span) -> Span {
        if span.start < self.at.0 {
            self.at = (0, 0);
        }
        let start = self.at.1 + self.length(self.at.0, span.start);
        self.at = (span.start, start);
        Span {
            start,
            end: start + self.length(span.start, span.end),
            ..span
        }
    }

    fn length(&self, start: usize, end: usize) -> usize {
        match (self.unit, self.text.get(start..end)) {
            (Unit::Bytes, _) | (_, None) => end.saturating_sub(start),
            // A character's first byte is no continuation; that of one with two units is 0xF0 or more.
            (Unit::CodePoints, Some(part)) => count(part, |byte| byte & 0xC0 != 0x80),
            (Unit::Utf16, Some(part)) => {
                count(part, |byte| byte & 0xC0 != 0x80) + count(part, |byte| byte >= 0xF0)
            }
        }
    }
}

fn count(text: &str, counts: impl Fn(u8) -> bool) -> usize {
    text.bytes().filter(|byte| counts(*byte)).count()
}

/// `title + " " + description`, lowered, with the origin of every byte.
pub(crate) struct Lowered {
    pub(crate) text: String,
    /// For each byte of `text`: the field and the character of it that it stems from. `None`: the
    /// blank between the fields.
    origins: Vec<Option<Span>>,
}

impl Lowered {
    pub(crate) fn of(title: &str, description: &str) -> Self {
        let joined = format!("{title} {description}");
        // The whole is lowered at once, because a sigma's form depends on what stands around it;
        // its two forms have the same length.
        let text = joined.to_lowercase();
        let mut origins = Vec::with_capacity(text.len());
        let fields = [
            (Some(Field::Title), title),
            (None, " "),
            (Some(Field::Description), description),
        ];
        for (field, part) in fields {
            for (start, character) in part.char_indices() {
                let origin = field.map(|field| Span {
                    field,
                    start,
                    end: start + character.len_utf8(),
                });
                let length: usize = character.to_lowercase().map(char::len_utf8).sum();
                origins.extend(std::iter::repeat_n(origin, length));
            }
        }
        Self { text, origins }
    }

    /// Where a part of the text came from: one span, or two where it crosses from title to
    /// description.
    pub(crate) fn spans(&self, start: usize, end: usize) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::with_capacity(1);
        for origin in self
            .origins
            .get(start..end)
            .unwrap_or_default()
            .iter()
            .flatten()
        {
            match spans.last_mut() {
                Some(last) if last.field == origin.field => last.end = origin.end,
                _ => spans.push(*origin),
            }
        }
        spans
    }
}
