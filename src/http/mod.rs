//! The one seam to the network: what a request and its answer are, and who carries them.
//!
//! [`Transport`] is the trait; [`Native`] carries requests with reqwest. A program with needs of
//! its own (recorded sessions, another TLS stack) implements [`Transport`] itself.

mod native;
mod redact;

use std::future::Future;
use std::time::Duration;

pub use native::Native;
pub(crate) use redact::Secrets;
#[cfg(feature = "python")]
pub(crate) use redact::split_userinfo;
pub use redact::{redact_url, redact_userinfo};

/// The most that is read of an answer's body, in bytes.
pub const MAX_BODY: usize = 16 * 1024 * 1024;

/// The HTTP methods that dispatching needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Write.
    Post,
    /// Change.
    Patch,
    /// Remove.
    Delete,
}

/// What may be done when a connection breaks before an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Asking again has no further effect: it is asked once more, on a fresh connection.
    Safe,
    /// The server may have taken it: asked again only if no byte was sent.
    Unsafe,
    /// As [`Repeat::Unsafe`], and it never travels on a connection that was idle.
    FreshOnly,
}

/// One request.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// An absolute http or https URL.
    pub url: String,
    /// The value of `Authorization`, if any. Never shown by `Debug`.
    pub authorization: Option<String>,
    /// Further headers, with lower-case names. Not shown by `Debug`.
    pub headers: Vec<(&'static str, String)>,
    /// A JSON document, sent as `application/json`.
    pub body: Option<Vec<u8>>,
    /// The limit for the whole exchange.
    pub timeout: Duration,
    /// What a broken connection allows.
    pub repeat: Repeat,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &redact_url(&self.url))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// One answer, read to its end.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers that are looked at, with lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body, at most [`MAX_BODY`] bytes.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text; what is no UTF-8 becomes U+FFFD.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// serde_json's, which names the line and the column.
    pub fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// Why there is no answer. The texts hold neither a token nor a URL's user and password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The URL cannot be used.
    #[error("{0}")]
    Url(String),
    /// No connection.
    #[error("cannot connect to {host}: {reason}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the system or the TLS layer said.
        reason: String,
    },
    /// The limit passed.
    #[error("no answer from {host} within {} s", .limit.as_secs_f64())]
    Timeout {
        /// Host and port.
        host: String,
        /// The limit.
        limit: Duration,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("{host} broke off: {reason}")]
    Broken {
        /// Host and port.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The answer is larger than [`MAX_BODY`].
    #[error("the answer of {host} is larger than {} MiB", MAX_BODY / (1024 * 1024))]
    TooLarge {
        /// Host and port.
        host: String,
    },
}

impl SendError {
    /// Whether the same request may well succeed a little later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Timeout { .. } | Self::Broken { .. }
        )
    }
}

/// Carries requests.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request and reads its answer. Redirects are not followed.
    fn send(&self, request: Request) -> impl Future<Output = Result<Response, SendError>> + Send;
}
