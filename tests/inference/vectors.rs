//! The golden vectors; `tests/vectors/generate.py` says what is in them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};
use timmy_dispatcher::infer::{
    Classifier, Field, Unit, explain_task_type, infer_task_type, portable,
};

/// A string that may hold lone surrogates, each read as U+FFFD.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                let mut bytes = bytes.to_vec();
                // serde_json leaves a lone surrogate as ED A0..BF xx, which no UTF-8 holds.
                for at in 0..bytes.len() {
                    if matches!(bytes.get(at..at + 3), Some([0xED, 0xA0..=0xBF, _])) {
                        bytes[at..at + 3].copy_from_slice("\u{FFFD}".as_bytes());
                    }
                }
                Ok(Text(String::from_utf8(bytes).unwrap()))
            }
        }
        // Only bytes may hold lone surrogates.
        deserializer.deserialize_bytes(Bytes)
    }
}

fn lines(file: &str) -> Vec<String> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn inference_answers_as_the_vectors_say() {
    let lines = lines("inference.jsonl");
    assert!(lines.len() >= 20_000);
    let built_in = Classifier::built_in();
    for line in lines {
        let (title, description, expected): (Text, Text, String) =
            serde_json::from_str(&line).unwrap();
        let inferred = infer_task_type(&title.0, &description.0);
        assert_eq!(inferred.as_str(), expected, "{line}");
        let portable = portable::infer_task_type(&title.0, &description.0);
        assert_eq!(portable, inferred, "{line}");
        assert_eq!(built_in.infer(&title.0, &description.0), inferred, "{line}");
    }
}

/// Field, start and end in code points, start and end in UTF-16 units.
type SpanVector = (String, usize, usize, usize, usize);
type MatchVector = (String, String, Vec<SpanVector>);

#[test]
fn the_evidence_is_what_the_vectors_say() {
    let lines = lines("explanation.jsonl");
    assert!(lines.len() >= 2_000);
    let built_in = Classifier::built_in();
    for line in lines {
        let (title, description, task_type, agent, expected): (
            Text,
            Text,
            String,
            String,
            Vec<MatchVector>,
        ) = serde_json::from_str(&line).unwrap();
        let (title, description) = (title.0, description.0);
        let explanation = explain_task_type(&title, &description);
        assert_eq!(explanation.task_type.as_str(), task_type, "{line}");
        assert_eq!(explanation.agent.as_str(), agent, "{line}");
        let found: Vec<MatchVector> = explanation
            .matches
            .iter()
            .map(|found| {
                let spans = found.spans.iter().map(|span| {
                    let text = match span.field {
                        Field::Title => &title,
                        Field::Description => &description,
                    };
                    let points = span.in_unit(text, Unit::CodePoints);
                    let units = span.in_unit(text, Unit::Utf16);
                    let field = span.field.as_str().to_owned();
                    (field, points.start, points.end, units.start, units.end)
                });
                let keyword = found.keyword.clone();
                (
                    keyword,
                    found.task_type.as_str().to_owned(),
                    spans.collect(),
                )
            })
            .collect();
        assert_eq!(found, expected, "{line}");
        let portable = portable::explain_task_type(&title, &description);
        assert_eq!(portable, explanation, "{line}");
        assert_eq!(
            built_in.explain(&title, &description),
            explanation,
            "{line}"
        );
    }
}
