//! What arrived, in order.

use std::collections::VecDeque;

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

/// So many requests are kept; a sandbox that serves for days must not grow for days.
const MAX_KEPT: usize = 50_000;

/// The last requests by arrival. Ids outlive a clearing, so that a late answer finds no wrong
/// entry; those of the entries kept follow each other without a gap.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<RecordedRequest>,
    last: u64,
    cleared: u64,
}

impl Log {
    pub(super) fn push(&mut self, request: RecordedRequest) -> u64 {
        if self.entries.len() >= MAX_KEPT {
            self.entries.pop_front();
        }
        self.last += 1;
        self.entries.push_back(request);
        self.last
    }

    pub(super) fn answered(&mut self, id: u64, status: u16) {
        let younger = usize::try_from(self.last - id).unwrap_or(usize::MAX);
        let place = self.entries.len().checked_sub(younger.saturating_add(1));
        if let Some(request) = place.and_then(|place| self.entries.get_mut(place)) {
            request.status = Some(status);
        }
    }

    /// How many arrived since the last clearing, kept or not.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.last - self.cleared).unwrap_or(usize::MAX)
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.cleared = self.last;
    }

    pub(super) fn all(&self) -> Vec<RecordedRequest> {
        self.entries.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: usize) -> RecordedRequest {
        RecordedRequest {
            method: "GET".to_owned(),
            path: path.to_string(),
            headers: Vec::new(),
            body: Vec::new(),
            status: None,
        }
    }

    #[test]
    fn the_oldest_are_forgotten_and_late_answers_find_their_own() {
        let mut log = Log::default();
        let ids: Vec<u64> = (0..MAX_KEPT + 3).map(|n| log.push(request(n))).collect();
        log.answered(ids[2], 500);
        log.answered(ids[3], 201);
        log.answered(ids[MAX_KEPT + 2], 202);
        let kept = log.all();
        assert_eq!((log.len(), kept.len()), (MAX_KEPT + 3, MAX_KEPT));
        assert_eq!((kept[0].path.as_str(), kept[0].status), ("3", Some(201)));
        assert_eq!(kept[MAX_KEPT - 1].status, Some(202));
        assert!(kept[1..MAX_KEPT - 1].iter().all(|r| r.status.is_none()));

        log.clear();
        log.answered(ids[MAX_KEPT + 2], 200);
        assert_eq!((log.len(), log.all().len()), (0, 0));
        log.push(request(0));
        log.answered(ids[MAX_KEPT + 2], 200);
        assert_eq!(log.all()[0].status, None);
    }
}
