//! Reading what a server sent over the native transport. Everything in it is hostile until parsed.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::Value;

use crate::dispatch::host::{IssueState, LabelPage};
use crate::http::Response;

/// A label of a list. Only of the one looked for must the id be a number.
#[derive(Deserialize)]
struct Label {
    #[serde(default)]
    name: Value,
    #[serde(default)]
    id: Value,
}

#[derive(Deserialize)]
struct WithId {
    #[serde(default)]
    id: Option<i64>,
}

#[derive(Deserialize)]
struct Issue {
    #[serde(default)]
    number: Option<i64>,
    #[serde(default)]
    state: Option<String>,
}

/// What is wrong with an answer, and where; not what stands there, which may be of any size.
pub(crate) fn unreadable(answer: &Response, error: &serde_json::Error) -> String {
    let said = error.to_string();
    let said = match (said.find('"'), said.rfind('"')) {
        (Some(from), Some(to)) if from < to => {
            let (before, after) = (said.get(..=from), said.get(to..));
            format!(
                "{}…{}",
                before.unwrap_or_default(),
                after.unwrap_or_default()
            )
        }
        _ => said,
    };
    let encoded = encoding(answer).unwrap_or_default();
    format!("the answer is not the JSON that was expected: {said}{encoded}")
}

/// That an answer is compressed, which it was not asked to be, and which is left as it is: a few
/// bytes may stand for gigabytes.
pub(crate) fn encoding(answer: &Response) -> Option<String> {
    let known = ["gzip", "br", "deflate", "zstd"];
    match answer.header("content-encoding")? {
        "identity" | "" => None,
        name if known.contains(&name) => Some(format!(" (it is compressed with {name}, unasked)")),
        _ => Some(" (it is encoded, unasked)".to_owned()),
    }
}

/// The ids of the labels of that name on one page.
pub(crate) fn labels_named(body: &[u8], name: &str) -> Result<LabelPage<i64>, serde_json::Error> {
    let labels: Option<Vec<Label>> = serde_json::from_slice(body)?;
    let labels = labels.unwrap_or_default();
    let is_it = |label: &&Label| label.name.as_str() == Some(name);
    let ids = labels.iter().filter(is_it).map(|label| {
        label
            .id
            .as_i64()
            .ok_or_else(|| serde_json::Error::custom(format!("label {name} has no id")))
    });
    Ok(LabelPage {
        ids: ids.collect::<Result<_, _>>()?,
        entries: labels.len() as u64,
        found_last: labels.last().as_ref().is_some_and(is_it),
    })
}

/// The `id` of a JSON object.
pub(crate) fn id(body: &[u8]) -> Result<Option<i64>, serde_json::Error> {
    object::<WithId>(body).map(|object| object.id)
}

/// A JSON object; a record made by serde would take an array for one.
fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => Err(serde_json::Error::custom("an array instead of an object")),
        _ => serde_json::from_slice(body),
    }
}

/// Whether the body is a JSON array, whatever is in it, without that label.
pub(crate) fn lacks_label(body: &[u8], id: i64) -> bool {
    let entries: Result<Vec<Value>, _> = serde_json::from_slice(body);
    let is_it = |entry: &Value| entry.get("id").and_then(Value::as_i64) == Some(id);
    entries.is_ok_and(|entries| !entries.iter().any(is_it))
}

/// The state of an issue. A number of 0 or a missing state is an internal error of the server.
pub(crate) fn issue_state(body: &[u8]) -> Result<IssueState, serde_json::Error> {
    let issue: Issue = object(body)?;
    Ok(match issue.state.as_deref() {
        _ if issue.number == Some(0) => IssueState::NoAnswer,
        None | Some("") => IssueState::NoAnswer,
        Some("closed") => IssueState::Closed,
        Some(_) => IssueState::Open,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zeroed_issue_is_no_answer() {
        let state = |body: &str| issue_state(body.as_bytes()).unwrap();
        assert!(matches!(
            state(r#"{"number":0,"state":"closed"}"#),
            IssueState::NoAnswer
        ));
        assert!(matches!(
            state(r#"{"number":3,"state":""}"#),
            IssueState::NoAnswer
        ));
        assert!(matches!(state(r#"{"state":"closed"}"#), IssueState::Closed));
        assert!(issue_state(b"[").is_err());
        assert!(issue_state(br#"[3,"closed"]"#).is_err());
        assert!(id(b"[7]").is_err());
    }

    #[test]
    fn only_an_array_can_lack_a_label() {
        assert!(lacks_label(b"[]", 7));
        assert!(lacks_label(br#"[{"id":8}]"#, 7));
        assert!(lacks_label(br#"[7,"7",null,[7],{"id":"7"}]"#, 7));
        assert!(!lacks_label(br#"[{"id":7}]"#, 7));
        assert!(!lacks_label(br#"[null,{"id":"x"},{"id":7}]"#, 7));
        assert!(!lacks_label(b"{}", 7));
    }

    #[test]
    fn an_error_does_not_repeat_the_answer() {
        let body = format!(r#"{{"id":"{}"}}"#, "s".repeat(1_000_000));
        assert_eq!(
            unreadable(&Response::default(), &id(body.as_bytes()).unwrap_err()),
            "the answer is not the JSON that was expected: invalid type: string \"…\", \
             expected i64 at line 1 column 1000008"
        );
    }

    #[test]
    fn only_the_label_looked_for_must_be_well_formed() {
        let ids = |body: &str| labels_named(body.as_bytes(), "x").map(|page| page.ids);
        assert_eq!(
            ids(r#"[{"name":5,"id":"a"},{},{"name":"x","id":7}]"#).unwrap(),
            [7]
        );
        assert!(ids(r#"[{"name":"x"}]"#).is_err());
    }

    #[test]
    fn hostile_nesting_is_an_error() {
        assert!(labels_named("[".repeat(100_000).as_bytes(), "x").is_err());
    }
}
