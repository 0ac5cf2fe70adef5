//! A request, read: its path, query and body in the lenient ways of a Go server.

use serde_json::{Map, Value};

use super::answer::Answer;
use super::clock;
use super::state::{GiteaVersion, Site};

/// What a handler may know of a request.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a str,
    /// Without the query, as received.
    pub(super) path: &'a str,
    /// With the query, as received.
    pub(super) target: &'a str,
    pub(super) query: Query,
    pub(super) authorization: Option<&'a str>,
    pub(super) content_type: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl<'a> Ask<'a> {
    pub(super) fn new(method: &'a str, target: &'a str, body: &'a [u8]) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method,
            path,
            target,
            query: Query::parse(query),
            authorization: None,
            content_type: None,
            body,
        }
    }

    /// The parts of the path, decoded. Empty ones are dropped: Gitea takes `//api/v1` too.
    pub(super) fn segments(&self) -> Vec<String> {
        self.path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| decoded(segment, false))
            .collect()
    }

    /// The body as a JSON object, or Gitea's 422.
    pub(super) fn object(&self, site: &Site) -> Result<Object, Answer> {
        let refuse = |why: &str| site.error(422, format!("[]: {why}"));
        match self.content_type {
            Some(kind) if kind.contains("json") => {}
            None | Some("") => return Err(refuse("Empty Content-Type")),
            Some(_) => return Err(refuse("Unsupported Content-Type")),
        }
        match serde_json::from_str(&readable(self.body)) {
            Ok(Value::Object(fields)) => Ok(Object { fields }),
            Ok(Value::Null) => Ok(Object { fields: Map::new() }),
            Ok(_) => Err(refuse("json: cannot unmarshal value into Go value")),
            Err(_) => Err(refuse(match site.version {
                GiteaVersion::V1_26 => "unexpected EOF",
                GiteaVersion::V1_25 => "expected comma after object element",
            })),
        }
    }

    /// A time in the query: absent, read, or Gitea's 422.
    pub(super) fn time(&self, site: &Site, name: &str) -> Result<Option<i64>, Answer> {
        match self.query.get(name) {
            None | Some("") => Ok(None),
            Some(text) => clock::parse_rfc3339(text).map(Some).ok_or_else(|| {
                site.error(
                    422,
                    format!("parsing time {text:?} as RFC 3339: cannot parse"),
                )
            }),
        }
    }
}

/// A JSON object whose fields are read with the types that Gitea expects.
#[derive(Debug)]
pub(super) struct Object {
    fields: Map<String, Value>,
}

impl Object {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, site: &Site, name: &str) -> Result<Option<&str>, Answer> {
        self.get(name)
            .map(|value| value.as_str().ok_or_else(|| mismatch(site, name, "string")))
            .transpose()
    }

    pub(super) fn flag(&self, site: &Site, name: &str) -> Result<Option<bool>, Answer> {
        self.get(name)
            .map(|value| value.as_bool().ok_or_else(|| mismatch(site, name, "bool")))
            .transpose()
    }

    pub(super) fn number(&self, site: &Site, name: &str) -> Result<Option<u64>, Answer> {
        self.get(name)
            .map(|value| value.as_u64().ok_or_else(|| mismatch(site, name, "int64")))
            .transpose()
    }

    /// A text that must be there and not be empty.
    pub(super) fn required(&self, site: &Site, name: &str) -> Result<&str, Answer> {
        self.text(site, name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| {
                let mut letters = name.chars();
                let first = letters.next().map(|c| c.to_ascii_uppercase());
                let field: String = first.into_iter().chain(letters).collect();
                site.error(422, format!("[{field}]: Required"))
            })
    }
}

fn mismatch(site: &Site, name: &str, wanted: &str) -> Answer {
    let why =
        format!("[]: json: cannot unmarshal value into Go struct field .{name} of type {wanted}");
    site.error(422, why)
}

/// Pairs in the order of the request.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name, true), decoded(value, true))
        });
        Self(pairs.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut pairs = self.0.clone();
        pairs.retain(|(known, _)| known != name);
        pairs.push((name.to_owned(), value.to_owned()));
        Self(pairs)
    }

    /// As Go's `url.Values.Encode`: sorted by name.
    pub(super) fn encoded(&self) -> String {
        let mut pairs = self.0.clone();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let pairs = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn decoded(text: &str, plus_is_blank: bool) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' if plus_is_blank => out.push(b' '),
            b'%' => match hexadecimal(tail.get(..2)).and_then(|code| u8::try_from(code).ok()) {
                Some(byte) => {
                    out.push(byte);
                    rest = tail.get(2..).unwrap_or_default();
                }
                None => out.push(b'%'),
            },
            other => out.push(*other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hexadecimal(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |value, digit| {
        Some(value * 16 + char::from(*digit).to_digit(16)?)
    })
}

/// Makes of a body what Go's decoder would read: bytes that are no UTF-8 and escapes of lone
/// surrogates become U+FFFD. `serde_json` refuses both.
fn readable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    // A backslash stands only inside strings, and each begins an escape, so this needs no parser.
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let code = |from: usize| {
            let marked = escape.get(from..from + 2) == Some("\\u");
            let digits = escape.as_bytes().get(from + 2..from + 6);
            marked.then(|| hexadecimal(digits)).flatten()
        };
        let length = match (code(0), code(6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                out.push_str("\\ufffd");
                rest = escape.get(6..).unwrap_or_default();
                continue;
            }
            (Some(_), _) => 6,
            // A backslash and the character behind it, however many bytes that has.
            (None, _) => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (escape, behind) = escape.split_at(length);
        out.push_str(escape);
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_become_replacement_characters_and_pairs_stay() {
        let read = |text: &str| serde_json::from_str::<String>(&readable(text.as_bytes())).unwrap();
        assert_eq!(
            read(r#""nul \u0000 lone \ud800 end""#),
            "nul \0 lone \u{fffd} end"
        );
        assert_eq!(read(r#""\ud83d\ude00""#), "😀");
        assert_eq!(read(r#""\ude00\ud83d""#), "\u{fffd}\u{fffd}");
        assert_eq!(read(r#""\ud83d\n\\ud800""#), "\u{fffd}\n\\ud800");
        assert_eq!(readable(b"\"\xff\""), "\"\u{fffd}\"");
        assert_eq!(readable(b"\\"), "\\");
        assert_eq!(readable("\\é\\ud8".as_bytes()), "\\é\\ud8");
    }

    #[test]
    fn a_query_is_decoded_and_sorted_when_written() {
        let query = Query::parse("state=all&since=2026-01-01T00%3A00%3A00%2B01:00&q=a+b&bad=%zz");
        assert_eq!(query.get("since"), Some("2026-01-01T00:00:00+01:00"));
        assert_eq!(query.get("q"), Some("a b"));
        assert_eq!(query.get("bad"), Some("%zz"));
        let written = query.with("page", "2").encoded();
        assert_eq!(
            written,
            "bad=%25zz&page=2&q=a+b&since=2026-01-01T00%3A00%3A00%2B01%3A00&state=all"
        );
    }
}
