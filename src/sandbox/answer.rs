//! An answer before it goes on the wire, and the shapes that Gitea gives to its errors.

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::ask::Query;
use super::state::Site;

/// The content type of Gitea's JSON, without a blank as Gitea writes it.
pub(super) const JSON: &str = "application/json;charset=utf-8";

/// Either way it is an answer; the `Err` side lets a handler leave early with `?`.
pub(super) type Handled = Result<Answer, Answer>;

#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        // Go's encoder ends every document with a newline.
        let text = format!("{body}\n");
        Self::raw(status, JSON, text.into_bytes())
    }

    pub(super) fn raw(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
            body: body.into(),
        }
    }

    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.set(name, value.to_string());
        self
    }

    pub(super) fn set(&mut self, name: &str, value: String) {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value));
    }
}

impl Site {
    /// `{"message", "url"}`, as for every error but 404.
    pub(super) fn error(&self, status: u16, message: impl Into<String>) -> Answer {
        let url = format!("{}/api/swagger", self.url);
        Answer::json(status, &json!({"message": message.into(), "url": url}))
    }

    pub(super) fn not_found(&self) -> Answer {
        let url = format!("{}/api/swagger", self.url);
        Answer::json(
            404,
            &json!({"errors": null, "message": "not found", "url": url}),
        )
    }
}

const DEFAULT_PAGE_SIZE: usize = 30;
const MOST_PER_PAGE: usize = 50;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub(super) number: usize,
    pub(super) size: usize,
}

impl Page {
    /// A `limit` above the most is clamped without a word, and 0 or nonsense is the default.
    pub(super) fn asked(query: &Query) -> Self {
        let number = |name| query.get(name).and_then(|text| text.parse::<usize>().ok());
        Self {
            number: number("page").unwrap_or(1).max(1),
            size: match number("limit") {
                None | Some(0) => DEFAULT_PAGE_SIZE,
                Some(limit) => limit.min(MOST_PER_PAGE),
            },
        }
    }

    pub(super) fn of<T>(self, all: impl IntoIterator<Item = T>) -> Vec<T> {
        let before = (self.number - 1).saturating_mul(self.size);
        all.into_iter().skip(before).take(self.size).collect()
    }

    /// A page of a list with its total and its links.
    pub(super) fn listed(self, url: &str, query: &Query, page: Vec<Value>, total: usize) -> Answer {
        let answer = Answer::json(200, &page.into()).with("X-Total-Count", total);
        match self.link(url, query, total) {
            Some(link) => answer.with("Link", link),
            None => answer,
        }
    }

    /// The `Link` header: relations in Gitea's order, the query's keys sorted; none for one page.
    ///
    /// A page behind the last is taken for the last, so its `prev` is the last but one.
    pub(super) fn link(self, url: &str, query: &Query, total: usize) -> Option<String> {
        let last = total.div_ceil(self.size).max(1);
        let current = self.number.min(last);
        let mut links = Vec::new();
        let mut link = |number: usize, relation| {
            let query = query.with("page", &number.to_string()).encoded();
            links.push(format!("<{url}?{query}>; rel=\"{relation}\""));
        };
        if current < last {
            link(current + 1, "next");
            link(last, "last");
        }
        if current > 1 {
            link(1, "first");
            link(current - 1, "prev");
        }
        (!links.is_empty()).then(|| links.join(","))
    }
}
