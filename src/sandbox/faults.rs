//! Faults on order: which requests they meet, and what they do to them.

use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};

use super::SandboxError;
use super::answer::Answer;
use super::issues;
use super::state::Site;

/// Something that goes wrong on the way, for the requests that it matches.
///
/// A fault is a kind (one of the constructors), a matcher ([`on`](Self::on), [`skip`](Self::skip),
/// [`times`](Self::times)) and trimmings. Without a matcher it meets every request, for ever.
///
/// ```
/// use std::time::Duration;
/// use timmy_dispatcher::sandbox::Fault;
///
/// // The second comment is refused by a proxy that wants to be left alone for two seconds.
/// Fault::status(429).retry_after("2").on("POST", "/comments").skip(1).times(1);
/// // The label arrives, the answer does not.
/// Fault::drop_connection().after_effect().on("POST", "/issues/7/labels");
/// # let _ = Fault::delay(Duration::from_millis(5));
/// ```
///
/// **Order.** Faults are asked in the order in which they were added. Delays and holds that match
/// add up; the first matching fault of any other kind decides and the rest is not asked (nor
/// counted).
///
/// **Effect.** Delays and holds come before the request has its effect, or, with
/// [`after_effect`](Self::after_effect), between the effect and the answer. Faults that answer in
/// Gitea's place (status, body, redirect, zeroed issue, huge) and dropped connections come instead
/// of the effect, or after it with `after_effect`. Truncated and dripping answers are the real
/// ones, so the effect has happened. With [`commit_late`](Self::commit_late) or
/// [`commit_at_release`](Self::commit_at_release) a request that was dropped or answered has its
/// effect afterwards, as on a server that commits when its client has long given up.
#[derive(Debug, Clone)]
pub struct Fault {
    method: Option<String>,
    path: Option<String>,
    turns: Turns,
    effect: Effect,
    pub(super) kind: Kind,
    headers: Vec<(String, String)>,
    payload: Payload,
}

/// When a request has its effect that a fault meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// As the fault's kind has it: not at all, where Gitea does not answer.
    Usual,
    /// Before the fault.
    First,
    /// So long after the answer or the end of the connection.
    Late(Duration),
    /// When what is held is let go on.
    AtRelease,
}

/// Whose turn it is: of the matching ones the first are left alone, and so many are met.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    pub(super) skip: u64,
    pub(super) times: Option<u64>,
    seen: u64,
}

impl Turns {
    /// Counts one more, and says whether it is met.
    pub(super) fn next(&mut self) -> bool {
        self.seen += 1;
        let after = self.seen.saturating_sub(self.skip);
        after > 0 && self.times.is_none_or(|times| after <= times)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Delay(Duration),
    Hold,
    Status(u16),
    Drop { reset: bool },
    Truncated { keep: Option<usize> },
    Huge(u64),
    Drip(Duration),
}

impl Kind {
    /// Whether it only makes a request wait, so that others may still decide.
    fn waits(&self) -> bool {
        matches!(self, Self::Delay(_) | Self::Hold)
    }
}

#[derive(Debug, Clone)]
enum Payload {
    Unset,
    Message(String),
    Raw(Bytes),
    ZeroedIssue,
}

impl Fault {
    fn new(kind: Kind) -> Self {
        Self {
            method: None,
            path: None,
            turns: Turns::default(),
            effect: Effect::Usual,
            kind,
            headers: Vec::new(),
            payload: Payload::Unset,
        }
    }

    /// Waits before the request has its effect. A client that gives up meanwhile has caused
    /// nothing; with [`after_effect`](Self::after_effect) it has, and does not know.
    #[must_use]
    pub fn delay(time: Duration) -> Self {
        Self::new(Kind::Delay(time))
    }

    /// Does not answer until [`Sandbox::release`](super::Sandbox::release).
    #[must_use]
    pub fn hold() -> Self {
        Self::new(Kind::Hold)
    }

    /// Answers with a status: Gitea's error with an empty message, unless
    /// [`message`](Self::message) or [`body`](Self::body) say otherwise.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::new(Kind::Status(status))
    }

    /// Answers 200 with these bytes in place of Gitea's.
    #[must_use]
    pub fn replace(body: impl Into<Bytes>) -> Self {
        Self::status(200).body(body)
    }

    /// Answers 200 with the issue of number 0 and empty state that Gitea sends on some errors.
    #[must_use]
    pub fn zeroed_issue() -> Self {
        let mut fault = Self::status(200);
        fault.payload = Payload::ZeroedIssue;
        fault
    }

