//! Webhooks of Gitea and callbacks of agents, over HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use uuid::Uuid;

use super::hints::{Deliveries, Heap, Hints};
use super::parse;
use crate::durable::agents::signature as callbacks;
use crate::durable::hmac;

/// So many callbacks wait for their answer.
const CALLBACKS: usize = 100;
/// The most that a request's head may be long, in bytes.
const HEAD: usize = 64 * 1024;

/// Where and how it is received.
#[derive(Clone, PartialEq, Eq)]
pub struct Reception {
    /// The address to listen at.
    pub address: SocketAddr,
    /// What everything must be signed with. Never shown by `Debug`.
    pub secret: String,
    /// The most that a body may be long, in bytes.
    pub body: usize,
    /// So many connections at once; more wait.
    pub connections: usize,
    /// How long a client may take for its head, and for its body, and we for an answer.
    pub patience: Duration,
    /// Hints are given out once in this time.
    pub gap: Duration,
}

impl Reception {
    /// At that address with that secret: bodies of at most 1 MiB, 64 connections, 10 s, a hint per
    /// second.
    #[must_use]
    pub fn new(address: SocketAddr, secret: impl Into<String>) -> Self {
        Self {
            address,
            secret: secret.into(),
            body: 1024 * 1024,
            connections: 64,
            patience: Duration::from_secs(10),
            gap: Duration::from_secs(1),
        }
    }
}

impl std::fmt::Debug for Reception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reception")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Why nothing can be received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiverError {
    /// Whoever finds the address could say anything.
    #[error(
        "webhooks and callbacks are received only with a secret: set one, and the same in the \
         webhook's settings"
    )]
    NoSecret,
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {reason}")]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why.
        reason: io::Error,
    },
}

/// What an agent says about its attempt, signed.
#[derive(Debug)]
pub struct Callback {
    /// The dispatch.
    pub id: Uuid,
    /// The attempt.
    pub fence: u64,
    /// All that it says: `{"fence", "status", "result", …}`.
    pub said: Value,
    answer: oneshot::Sender<CallbackAnswer>,
}

impl Callback {
    /// Answers; one that is dropped unanswered is told to come again.
    pub fn answer(self, answer: CallbackAnswer) {
        let _ = self.answer.send(answer); // Gone, where the agent gave up.
    }
}

/// What a callback is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackAnswer {
    /// 200: it is kept.
    Taken,
    /// 404: there is no such dispatch.
    Unknown,
    /// 409: it is about an attempt that is over.
    Stale,
    /// 503: come again.
    Later,
}

/// What comes in.
#[derive(Debug)]
pub struct Received {
    /// That it is time to look.
    pub hints: Hints,
    /// What agents say; each waits for its answer.
    pub callbacks: mpsc::Receiver<Callback>,
}

/// A socket on which `POST /webhooks/gitea` and `POST /callbacks/<id>` are received.
#[derive(Debug)]
pub struct Receiver {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reception: Reception,
    heap: Arc<Heap>,
    deliveries: Mutex<Deliveries>,
    callbacks: mpsc::Sender<Callback>,
}

