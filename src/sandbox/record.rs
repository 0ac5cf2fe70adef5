//! What arrived, in order.

use serde_json::Value;

/// A request as it arrived, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path with the query, as sent.
    pub path: String,
    /// Names and values in the order and letter case in which they were sent.
    ///
    /// Requests sent ahead of the answer to an earlier one (pipelined) have their names in lower
    /// case.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// The status that was answered; `None` while there is no answer, for ever where the
    /// connection was dropped.
    pub status: Option<u16>,
}

impl RecordedRequest {
    /// The first header of that name, in any letter case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON, where it is that.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// Requests by arrival. Ids outlive a clearing, so that a late answer finds no wrong entry.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Vec<(u64, RecordedRequest)>,
    last: u64,
}

impl Log {
    pub(super) fn push(&mut self, request: RecordedRequest) -> u64 {
        self.last += 1;
        self.entries.push((self.last, request));
        self.last
    }

    pub(super) fn answered(&mut self, id: u64, status: u16) {
        let entry = self.entries.iter_mut().find(|(known, _)| *known == id);
        if let Some((_, request)) = entry {
            request.status = Some(status);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn all(&self) -> Vec<RecordedRequest> {
        self.entries
            .iter()
            .map(|(_, request)| request.clone())
            .collect()
    }
}