    /// Answers with a redirect, 301 or 307 for instance, to a relative or absolute place.
    #[must_use]
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("Location", location).body("")
    }

    /// Closes the connection without an answer.
    #[must_use]
    pub fn drop_connection() -> Self {
        Self::new(Kind::Drop { reset: false })
    }

    /// As [`drop_connection`](Self::drop_connection), by a reset (RST) and not an orderly end (FIN).
    #[must_use]
    pub fn reset_connection() -> Self {
        Self::new(Kind::Drop { reset: true })
    }

    /// Announces the whole answer, sends half of it and closes.
    #[must_use]
    pub fn truncated() -> Self {
        Self::new(Kind::Truncated { keep: None })
    }

    /// As [`truncated`](Self::truncated) with the number of bytes that are sent.
    #[must_use]
    pub fn truncated_after(bytes: usize) -> Self {
        Self::new(Kind::Truncated { keep: Some(bytes) })
    }

    /// Answers 200 with this many bytes (a JSON string that does not end before they do), in
    /// chunks, made as they are sent.
    #[must_use]
    pub fn huge(bytes: u64) -> Self {
        Self::new(Kind::Huge(bytes))
    }

    /// Sends the answer's head at once and its body by one byte per interval.
    #[must_use]
    pub fn drip(interval: Duration) -> Self {
        Self::new(Kind::Drip(interval))
    }

    /// Only requests of this method and path: [`method`](Self::method) and [`path`](Self::path).
    #[must_use]
    pub fn on(self, method: &str, path: &str) -> Self {
        self.method(method).path(path)
    }

    /// Only requests of this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only requests whose path ends so: `/labels`, `/issues/7/comments`, `swarm/labels`.
    ///
    /// With a `*`, which stands for any run of characters, the whole path must match:
    /// `*/swarm/issues/*`. With a `?` the query belongs to what is matched: `*/labels?page=2*`.
    #[must_use]
    pub fn path(mut self, pattern: &str) -> Self {
        self.path = Some(pattern.to_owned());
        self
    }

    /// Leaves the first matching requests alone.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.turns.skip = requests;
        self
    }

    /// Meets so many requests and no more.
    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.turns.times = Some(requests);
        self
    }

    /// Lets the request have its effect first.
    #[must_use]
    pub fn after_effect(mut self) -> Self {
        self.effect = Effect::First;
        self
    }

    /// Lets the request have its effect so long after it was answered or dropped.
    #[must_use]
    pub fn commit_late(mut self, time: Duration) -> Self {
        self.effect = Effect::Late(time);
        self
    }

    /// As [`commit_late`](Self::commit_late), when [`Sandbox::release`](super::Sandbox::release)
    /// is called.
    #[must_use]
    pub fn commit_at_release(mut self) -> Self {
        self.effect = Effect::AtRelease;
        self
    }

    /// The `message` of Gitea's error, for [`status`](Self::status).
    #[must_use]
    pub fn message(mut self, message: &str) -> Self {
        self.payload = Payload::Message(message.to_owned());
        self
    }

    /// The body as it stands: of a status, or what is truncated or dripped.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.payload = Payload::Raw(body.into());
        self
    }

    /// A header of the answer, in place of one of the same name.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `Retry-After`: seconds, or an HTTP date.
    #[must_use]
    pub fn retry_after(self, value: &str) -> Self {
        self.header("Retry-After", value)
    }

    /// What could not be sent is refused when ordered, not when it is due.
    pub(super) fn check(&self) -> Result<(), SandboxError> {
        if let Kind::Status(status) = self.kind
            && !(200..=999).contains(&status)
        {
            let why = format!("a fault cannot answer {status}; 200 to 999 can be sent");
            return Err(SandboxError::Fault(why));
        }
        let real = matches!(self.kind, Kind::Truncated { .. } | Kind::Drip(_));
        if self.late().is_some() && (real || self.kind.waits()) {
            let why = "only what is dropped or answered in Gitea's place can be committed late";
            return Err(SandboxError::Fault(why.to_owned()));
        }
        for (name, value) in &self.headers {
            if HeaderName::from_bytes(name.as_bytes()).is_err()
                || HeaderValue::from_str(value).is_err()
            {
                let why = format!("a fault cannot send the header {name:?}: {value:?}");
                return Err(SandboxError::Fault(why));
            }
        }
        Ok(())
    }

    /// When the effect is to come afterwards.
    pub(super) fn late(&self) -> Option<Effect> {
        matches!(self.effect, Effect::Late(_) | Effect::AtRelease).then_some(self.effect)
    }

    /// What the fault makes of an answer; `real` is absent where the effect was not to happen.
    pub(super) fn answer(&self, site: &Site, real: Option<Answer>) -> Answer {
        let mut answer = match (&self.kind, &self.payload) {
            (Kind::Huge(_), _) => Answer::raw(200, super::answer::JSON, ""),
            (Kind::Status(status), Payload::Message(message)) => site.error(*status, message),
            (Kind::Status(status), Payload::Unset) => site.error(*status, ""),
            (Kind::Status(status), Payload::Raw(body)) if body.is_empty() => Answer::empty(*status),
            (Kind::Status(status), Payload::Raw(body)) => {
                Answer::raw(*status, super::answer::JSON, body.clone())
            }
            (_, Payload::ZeroedIssue) => Answer::json(200, &issues::zeroed()),
            (_, payload) => {
                let mut real = real.unwrap_or_else(|| Answer::empty(200));
                if let Payload::Raw(body) = payload {
                    real.body = body.clone();
                }
                real
            }
        };
        for (name, value) in &self.headers {
            answer.set(name, value.clone());
        }
        answer
    }

    fn matches(&self, method: &str, target: &str) -> bool {
        let path = target.split('?').next().unwrap_or(target);
        self.method
            .as_ref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.path.as_ref().is_none_or(|pattern| {
                let whole = if pattern.contains('?') { target } else { path };
                if pattern.contains('*') {
                    glob(pattern, whole)
                } else {
                    whole.ends_with(pattern.as_str())
                }
            })
    }
}

