//! Inference with the built-in table, whose keywords are ASCII.

use super::classifier::{Explanation, Match};
use super::fingerprint::{DECISIVE, KEYWORDS, Keyword, SPLITS, Set};
use super::plain::Plain;
use super::search::search;
use super::text::{Field, Span};
use crate::route::select_agent;
use crate::task::TaskType;

/// The type of a text; `VECTOR` allows the vector search.
pub(super) fn infer<const VECTOR: bool>(title: &str, description: &str) -> TaskType {
    let mut best = TaskType::RoutineCoding;
    let mut visit = |_, keyword: &Keyword| {
        best = keyword.task_type;
        keyword.better & DECISIVE
    };
    let (wanted, title_changes) = search::<VECTOR>(title.as_bytes(), DECISIVE, &mut visit);
    let (wanted, description_changes) =
        search::<VECTOR>(description.as_bytes(), wanted, &mut visit);
    if wanted == 0 {
        return best;
    }
    if title_changes || description_changes {
        let (title, description) = (Plain::of(title), Plain::of(description));
        if title.is_changed() || description.is_changed() {
            return infer::<VECTOR>(title.as_str(), description.as_str());
        }
    }
    match across(title, description, wanted).next() {
        Some((keyword, _)) => keyword.task_type,
        None => best,
    }
}

/// The type of a text and every keyword in it; `VECTOR` allows the vector search.
pub(super) fn explain<const VECTOR: bool>(title: &str, description: &str) -> Explanation {
    let found = evidence::<VECTOR>(title, description);
    let task_type = decided(&found);
    let found = found.into_iter().map(|found| Match {
        keyword: found.keyword.text.to_owned(),
        task_type: found.keyword.task_type,
        spans: found.spans.into_iter().flatten().collect(),
    });
    Explanation {
        task_type,
        agent: select_agent(task_type),
        matches: found.collect(),
    }
}

/// A keyword in a text.
pub(crate) struct Found {
    keyword: &'static Keyword,
    /// Where it begins in both fields with a blank between.
    start: usize,
    /// The part of the title and the part of the description, as far as there are any.
    pub(crate) spans: [Option<Span>; 2],
}

impl Found {
    /// Its place in the list of all keywords, in order of priority.
    #[cfg(feature = "wasm")]
    pub(crate) fn index(&self) -> Option<usize> {
        let keyword = |known: &Keyword| std::ptr::eq(known, self.keyword);
        KEYWORDS.iter().position(keyword)
    }
}

/// All keywords with their types, in order of priority.
#[cfg(feature = "wasm")]
pub(crate) fn keywords() -> impl Iterator<Item = (TaskType, &'static str)> {
    KEYWORDS
        .iter()
        .map(|keyword| (keyword.task_type, keyword.text))
}

/// The type that keywords speak for.
pub(crate) fn decided(found: &[Found]) -> TaskType {
    let best = found.iter().min_by_key(|found| found.keyword.better);
    best.map_or(TaskType::RoutineCoding, |found| found.keyword.task_type)
}

/// Every keyword in a text, by position, priority and length; `VECTOR` allows the vector search.
pub(crate) fn evidence<const VECTOR: bool>(title: &str, description: &str) -> Vec<Found> {
    let (title, description) = (Plain::of(title), Plain::of(description));
    let end = title.as_str().len();
    let mut all = Vec::new();
    for (keyword, blank) in across(title.as_str(), description.as_str(), Set::MAX) {
        let before = title.span(Field::Title, end - blank, end);
        let after = description.span(Field::Description, 0, keyword.text.len() - blank - 1);
        let spans = [before, after].map(|span| (span.start < span.end).then_some(span));
        insert(&mut all, end - blank, keyword, spans);
    }
    look::<VECTOR>(&mut all, Field::Title, &title, 0);
    look::<VECTOR>(&mut all, Field::Description, &description, end + 1);
    all
}

/// Looks for keywords in a field, which begins at an offset.
fn look<const VECTOR: bool>(all: &mut Vec<Found>, field: Field, text: &Plain<'_>, offset: usize) {
    search::<VECTOR>(text.as_str().as_bytes(), Set::MAX, &mut |start, keyword| {
        let span = Some(text.span(field, start, start + keyword.text.len()));
        let spans = match field {
            Field::Title => [span, None],
            Field::Description => [None, span],
        };
        insert(all, offset + start, keyword, spans);
        Set::MAX
    });
}

/// Inserts by position, priority and length. The search comes upon the keywords almost in that
/// order: the place is at the end or a little before.
fn insert(all: &mut Vec<Found>, start: usize, keyword: &'static Keyword, spans: [Option<Span>; 2]) {
    all.push(Found {
        keyword,
        start,
        spans,
    });
    let order = |found: &Found| (found.start, found.keyword.better, found.keyword.text.len());
    let mut end = all.len();
    while let Some([before, new]) = all.get_mut(..end).and_then(|part| part.last_chunk_mut())
        && order(new) < order(before)
    {
        std::mem::swap(before, new);
        end -= 1;
    }
}

/// The keywords that run from the end of the title into the description, in order of priority, and
/// where in each the blank is that stands between the two.
fn across(
    title: &str,
    description: &str,
    wanted: Set,
) -> impl Iterator<Item = (&'static Keyword, usize)> {
    let (title, description) = (title.as_bytes(), description.as_bytes());
    SPLITS.iter().filter_map(move |&(index, blank)| {
        let keyword = KEYWORDS.get(index).filter(|_| wanted & (1 << index) != 0)?;
        let (before, after) = keyword.text.as_bytes().split_at_checked(blank)?;
        let end = title.get(title.len().checked_sub(before.len())?..)?;
        let beginning = description.get(..after.len() - 1)?;
        let stands =
            end.eq_ignore_ascii_case(before) && beginning.eq_ignore_ascii_case(after.get(1..)?);
        stands.then_some((keyword, blank))
    })
}
