//! Webhooks on their way: at most once each, one after the other, to loopback and nowhere else.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use ring::hmac;
use ring::rand::SecureRandom;
use tokio::net::TcpStream;

use super::SandboxError;
use super::ask::encoded;
use super::commits::hexadecimal;
use super::faults::{Turns, glob};

/// Longer than this a receiver is not waited for.
const TIMEOUT: Duration = Duration::from_secs(5);
/// So many wait to be sent; what comes on top is lost, as the word "at most once" allows.
const MOST_WAITING: usize = 4_096;
/// So many are remembered.
const MOST_KEPT: usize = 10_000;
/// So many bytes of payloads wait, and so many are remembered.
const MOST_BYTES: usize = 64 << 20;

/// How a webhook's body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    /// `payload=…`; the signature covers the value.
    Urlencoded,
}

impl Form {
    pub(super) fn named(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "form" => Some(Self::Urlencoded),
            _ => None,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Urlencoded => "form",
        }
    }
}

/// A webhook that is to go out.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) hook: u64,
    pub(super) url: String,
    pub(super) form: Form,
    pub(super) secret: String,
    pub(super) event: &'static str,
    pub(super) event_type: &'static str,
    pub(super) payload: Arc<str>,
}

/// What became of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedDelivery {
    /// The hook's id.
    pub hook: u64,
    /// `X-Gitea-Event`: `issues`, `issue_comment`, …
    pub event: String,
    /// `X-Gitea-Event-Type`: `issue_label`, …
    pub event_type: String,
    /// `X-Gitea-Delivery`, a UUID. A repeat on order has the same.
    pub id: String,
    /// Where it was to go.
    pub url: String,
    /// What was signed: the JSON.
    pub payload: String,
    /// The receiver's status.
    pub status: Option<u16>,
    /// Why there is no status.
    pub error: Option<String>,
}

/// Something that goes wrong with webhooks on their way.
///
/// ```
/// use timmy_dispatcher::sandbox::DeliveryFault;
///
/// DeliveryFault::lose().event("issues").times(1);
/// DeliveryFault::repeat(2).event("issue_comment");
/// // The first label event arrives behind whatever comes next.
/// DeliveryFault::overtake().event("issue_label").times(1);
/// ```
///
/// Faults are asked in the order in which they were added; the first that matches decides, and the
/// rest is neither asked nor counted.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is ordered"]
pub struct DeliveryFault {
    kind: Kind,
    event: Option<String>,
    turns: Turns,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Lose,
    Repeat(u32),
    Overtake,
}

impl DeliveryFault {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            event: None,
            turns: Turns::default(),
        }
    }

    /// Never arrives.
    pub fn lose() -> Self {
        Self::new(Kind::Lose)
    }

    /// Arrives so many times more, the same to the last byte.
    pub fn repeat(times: u32) -> Self {
        Self::new(Kind::Repeat(times))
    }

    /// Is overtaken: it waits until the next one was sent, or for
    /// [`Sandbox::release`](super::Sandbox::release).
    pub fn overtake() -> Self {
        Self::new(Kind::Overtake)
    }

    /// Only webhooks of this event type, as in `X-Gitea-Event-Type`; `*` stands for any run of
    /// characters.
    pub fn event(mut self, event_type: &str) -> Self {
        self.event = Some(event_type.to_owned());
        self
    }

    /// Leaves the first matching webhooks alone.
    pub fn skip(mut self, webhooks: u64) -> Self {
        self.turns.skip = webhooks;
        self
    }

    /// Meets so many webhooks and no more.
    pub fn times(mut self, webhooks: u64) -> Self {
        self.turns.times = Some(webhooks);
        self
    }

    pub(super) fn check(&self) -> Result<(), SandboxError> {
        const MOST: u32 = 1_000;
        match self.kind {
            Kind::Repeat(times) if times > MOST => {
                let why = format!("a webhook is repeated {MOST} times at most, not {times}");
                Err(SandboxError::Fault(why))
            }
            _ => Ok(()),
        }
    }
}

