//! Finding the built-in keywords in a text, in either case.

use super::fingerprint::{CANDIDATES, KEYWORDS, Keyword, Set, WIDTH};
use super::plain::may_change;

/// Calls `visit` once with each place where one of the `wanted` keywords stands; it returns which
/// ones are wanted from there on. Returns what is still wanted at the end, and whether the text may
/// change when it is lowered, which ASCII does not. The search ends where nothing is wanted.
#[inline]
pub(super) fn search<const VECTOR: bool>(
    text: &[u8],
    wanted: Set,
    visit: &mut impl FnMut(usize, &'static Keyword) -> Set,
) -> (Set, bool) {
    if wanted == 0 {
        return (0, false);
    }
    #[cfg(target_arch = "x86_64")]
    if VECTOR && let Some(left) = super::vector::search(text, wanted, visit) {
        return left;
    }
    (portable(text, wanted, visit), may_change(text))
}

/// The search a character at a time.
fn portable(
    text: &[u8],
    mut wanted: Set,
    visit: &mut impl FnMut(usize, &'static Keyword) -> Set,
) -> Set {
    // The keywords that have the last one, two and three characters in their fingerprints.
    let (mut one, mut two, mut three) = (0, 0, 0);
    // A short keyword ends before its fingerprint does.
    let ending = [0; WIDTH - 1];
    for (end, &byte) in text.iter().chain(&ending).enumerate() {
        let [first, second, third, fourth] = candidates(byte);
        let found = three & fourth & wanted;
        (one, two, three) = (*first, one & second, two & third);
        if found != 0 {
            wanted = verify(text, end + 1 - WIDTH, found, wanted, visit);
            if wanted == 0 {
                return 0;
            }
        }
    }
    wanted
}

/// The keywords that have a character at each place of their fingerprint.
#[inline]
pub(super) fn candidates(byte: u8) -> &'static [Set; WIDTH] {
    &CANDIDATES[usize::from(byte & 31)]
}

/// Visits those of the keywords with their fingerprint at a place that really stand there.
#[inline]
pub(super) fn verify(
    text: &[u8],
    at: usize,
    mut found: Set,
    mut wanted: Set,
    visit: &mut impl FnMut(usize, &'static Keyword) -> Set,
) -> Set {
    while found != 0 {
        let index = found.trailing_zeros() as usize;
        found &= found - 1;
        if let Some(keyword) = KEYWORDS.get(index)
            && let Some(start) = at.checked_sub(keyword.offset)
            && let Some(part) = text.get(start..start + keyword.text.len())
            && part.eq_ignore_ascii_case(keyword.text.as_bytes())
        {
            wanted = visit(start, keyword);
            found &= wanted;
        }
    }
    wanted
}
