//! What the flow asks of its surroundings.
//!
//! There is one flow and two hosts: the native one ([`super::Swarm`]), and the Python one, which
//! goes through whatever names a caller replaced. The flow never looks into a [`Host::Value`]; it
//! carries it from where it was given to where it is shown.

use std::future::Future;
use std::time::Duration;

use super::retry::{self, Transient};
use super::settings::check_repo;
use crate::http::SendError;

/// So many characters of an error's answer are looked at.
const MAX_SCANNED: usize = 16_384;

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warning,
    Error,
}

/// An argument of a log line. The templates are printf-style, as Python's logging takes them.
pub(crate) enum Arg<'a, V> {
    Number(u64),
    Value(&'a V),
    /// What a server or an exception said, which may hold a secret.
    Said(&'a V),
}

/// Something the caller gave or a server answered, which the flow only carries.
pub(crate) trait Value: Clone + Send + Sync {
    /// As it is put into a URL or a sentence.
    fn text(&self) -> String;
    /// Whether it is text; what is not is carried as it is.
    fn is_text(&self) -> bool;
    /// As an integer, where it is one.
    fn integer(&self) -> Option<i64>;
}

/// Why a step failed.
#[derive(Debug, Clone)]
pub(crate) struct Cause<V> {
    /// For people; holds no secret.
    pub(crate) text: String,
    /// The exception or text to show in the log.
    pub(crate) shown: V,
    /// Whether, and after how long, it may pass by itself.
    pub(crate) transient: Option<Transient>,
}

/// A failed step, or an exception that leaves the flow.
pub(crate) enum Failure<V, E> {
    Failed(Cause<V>),
    Escaped(E),
}

impl<V, E> From<E> for Failure<V, E> {
    fn from(escaped: E) -> Self {
        Self::Escaped(escaped)
    }
}

/// A step's result: what it yields, why it failed, or what escaped.
pub(crate) type Step<T, H> = Result<Result<T, Cause<<H as Host>::Value>>, <H as Host>::Escape>;
pub(crate) type Fallible<T, H> = Result<T, Failure<<H as Host>::Value, <H as Host>::Escape>>;

/// What was read of an answer.
pub(crate) type Read<T, R> = Result<T, Failure<<R as Reply>::Value, <R as Reply>::Escape>>;

/// The labels of one page that bear the name looked for.
pub(crate) struct LabelPage<V> {
    pub(crate) ids: Vec<V>,
    pub(crate) entries: u64,
    pub(crate) found_last: bool,
}

/// What an issue says of itself; an empty answer is none.
pub(crate) enum IssueState {
    Closed,
    Open,
    NoAnswer,
}

/// An answer. Reading it can fail, as a body that is no JSON does.
pub(crate) trait Reply: Send + Sync {
    type Value: Value;
    type Escape;
    /// The status, where it is a number.
    fn status(&self) -> Option<u16>;
    /// The status as the log shows it.
    fn shown_status(&self) -> Self::Value;
    /// A header, where there is one and it is text.
    fn header(&self, name: &str) -> Option<String>;
    /// The text; at most `limit` characters.
    fn text(&self, limit: usize) -> Read<Self::Value, Self>;
    fn labels_named(&self, name: &Self::Value) -> Read<LabelPage<Self::Value>, Self>;
    fn id(&self) -> Read<Option<Self::Value>, Self>;
    /// Whether the body is a JSON array in which no label has that id.
    fn lacks_label(&self, id: &Self::Value) -> bool;
    fn issue_state(&self) -> Read<IssueState, Self>;

    /// Whether the status is a success of a write.
    fn created(&self) -> bool {
        matches!(self.status(), Some(200 | 201))
    }
}

/// What is posted to Gitea.
pub(crate) enum Body<'a, V> {
    NewLabel { name: &'a V, color: &'a V },
    AddLabel { id: &'a V },
    Comment { text: &'a V },
}

/// The two kinds of request that Gitea gets, with its headers already known.
pub(crate) trait GiteaClient<H: Host>: Send + Sync {
    fn get(&self, url: &str) -> impl Future<Output = Fallible<H::Reply, H>> + Send;
    fn post(
        &self,
        url: &str,
        body: Body<'_, H::Value>,
    ) -> impl Future<Output = Fallible<H::Reply, H>> + Send;
}

/// Logging, time and the value types.
pub(crate) trait Host: Send + Sync {
    type Value: Value;
    type Escape: Send;
    type Reply: Reply<Value = Self::Value, Escape = Self::Escape>;

    fn log(
        &self,
        level: Level,
        template: &'static str,
        args: &[Arg<'_, Self::Value>],
    ) -> Result<(), Self::Escape>;
    fn sleep(&self, duration: Duration) -> impl Future<Output = Result<(), Self::Escape>> + Send;
    /// Waits for a future of the core.
    fn wait<F>(&self, future: F) -> impl Future<Output = Result<F::Output, Self::Escape>> + Send
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;
    /// A value made of text.
    fn value(&self, text: &str) -> Self::Value;
    /// A value made of a number.
    fn number(&self, number: i64) -> Self::Value;
    /// The text without anything secret.
    fn redact(&self, text: &str) -> String;

    /// The value, or its text without anything secret.
    fn cleaned(&self, value: &Self::Value) -> Self::Value {
        if value.integer().is_some() {
            return value.clone();
        }
        let text = value.text();
        let clean = self.redact(&text);
        if clean == text {
            value.clone()
        } else {
            self.value(&clean)
        }
    }

    /// The beginning of an answer's text, at most `limit` characters, without anything secret: it
    /// is cut last, or half a token would be left at its end.
    fn excerpt(&self, reply: &Self::Reply, limit: usize) -> Read<Self::Value, Self::Reply> {
        let text = reply.text(MAX_SCANNED)?.text();
        let clean = self.redact(&text);
        if clean == text {
            reply.text(limit)
        } else {
            Ok(self.value(&clean.chars().take(limit).collect::<String>()))
        }
    }

    /// The cause that stands for a request without an answer.
    fn send_error(&self, error: &SendError) -> Cause<Self::Value> {
        let text = self.redact(&error.to_string());
        Cause {
            shown: self.value(&text),
            transient: error.is_transient().then(Transient::default),
            text,
        }
    }

    /// A cause that is only a sentence.
    fn cause(&self, text: &str) -> Cause<Self::Value> {
        let text = self.redact(text);
        Cause {
            shown: self.value(&text),
            text,
            transient: None,
        }
    }

    /// The cause that stands for an answer without success; `subject` is what was asked about.
    fn refusal(&self, reply: &Self::Reply, subject: &str) -> Cause<Self::Value> {
        let Some(status) = reply.status() else {
            return self.cause("an answer without a status");
        };
        let said = reply.text(MAX_SCANNED).map_or_else(
            |_| String::new(),
            |text| message_of(&text.text(), |text| self.redact(text)),
        );
        let with = |what: &str| {
            if said.is_empty() {
                format!("{status} {what}")
            } else {
                format!("{status} {what}: {said}")
            }
        };
        let text = match status {
            300..=399 => match reply.header("location").as_deref().and_then(destination) {
                Some(place) => format!("{status} moved to {place}"),
                None => format!("{status} redirect, which is not followed: check GITEA_URL"),
            },
            401 => with("unauthorized, check GITEA_TOKEN"),
            403 => match required_scope(&said) {
                Some(scope) => format!("403 forbidden: required scope {scope}"),
                None => with("forbidden"),
            },
            404 => format!("404 not found: {subject}"),
            423 => with("locked"),
            429 => with("too many requests"),
            200..=299 => format!("{status} without what was asked for: {subject}"),
            500 if said.is_empty() => format!(
                "500 of the server, which also means that there is no such issue: {subject}"
            ),
            500 if said.starts_with(NO_ISSUE) => format!("500 issue does not exist: {subject}"),
            _ => with("refused"),
        };
        let mut cause = self.cause(&text);
        if retry::is_transient(status) && !said.starts_with(NO_ISSUE) {
            let retry_after = reply
                .header("retry-after")
                .as_deref()
                .and_then(retry::parse_retry_after);
            cause.transient = Some(Transient { retry_after });
        }
        cause
    }
}

/// What an administrator is told with the 500 for an issue that is not there.
const NO_ISSUE: &str = "issue does not exist";

/// Gitea's message in an error's JSON body, on one line, else nothing; at most 200 characters.
fn message_of(body: &str, redact: impl Fn(&str) -> String) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = parsed
        .as_ref()
        .and_then(|v| v.get("message"))
        .and_then(|m| m.as_str());
    let words: Vec<_> = message.unwrap_or_default().split_whitespace().collect();
    // Cut after redacting: half a token is one that is not found.
    redact(&words.join(" ")).chars().take(200).collect()
}

/// The scope that a 403 says is missing: `… required=[write:issue], token scope=…`.
fn required_scope(message: &str) -> Option<&str> {
    let after = message.split_once("required=[")?.1;
    Some(after.split_once(']')?.0)
}

/// Where a Location leads: `owner/name` below `/repos/`, with the server's address where it says
/// one (a relative one is the same server's).
fn destination(location: &str) -> Option<String> {
    let server = reqwest::Url::parse(location)
        .ok()
        .map(|url| url.origin().ascii_serialization());
    let repo = location.split_once("/repos/").and_then(|(_, rest)| {
        let mut parts = rest.split(['/', '?', '#']);
        let repo = format!("{}/{}", parts.next()?, parts.next()?);
        check_repo(&repo).is_ok().then_some(repo)
    });
    match (repo, server) {
        (Some(repo), Some(server)) => Some(format!("{repo} at {server}: check GITEA_URL")),
        (Some(repo), None) => Some(repo),
        (None, Some(server)) => Some(format!("{server}: check GITEA_URL")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_names_the_repo_and_another_server() {
        let to = |location| destination(location).unwrap_or_default();
        assert_eq!(to("/api/v1/repos/o/new/labels?page=2"), "o/new");
        assert_eq!(to("/sub/api/v1/repos/o/new"), "o/new");
        assert_eq!(
            to("https://me:pw@git.example/api/v1/repos/o/r/labels"),
            "o/r at https://git.example: check GITEA_URL"
        );
        assert_eq!(to("http://h:1/login"), "http://h:1: check GITEA_URL");
        assert_eq!(to("/user/login"), "");
        assert_eq!(to("/repos/<b>/x"), "");
    }

    #[test]
    fn a_message_is_one_line_of_200_characters() {
        assert_eq!(message_of(r#"{"message":"a\n b"}"#, str::to_owned), "a b");
        let long = format!(r#"{{"message":"{}"}}"#, "\u{e9}".repeat(300));
        assert_eq!(message_of(&long, str::to_owned).chars().count(), 200);
        assert_eq!(message_of("<html>", str::to_owned), "");
        assert_eq!(message_of(r#"{"message":7}"#, str::to_owned), "");
    }
}
