//! Signal tables that somebody wrote by hand, or did not.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use timmy_dispatcher::infer::{Classifier, TableError};

use super::config;

const TABLE: &str = r#"# Words of ours.
default = "planning"

[[signal]]
type = "architecture"
keywords = ["blueprint", "übersicht", 'a "quoted" one']

[[signal]]
type = "triage"
keywords = [
    "sort out", # a comment
    "\u0041bc",
]
"#;

/// A table that is taken works; one that is refused says where.
fn check(text: &str) -> Result<(), TestCaseError> {
    match Classifier::from_toml(text) {
        Ok(classifier) => {
            let _ = classifier.infer(text, text);
            let _ = classifier.explain(text, "Sort out the blueprint");
        }
        Err(TableError::Toml {
            line,
            column,
            problem,
        }) => {
            prop_assert!(
                line >= 1 && line <= text.matches('\n').count() + 1,
                "{line}"
            );
            let longest = text.split('\n').map(|line| line.chars().count()).max();
            prop_assert!(
                column >= 1 && column <= longest.unwrap_or(0) + 1,
                "{column}"
            );
            prop_assert!(!problem.is_empty());
        }
        Err(other) => prop_assert!(!other.to_string().is_empty()),
    }
    Ok(())
}

fn pieces() -> impl Strategy<Value = &'static str> {
    select(vec![
        "[[signal]]",
        "[signal]",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "'''",
        "\"\"\"",
        "\\u{0}",
        "=",
        "type",
        "keywords",
        "default",
        "\n",
        "\r",
        "\0",
        "#",
        ",",
        "1e9999",
        "inf",
        "\u{feff}",
        "a.b.c = 1",
        "1979-05-27",
        "\"\"",
        "[[[[[[[[",
        "\\uD800",
        "é",
        "signal.keywords.x = []",
    ])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_taken_or_refused(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn pieces_of_a_table_are_taken_or_refused(pieces in vec(pieces(), 0..30)) {
        check(&pieces.concat())?;
    }

    #[test]
    fn a_damaged_table_is_taken_or_refused(
        damages in vec((any::<Index>(), any::<Index>(), pieces()), 1..4),
    ) {
        let mut text: Vec<char> = TABLE.chars().collect();
        for (from, length, piece) in damages {
            let from = from.index(text.len() + 1);
            let to = from + length.index(8).min(text.len() - from);
            text.splice(from..to, piece.chars());
        }
        check(&text.into_iter().collect::<String>())?;
    }
}

#[test]
fn the_table_itself_is_sound() {
    let classifier = Classifier::from_toml(TABLE).unwrap();
    assert_eq!(
        classifier.infer("Sort out Übersicht", "").as_str(),
        "architecture"
    );
    assert_eq!(classifier.infer("nothing of it", "").as_str(), "planning");
}

#[test]
fn depth_is_refused() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let deep = format!("x = {}{}", open.repeat(100_000), close.repeat(100_000));
        assert!(Classifier::from_toml(&deep).is_err());
        assert!(Classifier::from_toml(&format!("x = {}", open.repeat(100_000))).is_err());
    }
    assert!(Classifier::from_toml(&format!("{} = 1", vec!["a"; 100_000].join("."))).is_err());
}