/// `*` stands for any run of characters, none included.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    // The earliest place of each part leaves the most for those behind it.
    for part in parts {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The faults on order.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

/// What is to happen to one request.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Delays and holds before the effect.
    pub(super) before: Vec<Fault>,
    /// Delays and holds between the effect and the answer.
    pub(super) after: Vec<Fault>,
    pub(super) decides: Option<Fault>,
}

impl Plan {
    /// When the request is to have its effect after it was answered.
    pub(super) fn late(&self) -> Option<Effect> {
        self.decides.as_ref().and_then(Fault::late)
    }

    /// Whether the request is to have its effect at all.
    pub(super) fn effect_happens(&self) -> bool {
        self.decides.as_ref().is_none_or(|fault| {
            fault.effect == Effect::First
                || matches!(fault.kind, Kind::Truncated { .. } | Kind::Drip(_))
        })
    }
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn plan(&mut self, method: &str, target: &str) -> Plan {
        let mut plan = Plan::default();
        for fault in &mut self.0 {
            let due = fault.matches(method, target) && fault.turns.next();
            if due && fault.kind.waits() {
                let waits = if fault.effect == Effect::First {
                    &mut plan.after
                } else {
                    &mut plan.before
                };
                waits.push(fault.clone());
            } else if due {
                plan.decides = Some(fault.clone());
                break;
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_ends_globs_and_queries() {
        let matches =
            |pattern: &str, target: &str| Fault::hold().path(pattern).matches("GET", target);
        assert!(matches("/labels", "/api/v1/repos/o/r/labels?page=2"));
        assert!(matches("/labels", "/api/v1/repos/o/r/issues/7/labels"));
        assert!(!matches("/labels", "/api/v1/repos/o/r/labels/7"));
        assert!(!matches("/issues/7", "/api/v1/repos/o/r/issues/17"));
        assert!(matches("*/r/labels*", "/api/v1/repos/o/r/labels/7"));
        assert!(matches(
            "*/issues/*/labels",
            "/api/v1/repos/o/r/issues/7/labels"
        ));
        assert!(!matches("*/issues/*/labels", "/api/v1/repos/o/r/labels"));
        assert!(matches("*/labels?page=2*", "/o/r/labels?page=2&limit=50"));
        assert!(!matches("/labels?page=2", "/o/r/labels"));
        assert!(!matches("a*a", "a"));
        assert!(matches("*", ""));
    }

    #[test]
    fn skip_and_times_count_matching_requests_only() {
        let mut faults = Faults::default();
        faults.add(Fault::status(500).on("post", "/x").skip(1).times(2));
        let hit = |faults: &mut Faults, method, path| faults.plan(method, path).decides.is_some();
        assert!(!hit(&mut faults, "GET", "/x"));
        let hits: Vec<bool> = (0..5).map(|_| hit(&mut faults, "POST", "/x")).collect();
        assert_eq!(hits, [false, true, true, false, false]);
    }

    #[test]
    fn waits_add_up_and_the_first_of_the_others_decides() {
        let mut faults = Faults::default();
        faults.add(Fault::hold());
        faults.add(Fault::status(500).times(1));
        faults.add(Fault::delay(Duration::ZERO));
        faults.add(Fault::drop_connection().times(1));
        let first = faults.plan("GET", "/");
        assert_eq!(
            (first.before.len(), first.decides.unwrap().kind),
            (1, Kind::Status(500))
        );
        let second = faults.plan("GET", "/");
        assert_eq!(second.before.len(), 2);
        assert_eq!(second.decides.unwrap().kind, Kind::Drop { reset: false });
    }

    #[test]
    fn what_cannot_be_sent_is_refused_when_ordered() {
        assert!(Fault::status(99).check().is_err());
        assert!(Fault::status(503).header("a b", "x").check().is_err());
        assert!(Fault::status(503).retry_after("2\r\nx: y").check().is_err());
        assert!(Fault::status(429).retry_after("2").check().is_ok());
    }
}
