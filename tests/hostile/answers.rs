//! Answers: those of a real server, and what becomes of them on a bad day.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use timmy_dispatcher::http::Response;

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const LABEL: &str = "claude-ready";

fn document() -> impl Strategy<Value = Value> {
    let label = |id: i64, name: &str| {
        json!({"id": id, "name": name, "exclusive": false, "is_archived": false,
            "color": "0075ca", "description": "", "url": format!("http://git.example/{id}")})
    };
    let user = json!({"id": 1, "login": "timmy", "full_name": "", "email": "t@git.example"});
    let scopes = "token does not have at least one of required scope(s), required=[write:issue], \
                  token scope=read:issue";
    select(vec![
        json!([]),
        json!([label(3, "bug"), label(7, LABEL), label(9, LABEL)]),
        json!((1..=30).map(|id| label(id, "aaa")).collect::<Vec<_>>()),
        label(7, LABEL),
        json!({"id": 5, "number": 3, "user": user, "title": "Design it", "body": "",
            "labels": [label(7, LABEL)], "state": "closed", "comments": 1, "closed_at": null}),
        json!({"id": 11, "user": user, "body": "## Assigned", "issue_url": "http://git.example"}),
        json!({"number": 0, "state": "", "title": "", "labels": null}),
        json!({"message": scopes, "url": "http://git.example/api/swagger"}),
        json!({"errors": null, "message": "not found", "url": "http://git.example/api/swagger"}),
        json!({"message": format!("bad header: token {TOKEN}"), "url": ""}),
        json!({"status": "accepted", "task": 4}),
    ])
}

/// A value that may stand where another stood.
fn stranger() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        select(vec![0, 1, 7, -7, i64::MAX, i64::MIN]).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(u64::MAX)),
        ".{0,12}".prop_map(Value::from),
        select(vec![LABEL, "closed", "open", "", TOKEN]).prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[{"id": [7], "name": {"id": 7}}]])),
        (1_usize..300).prop_map(|depth| (0..depth).fold(json!(7), |inner, _| json!([inner]))),
    ]
}

/// Puts a value at the place in the document that is reached by these steps.
fn put(document: &mut Value, steps: &[Index], value: Value) {
    let inner: Vec<&mut Value> = match document {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => Vec::new(),
    };
    match steps.split_first() {
        Some((step, rest)) if !inner.is_empty() => {
            let place = step.index(inner.len());
            put(inner.into_iter().nth(place).unwrap(), rest, value);
        }
        _ => *document = value,
    }
}

/// Something that happens to the bytes.
#[derive(Debug, Clone)]
enum Damage {
    Cut(Index),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Repeat(Index, Index),
}

impl Damage {
    fn strategy() -> impl Strategy<Value = Self> {
        let pieces = vec![
            &b"\""[..],
            b"\\",
            b"\\ud800",
            b"\0",
            b"\xff",
            b"\xef\xbb\xbf",
            b"NaN",
            b"1e999",
            b"99999999999999999999",
            b"{\"id\":7}",
            b"[[[[[[",
            b",",
        ];
        prop_oneof![
            any::<Index>().prop_map(Self::Cut),
            (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Self::Flip(at, byte)),
            (any::<Index>(), select(pieces)).prop_map(|(at, p)| Self::Insert(at, p.to_vec())),
            (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Self::Repeat(from, to)),
        ]
    }

    fn befall(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len() + 1;
        match self {
            Self::Cut(at) => bytes.truncate(at.index(length)),
            Self::Flip(at, with) if !bytes.is_empty() => bytes[at.index(length - 1)] ^= with,
            Self::Flip(..) => {}
            Self::Insert(at, piece) => {
                let at = at.index(length);
                bytes.splice(at..at, piece.iter().copied());
            }
            Self::Repeat(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let piece = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.extend(piece);
            }
        }
    }
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let changed = (
        document(),
        vec((vec(any::<Index>(), 0..4), stranger()), 0..3),
    )
        .prop_map(|(mut document, changes)| {
            for (steps, value) in changes {
                put(&mut document, &steps, value);
            }
            document.to_string().into_bytes()
        });
    let damaged = (changed, vec(Damage::strategy(), 0..3)).prop_map(|(mut bytes, damages)| {
        for damage in damages {
            damage.befall(&mut bytes);
        }
        bytes
    });
    prop_oneof![8 => damaged, 1 => vec(any::<u8>(), 0..200), 1 => Just(Vec::new())]
}

fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let count = prop_oneof![
        any::<i64>().prop_map(|count| count.to_string()),
        (0_u32..200).prop_map(|count| count.to_string()),
        ".{0,8}",
    ];
    let later = prop_oneof![
        any::<i64>().prop_map(|seconds| seconds.to_string()),
        (0_u32..200).prop_map(|seconds| seconds.to_string()),
        Just("Fri, 31 Dec 9999 23:59:59 GMT".to_owned()),
        Just("Thu, 01 Jan 1970 00:00:00 GMT".to_owned()),
        Just("99999999999999999999999".to_owned()),
        ".{0,30}",
    ];
    let place = prop_oneof![
        Just("/api/v1/repos/timmy/renamed/labels".to_owned()),
        Just(format!("http://elsewhere.example/repos/{TOKEN}/x")),
        "(/repos/){0,2}.{0,20}",
    ];
    let one = prop_oneof![
        count.prop_map(|value| ("x-total-count".to_owned(), value)),
        later.prop_map(|value| ("retry-after".to_owned(), value)),
        place.prop_map(|value| ("location".to_owned(), value)),
        ".{0,12}".prop_map(|value| ("content-encoding".to_owned(), value)),
    ];
    vec(one, 0..4)
}

/// Any answer, likely one that almost is right.
pub(crate) fn answer() -> impl Strategy<Value = Response> {
    let known = vec![
        200, 200, 201, 201, 202, 301, 307, 401, 403, 404, 410, 423, 429, 500, 503,
    ];
    let status = prop_oneof![4 => select(known), 1 => any::<u16>()];
    (status, headers(), body()).prop_map(|(status, headers, body)| Response {
        status,
        headers,
        body,
    })
}
