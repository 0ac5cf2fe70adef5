//! The built-in keywords as the search needs them, worked out from [`SIGNALS`] by the compiler.
//!
//! Each keyword has a *fingerprint*: [`WIDTH`] neighbouring letters of it, taken where they are
//! rarest in English. A letter stands for itself in either case, by its lower five bits, so some
//! other characters pass for it; what passes is compared with the keyword itself.
//!
//! [`CANDIDATES`] says which keywords have a letter at a place of their fingerprint. The vector
//! search has no room for that and knows *buckets* of keywords instead, put together so that as
//! little other text as possible passes for one of a bucket.

use super::signals::SIGNALS;
use crate::task::TaskType;

/// A set of keywords: the bits of their indices in [`KEYWORDS`].
pub(super) type Set = u64;

/// How many letters a fingerprint has. Of a shorter keyword all, and then any.
pub(super) const WIDTH: usize = 4;

/// How many buckets there are: the bits of a byte. With sixteen, half as much passes, and it takes
/// longer to see that than it saves.
const BUCKETS: usize = 8;

/// A keyword and where it belongs.
#[derive(Clone, Copy)]
pub(super) struct Keyword {
    pub(super) text: &'static str,
    pub(super) task_type: TaskType,
    /// The keywords of all types before its own.
    pub(super) better: Set,
    /// Where in the keyword its fingerprint begins.
    pub(super) offset: usize,
    bucket: usize,
}

const COUNT: usize = {
    let (mut count, mut at) = (0, 0);
    while at < SIGNALS.len() {
        count += SIGNALS[at].1.len();
        at += 1;
    }
    assert!(
        count <= Set::BITS as usize,
        "more keywords than a Set has bits: make it a u128"
    );
    count
};

/// Every keyword, in order of priority.
pub(super) static KEYWORDS: [Keyword; COUNT] = placed(listed());

/// The keywords that hold no other one of the same or a better type. Without the rest of them a
/// text has the same type.
pub(super) const DECISIVE: Set = {
    let (mut set, mut at) = (0, 0);
    while at < COUNT {
        let (keyword, mut other, mut decisive) = (&KEYWORDS[at], 0, true);
        while other < COUNT {
            let no_worse = KEYWORDS[other].better & !keyword.better == 0;
            // Of two that are the same, the first remains.
            let same = KEYWORDS[other].text.len() == keyword.text.len() && other >= at;
            if no_worse && !same && holds(keyword.text, KEYWORDS[other].text) {
                decisive = false;
            }
            other += 1;
        }
        if decisive {
            set |= 1 << at;
        }
        at += 1;
    }
    set
};

/// Where the keywords have blanks: the index of the keyword and the place in it.
pub(super) const SPLITS: &[(usize, usize)] = {
    const BLANKS: ([(usize, usize); COUNT], usize) = {
        let (mut blanks, mut count, mut at) = ([(0, 0); COUNT], 0, 0);
        while at < COUNT {
            let text = KEYWORDS[at].text.as_bytes();
            let mut place = 0;
            while place < text.len() {
                if text[place] == b' ' {
                    blanks[count] = (at, place);
                    count += 1;
                }
                place += 1;
            }
            at += 1;
        }
        (blanks, count)
    };
    BLANKS.0.split_at(BLANKS.1).0
};

/// For the lower five bits of a character: the keywords that have it at each place of their
/// fingerprint.
pub(super) static CANDIDATES: [[Set; WIDTH]; 32] = {
    let mut table = [[0; WIDTH]; 32];
    let mut at = 0;
    while at < COUNT {
        let mut place = 0;
        while place < WIDTH {
            match letter(&KEYWORDS[at], KEYWORDS[at].offset, place) {
                Some(letter) => table[letter][place] |= 1 << at,
                None => {
                    let mut letter = 0;
                    while letter < 32 {
                        table[letter][place] |= 1 << at;
                        letter += 1;
                    }
                }
            }
            place += 1;
        }
        at += 1;
    }
    table
};

const fn listed() -> [Keyword; COUNT] {
    let none = Keyword {
        text: "",
        task_type: TaskType::RoutineCoding,
        better: 0,
        offset: 0,
        bucket: 0,
    };
    let mut list = [none; COUNT];
    let (mut at, mut signal) = (0, 0);
    while signal < SIGNALS.len() {
        let (task_type, keywords) = SIGNALS[signal];
        let (mut nth, better) = (0, (1 << at) - 1);
        while nth < keywords.len() {
            let text = keywords[nth];
            assert!(
                !text.is_empty() && text.is_ascii(),
                "a keyword is empty or not ASCII"
            );
            let mut byte = 0;
            while byte < text.len() {
                assert!(
                    !text.as_bytes()[byte].is_ascii_uppercase(),
                    "a keyword is not lower case"
                );
                byte += 1;
            }
            list[at] = Keyword {
                text,
                task_type,
                better,
                ..none
            };
            at += 1;
            nth += 1;
        }
        signal += 1;
    }
    list
}

/// The lower five bits of a keyword's letter at a place of its fingerprint.
const fn letter(keyword: &Keyword, offset: usize, place: usize) -> Option<usize> {
    let text = keyword.text.as_bytes();
    if offset + place < text.len() {
        Some((text[offset + place] & 31) as usize)
    } else {
        None
    }
}