/// Gitea's `[webhook] ALLOWED_HOST_LIST`, in its words.
#[derive(Debug, Clone)]
pub(super) struct AllowedHosts(Vec<String>);

impl Default for AllowedHosts {
    fn default() -> Self {
        Self::parse("loopback")
    }
}

impl AllowedHosts {
    pub(super) fn parse(list: &str) -> Self {
        let entries = list.split(',').map(|entry| entry.trim().to_lowercase());
        Self(entries.filter(|entry| !entry.is_empty()).collect())
    }

    fn allow(&self, host: &str, ip: IpAddr) -> bool {
        self.0.iter().any(|entry| match entry.as_str() {
            "loopback" => ip.is_loopback(),
            "private" => is_private(ip),
            "external" => !ip.is_loopback() && !is_private(ip) && !ip.is_unspecified(),
            entry => match entry.split_once('/') {
                Some((network, bits)) => in_network(ip, network, bits),
                None => glob(entry, host) || glob(entry, &ip.to_string()),
            },
        })
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

fn in_network(ip: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse(), bits.parse::<u32>()) else {
        return false;
    };
    let same = |a: u128, b: u128, width: u32| {
        bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0)
    };
    match (ip, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

/// What waits to be sent, what is held back, and what was sent.
#[derive(Default)]
pub(super) struct Post {
    pub(super) allowed: AllowedHosts,
    faults: Vec<DeliveryFault>,
    waiting: VecDeque<(String, Delivery)>,
    overtaken: VecDeque<(String, Delivery)>,
    /// Of the payloads in both.
    waiting_bytes: usize,
    done: VecDeque<RecordedDelivery>,
    done_bytes: usize,
    count: usize,
}

impl std::fmt::Debug for Post {
    /// Without the hooks' secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (waiting, done) = (self.waiting.len(), self.count);
        write!(f, "Post {{ waiting: {waiting}, done: {done} }}")
    }
}

impl Post {
    pub(super) fn allowing(allowed: AllowedHosts) -> Self {
        Self {
            allowed,
            ..Self::default()
        }
    }

    pub(super) fn order(&mut self, fault: DeliveryFault) {
        self.faults.push(fault);
    }

    pub(super) fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// Takes a webhook in, as the faults will have it.
    pub(super) fn push(&mut self, delivery: Delivery) {
        let matching = self.faults.iter_mut().find_map(|fault| {
            let event = fault.event.as_ref();
            let matches = event.is_none_or(|event| glob(event, delivery.event_type));
            (matches && fault.turns.next()).then_some(fault.kind)
        });
        let id = uuid();
        let copies = match matching {
            Some(Kind::Lose) => {
                return self.finish(id, delivery, Err("lost on order".to_owned()));
            }
            Some(Kind::Overtake) => {
                if self.takes(&delivery) {
                    self.overtaken.push_back((id, delivery));
                } else {
                    self.refuse(id, delivery);
                }
                return;
            }
            Some(Kind::Repeat(times)) => times + 1,
            None => 1,
        };
        for _ in 0..copies {
            if self.takes(&delivery) {
                self.waiting.push_back((id.clone(), delivery.clone()));
            } else {
                self.refuse(id.clone(), delivery.clone());
            }
        }
        self.release();
    }

    /// Makes room for one more, or says that there is none.
    fn takes(&mut self, delivery: &Delivery) -> bool {
        let bytes = self.waiting_bytes + delivery.payload.len();
        let room = self.waiting.len() + self.overtaken.len() < MOST_WAITING && bytes <= MOST_BYTES;
        if room {
            self.waiting_bytes = bytes;
        }
        room
    }

    fn refuse(&mut self, id: String, delivery: Delivery) {
        self.finish(id, delivery, Err("too many are waiting".to_owned()));
    }

    /// Sends what is held back to be overtaken.
    pub(super) fn release(&mut self) {
        self.waiting.append(&mut self.overtaken);
    }

