//! Random texts against the specification of inference, with the vector search and without:
//!
//! ```console
//! $ cargo test --release --test inference_fuzz -- --texts 100000000 --seed 7
//! ```
//!
//! A text depends on the seed and its number only. Without arguments, a short run with a new seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use timmy_dispatcher::infer::{SIGNALS, explain_task_type, infer_task_type, portable};
use timmy_dispatcher::task::TaskType;

/// Texts that a thread takes at once.
const BATCH: u64 = 10_000;

fn main() {
    let texts = argument("--texts").unwrap_or(50_000);
    let seed = argument("--seed").unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("{texts} random texts, --seed {seed}");
    let begin = Instant::now();
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let counts = thread::scope(|scope| {
        let run = || run(seed, texts, &next);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let mut counts = BTreeMap::new();
        for thread in threads {
            for (task_type, count) in thread.join().expect("a mismatch") {
                *counts.entry(task_type).or_insert(0) += count;
            }
        }
        counts
    });
    for (task_type, count) in &counts {
        println!("{count:>12} {task_type}");
    }
    assert_eq!(counts.values().sum::<u64>(), texts);
    println!("0 mismatches in {:.0} s", begin.elapsed().as_secs_f64());
}

fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    let value = arguments.nth(1)?;
    Some(value.parse().expect("a number"))
}

fn run(seed: u64, texts: u64, next: &AtomicU64) -> BTreeMap<TaskType, u64> {
    let mut counts = BTreeMap::new();
    loop {
        let first = next.fetch_add(BATCH, Ordering::Relaxed);
        if first >= texts {
            return counts;
        }
        if first > 0 && first.is_multiple_of(10_000_000) {
            println!("{first} texts");
        }
        for number in first..(first + BATCH).min(texts) {
            let task_type = check(seed, number);
            *counts.entry(task_type).or_default() += 1;
        }
    }
}

fn check(seed: u64, number: u64) -> TaskType {
    let mut random = Random(seed ^ number.wrapping_mul(0xD129_0DDB_53C4_3E49));
    let (title, description) = (random.text(4), random.text(8));
    let (title, description) = (title.as_str(), description.as_str());

    let lowered = format!("{title} {description}").to_lowercase();
    let stands = |keyword: &&str| lowered.contains(*keyword);
    let signal = SIGNALS
        .iter()
        .find(|(_, keywords)| keywords.iter().any(stands));
    let expected = signal.map_or(TaskType::RoutineCoding, |(task_type, _)| *task_type);

    let text = format!("text {number} of --seed {seed}: {title:?}, {description:?}");
    assert_eq!(infer_task_type(title, description), expected, "{text}");
    assert_eq!(
        portable::infer_task_type(title, description),
        expected,
        "{text}"
    );
    if number.is_multiple_of(16) {
        let explanation = explain_task_type(title, description);
        let without = portable::explain_task_type(title, description);
        assert_eq!(explanation, without, "{text}");
        assert_eq!(explanation.task_type, expected, "{text}");
        let count = |keyword: &&str| {
            let places = lowered.char_indices();
            places
                .filter(|(at, _)| lowered[*at..].starts_with(*keyword))
                .count()
        };
        let keywords = SIGNALS.iter().flat_map(|(_, keywords)| *keywords);
        let expected: usize = keywords.map(count).sum();
        assert_eq!(explanation.matches.len(), expected, "{text}");
    }
    expected
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn choice<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Up to so many pieces.
    fn text(&mut self, pieces: usize) -> String {
        let mut text = String::new();
        for _ in 0..self.below(pieces + 1) {
            self.piece(&mut text);
        }
        text
    }

    fn piece(&mut self, text: &mut String) {
        let (_, keywords) = self.choice(SIGNALS);
        let keyword = self.choice(keywords);
        let begin = text.len();
        match self.below(16) {
            0 => text.push_str(keyword),
            1..=4 => text.push_str(&keyword[self.below(keyword.len())..]),
            5..=8 => text.push_str(&keyword[..=self.below(keyword.len())]),
            9 => {
                let at = self.below(keyword.len());
                text.push_str(&keyword[..at]);
                text.push(self.stranger());
                text.push_str(&keyword[at + self.below(2)..]);
            }
            10 => text.push(self.stranger()),
            11 => text.extend(std::iter::repeat_n('x', self.below(80))),
            12 => text.extend(char::from_u32(self.below(0x11_0000) as u32)),
            _ => {
                for _ in 0..self.below(12) {
                    text.push(self.choice(b"abcdefghijklmnopqrstuvwxyz ").into());
                }
            }
        }
        if self.below(4) == 0 {
            let piece = text.split_off(begin);
            text.extend(piece.chars().map(|character| match self.below(2) {
                0 => character.to_ascii_uppercase(),
                _ => character,
            }));
        }
    }

    /// What may be taken for a letter or a blank, lowers into one, or shares bytes with such.
    fn stranger(&mut self) -> char {
        self.choice(&[
            '\u{130}', '\u{212A}', '\u{307}', 'ı', 'ſ', 'İ', 'Ĳ', '™', 'ℂ', 'а', 'é', '漢', '🦀',
            '\0', '\r', '!', ',', '-', '`', '@', '{', '\u{7F}', '\u{A0}', '\n', '\t', ' ',
        ])
    }
}