/// How many of a thousand characters of English prose about software have these lower five bits.
const SHARE: [u64; 32] = [
    136, 45, 16, 38, 25, 69, 14, 16, 31, 53, 28, 5, 35, 36, 57, 71, 33, 7, 49, 52, 70, 29, 10, 10,
    7, 16, 14, 8, 2, 9, 2, 6,
];

/// The letters that a bucket admits, and their share of all, at each place of a fingerprint.
#[derive(Clone, Copy)]
struct Bucket {
    letters: [u32; WIDTH],
    share: [u64; WIDTH],
}

impl Bucket {
    /// How much more text passes with a keyword in it.
    const fn cost(&self, keyword: &Keyword, offset: usize) -> u64 {
        let (mut before, mut after, mut place) = (1, 1, 0);
        while place < WIDTH {
            before *= self.share[place];
            after *= match letter(keyword, offset, place) {
                Some(letter) if self.letters[place] & (1 << letter) == 0 => {
                    self.share[place] + SHARE[letter]
                }
                Some(_) => self.share[place],
                None => 1000,
            };
            place += 1;
        }
        after - before
    }

    const fn with(mut self, keyword: &Keyword, offset: usize) -> Self {
        let mut place = 0;
        while place < WIDTH {
            match letter(keyword, offset, place) {
                Some(letter) => {
                    if self.letters[place] & (1 << letter) == 0 {
                        self.share[place] += SHARE[letter];
                    }
                    self.letters[place] |= 1 << letter;
                }
                None => self.share[place] = 1000,
            }
            place += 1;
        }
        self
    }
}

/// Each keyword with its fingerprint and in a bucket, those with the least choice first.
const fn placed(mut keywords: [Keyword; COUNT]) -> [Keyword; COUNT] {
    let empty = Bucket {
        letters: [0; WIDTH],
        share: [0; WIDTH],
    };
    let mut buckets = [empty; BUCKETS];
    let mut length = 1;
    let mut left = COUNT;
    while left > 0 {
        let mut at = 0;
        while at < COUNT {
            if keywords[at].text.len() == length {
                let mut least = u64::MAX;
                let mut bucket = 0;
                while bucket < BUCKETS {
                    let mut offset = 0;
                    while offset == 0 || offset + WIDTH <= length {
                        let cost = buckets[bucket].cost(&keywords[at], offset);
                        if cost < least {
                            least = cost;
                            keywords[at].offset = offset;
                            keywords[at].bucket = bucket;
                        }
                        offset += 1;
                    }
                    bucket += 1;
                }
                let bucket = keywords[at].bucket;
                buckets[bucket] = buckets[bucket].with(&keywords[at], keywords[at].offset);
                left -= 1;
            }
            at += 1;
        }
        length += 1;
    }
    keywords
}

const fn holds(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    let mut at = 0;
    while at + part.len() <= text.len() {
        let mut same = 0;
        while same < part.len() && text[at + same] == part[same] {
            same += 1;
        }
        if same == part.len() {
            return true;
        }
        at += 1;
    }
    false
}

/// The buckets that admit a character at each place of a fingerprint, by its lower four bits; those
/// of characters without and with the fifth.
#[cfg(target_arch = "x86_64")]
pub(super) static ADMITTED: [[[u8; 16]; 2]; WIDTH] = {
    let mut table = [[[0; 16]; 2]; WIDTH];
    let mut at = 0;
    while at < COUNT {
        let keyword = &KEYWORDS[at];
        let mut place = 0;
        while place < WIDTH {
            if let Some(letter) = letter(keyword, keyword.offset, place) {
                table[place][letter / 16][letter % 16] |= 1 << keyword.bucket;
            }
            place += 1;
        }
        at += 1;
    }
    table
};

/// The buckets that admit anything there, because they hold a keyword that ends before.
#[cfg(target_arch = "x86_64")]
pub(super) const ANYTHING: [u8; WIDTH] = {
    let mut table = [0; WIDTH];
    let mut at = 0;
    while at < COUNT {
        let keyword = &KEYWORDS[at];
        let mut place = keyword.text.len() - keyword.offset;
        while place < WIDTH {
            table[place] |= 1 << keyword.bucket;
            place += 1;
        }
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_keyword_of_its_type_or_a_better_one_is_not_decisive() {
        let indecisive = (0..COUNT).filter(|at| DECISIVE & (1 << at) == 0);
        let texts: Vec<_> = indecisive.map(|at| KEYWORDS[at].text).collect();
        assert_eq!(texts, ["system design", "pr review", "pull request review"]);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_bucket_admits_the_fingerprints_of_its_keywords() {
        for keyword in &KEYWORDS {
            for place in 0..WIDTH {
                let admitted = match letter(keyword, keyword.offset, place) {
                    Some(letter) => ADMITTED[place][letter / 16][letter % 16],
                    None => ANYTHING[place],
                };
                assert_ne!(admitted & (1 << keyword.bucket), 0, "{}", keyword.text);
            }
        }
    }
}