    /// Whether anything is to be sent.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn next(&mut self) -> Option<(String, Delivery)> {
        let next = self.waiting.pop_front()?;
        self.waiting_bytes -= next.1.payload.len();
        Some(next)
    }

    pub(super) fn finish(&mut self, id: String, sent: Delivery, outcome: Result<u16, String>) {
        self.count += 1;
        self.done_bytes += sent.payload.len();
        while self.done.len() >= MOST_KEPT || self.done_bytes > MOST_BYTES {
            match self.done.pop_front() {
                Some(oldest) => self.done_bytes -= oldest.payload.len(),
                None => break,
            }
        }
        self.done.push_back(RecordedDelivery {
            hook: sent.hook,
            event: sent.event.to_owned(),
            event_type: sent.event_type.to_owned(),
            id,
            url: sent.url,
            payload: sent.payload.to_string(),
            status: outcome.as_ref().ok().copied(),
            error: outcome.err(),
        });
    }

    /// How many are done with, remembered or not.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn all(&self) -> Vec<RecordedDelivery> {
        self.done.iter().cloned().collect()
    }
}

/// Sends a webhook, once, and says how it was answered.
pub(super) async fn send(
    id: &str,
    delivery: &Delivery,
    allowed: &AllowedHosts,
) -> Result<u16, String> {
    let to = target(&delivery.url, allowed)?;
    let sent = tokio::time::timeout(TIMEOUT, exchange(to, id, delivery));
    match sent.await {
        Ok(outcome) => outcome.map_err(|why| why.to_string()),
        Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
    }
}

/// Where a webhook goes, if it may. A name other than `localhost` is not looked up: the sandbox
/// asks no server but the receiver for anything.
fn target(url: &str, allowed: &AllowedHosts) -> Result<SocketAddr, String> {
    let uri: Uri = url.parse().map_err(|_| "no URL".to_owned())?;
    let host = uri.host().unwrap_or_default().to_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip = match bare {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        other => other
            .parse()
            .map_err(|_| format!("the sandbox sends to loopback only, not to {host}"))?,
    };
    if !allowed.allow(bare, ip) {
        return Err(format!(
            "webhook can only call allowed HTTP servers (check your webhook.ALLOWED_HOST_LIST \
             setting), deny '{host}({ip})'"
        ));
    }
    if !ip.is_loopback() || uri.scheme_str() != Some("http") {
        return Err(format!(
            "the sandbox sends to http on loopback only, not to {host}"
        ));
    }
    Ok(SocketAddr::new(ip, uri.port_u16().unwrap_or(80)))
}

async fn exchange(
    to: SocketAddr,
    id: &str,
    delivery: &Delivery,
) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(to).await?;
    let (mut client, connection) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await?;
    let request = request(id, delivery)?;
    let answer = client.send_request(request);
    tokio::pin!(answer);
    // Both, until there is a head: the rest of the answer tells nothing. A connection that has
    // ended may have brought one.
    let answer = tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    };
    Ok(answer?.status().as_u16())
}

fn request(id: &str, delivery: &Delivery) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let uri: Uri = delivery.url.parse()?;
    let (content_type, body) = match delivery.form {
        Form::Json => ("application/json", delivery.payload.to_string()),
        Form::Urlencoded => (
            "application/x-www-form-urlencoded",
            format!("payload={}", encoded(&delivery.payload)),
        ),
    };
    let signed = |algorithm| signature(algorithm, &delivery.secret, &delivery.payload);
    let sha256 = signed(hmac::HMAC_SHA256);
    let sha1 = signed(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    // Credentials in the URL are the receiver's business, not its Host's.
    let host = host.rsplit('@').next().unwrap_or(host);
    Request::post(path)
        .header("Host", host)
        .header("User-Agent", "Go-http-client/1.1")
        .header("Content-Type", content_type)
        .header("X-Gitea-Delivery", id)
        .header("X-Gitea-Event", delivery.event)
        .header("X-Gitea-Event-Type", delivery.event_type)
        .header("X-Gitea-Hook-Installation-Target-Type", "repository")
        .header("X-Gitea-Signature", &sha256)
        .header("X-Hub-Signature", format!("sha1={sha1}"))
        .header("X-Hub-Signature-256", format!("sha256={sha256}"))
        .body(Full::new(Bytes::from(body)))
}

