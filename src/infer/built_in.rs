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
    let (title, description) = (Plain::of(title), Plain::of(description));
    let mut found = Vec::new();
    search::<VECTOR>(
        title.as_str().as_bytes(),
        Set::MAX,
        &mut |start, keyword| {
            let span = title.span(Field::Title, start, start + keyword.text.len());
            insert(&mut found, (start, keyword, vec![span]));
            Set::MAX
        },
    );
    let end = title.as_str().len();
    for (keyword, blank) in across(title.as_str(), description.as_str(), Set::MAX) {
        let before = title.span(Field::Title, end - blank, end);
        let after = description.span(Field::Description, 0, keyword.text.len() - blank - 1);
        let spans = [before, after].into_iter();
        let spans = spans.filter(|span| span.start < span.end).collect();
        insert(&mut found, (end - blank, keyword, spans));
    }
    search::<VECTOR>(
        description.as_str().as_bytes(),
        Set::MAX,
        &mut |start, keyword| {
            let span = description.span(Field::Description, start, start + keyword.text.len());
            insert(&mut found, (end + 1 + start, keyword, vec![span]));
            Set::MAX
        },
    );
    let winner = found.iter().min_by_key(|(_, keyword, _)| keyword.better);
    let task_type = winner.map_or(TaskType::RoutineCoding, |(_, keyword, _)| keyword.task_type);
    Explanation {
        task_type,
        agent: select_agent(task_type),
        matches: found
            .into_iter()
            .map(|(_, keyword, spans)| Match {
                keyword: keyword.text.to_owned(),
                task_type: keyword.task_type,
                spans,
            })
            .collect(),
    }
}

/// Where a keyword begins in both fields with a blank between, the keyword, and its spans.
type Found = (usize, &'static Keyword, Vec<Span>);

/// Inserts by position, priority and length. The search comes upon the keywords almost in that
/// order: the place is at the end or a little before.
fn insert(found: &mut Vec<Found>, new: Found) {
    let order = |(start, keyword, _): &Found| (*start, keyword.better, keyword.text.len());
    let before = found.iter().rposition(|old| order(old) <= order(&new));
    found.insert(before.map_or(0, |last| last + 1), new);
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