impl Receiver {
    /// Opens the socket.
    ///
    /// # Errors
    /// Without a secret, and where the address is taken.
    pub async fn bind(reception: Reception) -> Result<(Self, Received), ReceiverError> {
        if reception.secret.trim().is_empty() {
            return Err(ReceiverError::NoSecret);
        }
        let cannot = |reason| ReceiverError::Address {
            address: reception.address,
            reason,
        };
        let listener = TcpListener::bind(reception.address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let (callbacks, said) = mpsc::channel(CALLBACKS);
        let heap = Arc::new(Heap::default());
        let received = Received {
            hints: Hints::new(Arc::clone(&heap), reception.gap),
            callbacks: said,
        };
        let shared = Arc::new(Shared {
            reception,
            heap,
            deliveries: Mutex::default(),
            callbacks,
        });
        let receiver = Self {
            listener,
            address,
            shared,
        };
        Ok((receiver, received))
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Receives, until it is dropped.
    pub async fn serve(self) {
        let reception = &self.shared.reception;
        let free = Arc::new(Semaphore::new(reception.connections.max(1)));
        // Head, body, answer, and as long again for who reads slowly.
        let limit = reception.patience * 4;
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else {
                return;
            };
            while connections.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((socket, _)) => {
                    let connection = connection(socket, Arc::clone(&self.shared));
                    connections.spawn(async move {
                        let _ = tokio::time::timeout(limit, connection).await;
                        drop(permit);
                    });
                }
                // Too many open files, most likely: others must close some first.
                Err(error) => {
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn connection(socket: TcpStream, shared: Arc<Shared>) {
    let patience = shared.reception.patience;
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, std::convert::Infallible>(shared.respond(request).await) }
    });
    // An error here is a client that went away.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

type Answer = Response<Full<Bytes>>;

fn answer(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    answer
}

const NOT_SIGNED: &str =
    "the signature is missing or wrong: is the secret the same on both sides?\n";

impl Shared {
    async fn respond(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let callback = parse::callback_path(path);
        if callback.is_none() && path != "/webhooks/gitea" {
            return answer(StatusCode::NOT_FOUND, "");
        }
        if request.method() != Method::POST {
            let mut answer = answer(StatusCode::METHOD_NOT_ALLOWED, "");
            let allowed = hyper::header::HeaderValue::from_static("POST");
            answer.headers_mut().insert(ALLOW, allowed);
            return answer;
        }
        let (head, body) = request.into_parts();
        let body = match self.body(body).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        match callback {
            Some(id) => self.callback(id, &head.headers, &body).await,
            None => self.webhook(&head.headers, &body),
        }
    }

    async fn body(&self, body: Incoming) -> Result<Bytes, Answer> {
        let most = self.reception.body;
        let too_large = || answer(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n");
        if body.size_hint().lower() > most as u64 {
            return Err(too_large());
        }
        let whole = Limited::new(body, most).collect();
        match tokio::time::timeout(self.reception.patience, whole).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(answer(StatusCode::BAD_REQUEST, "the body is cut off\n")),
            Err(_) => Err(answer(
                StatusCode::REQUEST_TIMEOUT,
                "the body took too long\n",
            )),
        }
    }

    /// Believed only as far as that it is time to look, and so answered before anything is done.
    fn webhook(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let content_type = one(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        let Some(payload) = parse::payload(content_type, body) else {
            return answer(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a webhook is JSON, or a form with a payload\n",
            );
        };
        let hub = || one(headers, "x-hub-signature-256")?.strip_prefix("sha256=");
        let signed = one(headers, "x-gitea-signature").or_else(hub);
        let secret = &self.reception.secret;
        if !signed.is_some_and(|digits| hmac::verify(secret, &payload, digits)) {
            tracing::debug!("a webhook that is not signed as it should be was refused");
            return answer(StatusCode::UNAUTHORIZED, NOT_SIGNED);
        }
        let delivery = one(headers, "x-gitea-delivery");
        let delivery = delivery.and_then(|id| Uuid::parse_str(id).ok());
        let is_new = delivery.is_none_or(|id| {
            let deliveries = self.deliveries.lock();
            deliveries
                .unwrap_or_else(PoisonError::into_inner)
                .is_new(id)
        });
        if is_new && let Some(repo) = parse::repository(&payload) {
            self.heap.put(repo);
        }
        answer(StatusCode::NO_CONTENT, "")
    }

    async fn callback(&self, id: Uuid, headers: &HeaderMap, body: &[u8]) -> Answer {
        let Some((fence, said)) = parse::callback(body) else {
            return answer(
                StatusCode::BAD_REQUEST,
                "a callback is a JSON object with a fence\n",
            );
        };
        let signed = one(headers, callbacks::HEADER);
        let secret = &self.reception.secret;
        if !signed.is_some_and(|signed| callbacks::verify(secret, id, fence, body, signed)) {
            tracing::debug!("a callback that is not signed as it should be was refused");
            return answer(StatusCode::UNAUTHORIZED, NOT_SIGNED);
        }
        let (sender, verdict) = oneshot::channel();
        let callback = Callback {
            id,
            fence,
            said,
            answer: sender,
        };
        let told = async {
            self.callbacks.send(callback).await.ok()?;
            verdict.await.ok()
        };
        let told = tokio::time::timeout(self.reception.patience, told).await;
        match told.ok().flatten() {
            Some(CallbackAnswer::Taken) => answer(StatusCode::OK, ""),
            Some(CallbackAnswer::Unknown) => answer(StatusCode::NOT_FOUND, "no such dispatch\n"),
            Some(CallbackAnswer::Stale) => answer(StatusCode::CONFLICT, "that attempt is over\n"),
            Some(CallbackAnswer::Later) | None => {
                answer(StatusCode::SERVICE_UNAVAILABLE, "not now\n")
            }
        }
    }
}

/// The value of a header that stands there once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