/// Nothing without a secret.
fn signature(algorithm: hmac::Algorithm, secret: &str, payload: &str) -> String {
    if secret.is_empty() {
        return String::new();
    }
    let key = hmac::Key::new(algorithm, secret.as_bytes());
    hexadecimal(hmac::sign(&key, payload.as_bytes()).as_ref())
}

/// A random one (version 4).
fn uuid() -> String {
    let mut bytes = [0; 16];
    // Without randomness, which no system lacks, ids are only the same.
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let digits = hexadecimal(&bytes);
    let part = |from, to| digits.get(from..to).unwrap_or_default();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowed_hosts_are_read_as_gitea_reads_them() {
        let allow = |list: &str, host: &str| {
            let ip = host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            AllowedHosts::parse(list).allow(host, ip)
        };
        assert!(!allow("external", "127.0.0.1") && !allow("external", "10.1.2.3"));
        assert!(allow("external", "9.9.9.9"));
        assert!(allow("loopback", "127.0.0.1") && allow("Loopback ", "::1"));
        assert!(!allow("private", "127.0.0.1") && allow("private", "192.168.1.1"));
        assert!(allow("external, 127.0.0.0/8", "127.9.9.9"));
        assert!(!allow("127.0.0.0/33", "127.0.0.1") && !allow("fe80::/10", "127.0.0.1"));
        assert!(allow("*", "10.0.0.1") && allow("local*", "localhost"));
        assert!(allow("127.0.0.1", "127.0.0.1") && allow("0.0.0.0/0", "127.0.0.1"));
        assert!(!allow("", "127.0.0.1"));
    }

    #[test]
    fn targets_beyond_loopback_are_never_called() {
        let all = AllowedHosts::parse("*");
        let to = |url: &str| target(url, &all);
        assert_eq!(to("http://localhost:8/x").unwrap().port(), 8);
        assert!(to("http://[::1]/x").unwrap().ip().is_loopback());
        for url in [
            "http://10.0.0.1/",
            "http://gitea.example/",
            "https://127.0.0.1/",
            "x",
        ] {
            assert!(to(url).is_err(), "{url}");
        }
        let fresh = AllowedHosts::parse("external");
        let denied = target("http://127.0.0.1/", &fresh).unwrap_err();
        assert!(denied.contains("ALLOWED_HOST_LIST"), "{denied}");
    }

    #[test]
    fn what_waits_and_what_is_remembered_is_bounded() {
        let delivery = |size: usize| Delivery {
            hook: 1,
            url: String::new(),
            form: Form::Json,
            secret: String::new(),
            event: "issues",
            event_type: "issues",
            payload: "x".repeat(size).into(),
        };
        let mut post = Post::default();
        for _ in 0..MOST_WAITING + 3 {
            post.push(delivery(1));
        }
        assert_eq!((post.waiting.len(), post.count()), (MOST_WAITING, 3));
        while let Some((id, sent)) = post.next() {
            post.finish(id, sent, Ok(200));
        }
        assert_eq!(post.waiting_bytes, 0);
        for _ in 0..3 {
            post.push(delivery(MOST_BYTES / 2));
        }
        assert_eq!(post.waiting.len(), 2);
        while let Some((id, sent)) = post.next() {
            post.finish(id, sent, Ok(200));
        }
        assert!(post.done_bytes <= MOST_BYTES && post.all().len() == 2);
        for _ in 0..MOST_KEPT + 1 {
            post.finish(String::new(), delivery(1), Ok(200));
        }
        assert_eq!(post.all().len(), MOST_KEPT);
    }

    #[test]
    fn ids_are_uuids_and_differ() {
        let (a, b) = (uuid(), uuid());
        assert_eq!((a.len(), a.as_bytes()[14]), (36, b'4'));
        assert_ne!(a, b);
    }
}
