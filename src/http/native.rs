//! The transport that needs nothing but this crate: reqwest over rustls.

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;

use super::redact::basic_credentials;
use super::{MAX_BODY, Method, Repeat, Request, Response, SendError, Transport};

const USER_AGENT: &str = concat!("timmy-dispatcher/", env!("CARGO_PKG_VERSION"));
/// Common servers close an idle connection after 5 s; one that is closing must not be taken. The
/// pool looks at them as seldom as this too, so that one stays open for at most twice as long.
const IDLE: Duration = Duration::from_millis(1900);

/// Sends with reqwest. Cheap to clone; the connections are shared.
///
/// The first request builds the client, which reads the machine's CA certificates and the proxy
/// settings of the environment. Without CA certificates plain http still works.
#[derive(Clone, Default)]
pub struct Native(Arc<Clients>);

#[derive(Default)]
struct Clients {
    pooled: OnceLock<Result<reqwest::Client, String>>,
    fresh: OnceLock<Result<reqwest::Client, String>>,
    tls: OnceLock<Tls>,
}

#[derive(Clone)]
struct Tls {
    config: rustls::ClientConfig,
    /// Why https cannot work, where it cannot.
    broken: Option<String>,
}

impl Native {
    /// A transport of its own, with its own connections.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds the client now instead of at the first request. Takes some milliseconds.
    pub fn prepare(&self) {
        let _ = self.0.pooled();
    }

    async fn once(
        &self,
        request: &Request,
        url: &Url,
        host: &str,
        fresh: bool,
    ) -> Result<Response, SendError> {
        let client = if fresh {
            self.0.fresh()
        } else {
            self.0.pooled()
        };
        let client = client.map_err(|reason| SendError::Connect {
            host: host.to_owned(),
            reason,
        })?;
        let mut answer = client
            .execute(build(request, url.clone())?)
            .await
            .map_err(|e| self.error(&e, request, host))?;
        let mut response = Response {
            status: answer.status().as_u16(),
            ..Response::default()
        };
        for (name, value) in answer.headers() {
            if let Ok(value) = value.to_str() {
                response
                    .headers
                    .push((name.as_str().to_owned(), value.to_owned()));
            }
        }
        let too_large = || SendError::TooLarge {
            host: host.to_owned(),
        };
        if answer.content_length() > Some(MAX_BODY as u64) {
            return Err(too_large());
        }
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|e| self.error(&e, request, host))?
        {
            if response.body.len() + chunk.len() > MAX_BODY {
                return Err(too_large());
            }
            response.body.extend_from_slice(&chunk);
        }
        Ok(response)
    }

    fn error(&self, error: &reqwest::Error, request: &Request, host: &str) -> SendError {
        // The innermost cause says what happened; the outer texts hold the URL.
        let mut reason = error.without_url_text();
        let mut source = error.source();
        while let Some(inner) = source {
            reason = inner.to_string();
            source = inner.source();
        }
        if error.is_timeout() {
            return SendError::Timeout {
                host: host.to_owned(),
                limit: request.timeout,
            };
        }
        if error.is_connect() {
            if reason.contains("InvalidContentType") {
                "it does not speak TLS on this port; is it http://?".clone_into(&mut reason);
            }
            if let (true, Some(broken)) = (
                request.url.starts_with("https:"),
                self.0.tls().broken.as_ref(),
            ) {
                reason = format!("{reason} ({broken})");
            }
            return SendError::Connect {
                host: host.to_owned(),
                reason,
            };
        }
        SendError::Broken {
            host: host.to_owned(),
            reason,
        }
    }
}

trait WithoutUrl {
    fn without_url_text(&self) -> String;
}

impl WithoutUrl for reqwest::Error {
    fn without_url_text(&self) -> String {
        if self.is_body() {
            "the answer's body is broken".to_owned()
        } else {
            "the request failed".to_owned()
        }
    }
}

impl Transport for Native {
    async fn send(&self, request: Request) -> Result<Response, SendError> {
        let url = parsed(&request.url)?;
        let host = host_of(&url);
        let fresh = request.repeat == Repeat::FreshOnly;
        let exchange = async {
            match self.once(&request, &url, &host, fresh).await {
                Err(SendError::Broken { .. }) if request.repeat == Repeat::Safe => {
                    self.once(&request, &url, &host, true).await
                }
                result => result,
            }
        };
        // Around both, so that asking again does not double the limit.
        match tokio::time::timeout(request.timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(SendError::Timeout {
                host,
                limit: request.timeout,
            }),
        }
    }
}

