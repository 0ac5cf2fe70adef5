//! Inference against a specification of a few lines, on texts that are likely to tell them apart.

use std::hash::{BuildHasher, RandomState};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use timmy_dispatcher::infer::{
    Classifier, Explanation, Field, SIGNALS, Span, Unit, explain_task_type, infer_task_type,
    portable,
};
use timmy_dispatcher::task::TaskType;

/// A seed of its own for each run, printed where the test fails.
fn config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig::with_cases(cases);
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(RandomState::new().hash_one(0));
    }
    if let RngSeed::Fixed(seed) = config.rng_seed {
        eprintln!("to repeat: PROPTEST_RNG_SEED={seed}");
    }
    config.failure_persistence = None;
    config
}

type Table = Vec<(TaskType, Vec<String>)>;

fn built_in() -> Table {
    let owned = |keywords: &[&str]| keywords.iter().map(|&keyword| keyword.to_owned()).collect();
    SIGNALS
        .iter()
        .map(|&(of, keywords)| (of, owned(keywords)))
        .collect()
}

/// The specification.
fn specified(table: &Table, default: TaskType, title: &str, description: &str) -> TaskType {
    let text = format!("{title} {description}").to_lowercase();
    for (task_type, keywords) in table {
        if keywords
            .iter()
            .any(|keyword| text.contains(&keyword.to_lowercase()))
        {
            return *task_type;
        }
    }
    default
}

/// Words, parts of words, and what is between them.
fn text(words: Vec<String>, letters: &'static str) -> impl Strategy<Value = String> {
    let whole = select(words.clone());
    let part = (select(words), 0.0..1.0, 0.0..1.0).prop_map(|(word, from, to): (_, f64, f64)| {
        let places: Vec<char> = word.chars().collect();
        let length = places.len() as f64;
        let (from, to) = ((from * length) as usize, (to * length) as usize + 1);
        places
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .collect::<String>()
    });
    let letter = select(letters.chars().collect::<Vec<_>>()).prop_map(String::from);
    let piece = prop_oneof![
        3 => whole,
        3 => part,
        2 => letter,
        1 => any::<char>().prop_map(String::from),
        1 => (0_usize..70).prop_map(|length| "x".repeat(length)),
    ];
    let cased = (piece, 0_u8..4).prop_map(|(piece, case)| match case {
        0 => piece.to_uppercase(),
        _ => piece,
    });
    prop::collection::vec(cased, 0..12).prop_map(|pieces| pieces.concat())
}

fn built_in_text() -> impl Strategy<Value = String> {
    let words = built_in()
        .into_iter()
        .flat_map(|(_, keywords)| keywords)
        .collect();
    text(
        words,
        "  \n\t-kKiI\u{130}\u{212A}\u{307}ıſ\u{FFFD}é漢🦀\u{84}\u{B0}ĄĲ⅋℀",
    )
}

/// Words in which the case of a letter depends on its place, or changes their length.
const UNICODE_WORDS: &[&str] = &[
    "ÜBER", "σας", "ΣΑΣ", "σασ", "ς", "Σ", "İ", "i\u{307}", "\u{307}", "ß", "ẞ", "STRASSE", "ǆ",
    "ǅ", "Kelvin", "kelvin", "ﬁ", "Ꭰ", "ꭰ", "🦀", "a b", "the end", "Ω", "å",
];

fn unicode_text() -> impl Strategy<Value = String> {
    let words = UNICODE_WORDS.iter().map(|&word| word.to_owned()).collect();
    text(
        words,
        "  .'\u{AD}\u{345}\u{301}ΣσςİIi\u{307}KAa1\u{130}\u{2126}ȺⱥꞋ",
    )
}

fn table() -> impl Strategy<Value = Table> {
    let keyword = prop_oneof![
        3 => select(UNICODE_WORDS.to_vec()).prop_map(str::to_owned),
        1 => unicode_text(),
    ]
    .prop_filter("keywords are not empty", |keyword| !keyword.is_empty());
    let keywords = prop::collection::vec(keyword, 1..4);
    prop::collection::vec((select(TaskType::ALL), keywords), 0..4)
}

/// Every keyword at every place, and nothing else, each with the part of the text it stands for.
fn check_evidence(
    table: &Table,
    explanation: &Explanation,
    title: &str,
    description: &str,
) -> Result<(), TestCaseError> {
    let mut order = Vec::new();
    for found in &explanation.matches {
        let covered: Vec<&str> = found
            .spans
            .iter()
            .map(|span| {
                let text = field(span, title, description);
                assert!(span.start < span.end);
                for (unit, count) in [
                    (Unit::CodePoints, text[..span.start].chars().count()),
                    (Unit::Utf16, text[..span.start].encode_utf16().count()),
                ] {
                    assert_eq!(span.in_unit(text, unit).start, count);
                }
                &text[span.start..span.end]
            })
            .collect();
        // A sigma's form is that which it has within the whole text.
        let one_sigma = |text: &str| text.to_lowercase().replace('ς', "σ");
        let (covered, keyword) = (one_sigma(&covered.join(" ")), one_sigma(&found.keyword));
        // The first and the last character may lower into more than the keyword holds of them,
        // and the blank between the fields may be an end of the keyword.
        let covered = format!(" {covered} ");
        prop_assert!(covered.contains(&keyword), "{covered:?} {keyword:?}");
        prop_assert!(
            covered.len() <= keyword.len() + 2 + 4,
            "{covered:?} {keyword:?}"
        );
        order.push(found.spans.first().map(|span| (span.field, span.start)));
    }
    prop_assert!(order.iter().flatten().is_sorted());

    let lowered = format!("{title} {description}").to_lowercase();
    let mut expected = 0;
    for keyword in table.iter().flat_map(|(_, keywords)| keywords) {
        let keyword = keyword.to_lowercase();
        expected += lowered
            .char_indices()
            .filter(|(at, _)| lowered[*at..].starts_with(&keyword))
            .count();
    }
    prop_assert_eq!(explanation.matches.len(), expected);
    Ok(())
}

fn field<'a>(span: &Span, title: &'a str, description: &'a str) -> &'a str {
    match span.field {
        Field::Title => title,
        Field::Description => description,
    }
}

proptest! {
    #![proptest_config(config(4_000))]

    #[test]
    fn the_built_in_table_answers_as_specified(
        title in built_in_text(),
        description in built_in_text(),
    ) {
        let (table, default) = (built_in(), TaskType::RoutineCoding);
        let expected = specified(&table, default, &title, &description);
        prop_assert_eq!(infer_task_type(&title, &description), expected);
        let explanation = explain_task_type(&title, &description);
        prop_assert_eq!(explanation.task_type, expected);
        check_evidence(&table, &explanation, &title, &description)?;
        prop_assert_eq!(portable::infer_task_type(&title, &description), expected);
        prop_assert_eq!(&portable::explain_task_type(&title, &description), &explanation);
        let classifier = Classifier::built_in();
        prop_assert_eq!(classifier.infer(&title, &description), expected);
        prop_assert_eq!(classifier.explain(&title, &description), explanation);
    }

    #[test]
    fn any_table_answers_as_specified(
        table in table(),
        title in unicode_text(),
        description in unicode_text(),
    ) {
        let classifier = Classifier::new(table.clone(), TaskType::Triage).unwrap();
        let expected = specified(&table, TaskType::Triage, &title, &description);
        prop_assert_eq!(classifier.infer(&title, &description), expected);
        let explanation = classifier.explain(&title, &description);
        prop_assert_eq!(explanation.task_type, expected);
        check_evidence(&table, &explanation, &title, &description)?;
    }
}