impl Clients {
    fn pooled(&self) -> Result<&reqwest::Client, String> {
        self.pooled
            .get_or_init(|| self.build(usize::MAX))
            .as_ref()
            .map_err(Clone::clone)
    }

    fn fresh(&self) -> Result<&reqwest::Client, String> {
        self.fresh
            .get_or_init(|| self.build(0))
            .as_ref()
            .map_err(Clone::clone)
    }

    fn build(&self, idle_connections: usize) -> Result<reqwest::Client, String> {
        let mut builder = reqwest::Client::builder();
        if is_no_proxy_for_anyone() {
            builder = builder.no_proxy();
        }
        builder
            .tls_backend_preconfigured(self.tls().config.clone())
            .redirect(Policy::none())
            .user_agent(USER_AGENT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle_connections)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| error.to_string())
    }

    fn tls(&self) -> &Tls {
        self.tls.get_or_init(Tls::of_this_machine)
    }
}

impl Tls {
    fn of_this_machine() -> Self {
        use rustls::{ClientConfig, RootCertStore};
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = rustls::ALL_VERSIONS;
        let builder = || {
            ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)
        };
        let without_roots = |why: String| {
            // ring has suites for every version, so this cannot fail; if it did, https would.
            let config = builder().map(|b| {
                b.with_root_certificates(RootCertStore::empty())
                    .with_no_client_auth()
            });
            config.map(|config| Self {
                config,
                broken: Some(why),
            })
        };
        let verified =
            rustls_platform_verifier::Verifier::new(provider.clone()).and_then(|verifier| {
                let builder = builder()?
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier));
                Ok(Self {
                    config: builder.with_no_client_auth(),
                    broken: None,
                })
            });
        let fallback = |error: rustls::Error| {
            without_roots(format!(
                "no CA certificates were found on this machine: install ca-certificates or set SSL_CERT_FILE; {error}"
            ))
        };
        match verified.or_else(fallback) {
            Ok(tls) => tls,
            Err(error) => Self {
                config: ClientConfig::builder()
                    .with_root_certificates(RootCertStore::empty())
                    .with_no_client_auth(),
                broken: Some(error.to_string()),
            },
        }
    }
}

/// `NO_PROXY=*`, which reqwest takes for every name but not for addresses.
fn is_no_proxy_for_anyone() -> bool {
    let excepted = std::env::var("NO_PROXY").or_else(|_| std::env::var("no_proxy"));
    excepted.is_ok_and(|hosts| hosts.split(',').any(|host| host.trim() == "*"))
}

fn build(request: &Request, url: Url) -> Result<reqwest::Request, SendError> {
    let method = match request.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    };
    let has_user = !url.username().is_empty() || url.password().is_some();
    let mut built = reqwest::Request::new(method, url);
    let authorization = if has_user {
        take_basic(built.url_mut())
    } else {
        request.authorization.clone()
    };
    if let Some(authorization) = authorization {
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| {
            SendError::Url("the token holds characters that no HTTP header may hold".to_owned())
        })?;
        value.set_sensitive(true);
        built.headers_mut().insert(AUTHORIZATION, value);
    }
    for (name, value) in &request.headers {
        let value = HeaderValue::from_str(value)
            .map_err(|_| SendError::Url(format!("{name} holds what no HTTP header may hold")))?;
        built.headers_mut().insert(*name, value);
    }
    if let Some(body) = &request.body {
        built
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *built.body_mut() = Some(body.clone().into());
    }
    Ok(built)
}

/// A user in the URL becomes basic authorization and goes before a token, as in httpx.
fn take_basic(url: &mut Url) -> Option<String> {
    let credentials = basic_credentials(url.username(), url.password().unwrap_or_default());
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(format!("Basic {credentials}"))
}

/// The URL of a request, which has a host.
fn parsed(url: &str) -> Result<Url, SendError> {
    let shown = || super::redact_url(url);
    match Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {
            Ok(parsed)
        }
        Ok(_) => Err(SendError::Url(format!(
            "{} is no http or https URL",
            shown()
        ))),
        Err(error) => Err(SendError::Url(format!("{} is no URL: {error}", shown()))),
    }
}

/// The host and the port, as an error names them.
fn host_of(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}
