//! Starting and stopping: the settings, the socket, the thread.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::deliveries::{AllowedHosts, Post};
use super::server::{self, Shared};
use super::state::{Gitea, GiteaVersion};
use super::{Sandbox, SandboxError, repos};

/// How a [`Sandbox`] is to be; [`start`](Self::start) opens it.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is started"]
pub struct SandboxBuilder {
    version: GiteaVersion,
    token: String,
    owner: String,
    host: IpAddr,
    port: u16,
    webhook_hosts: AllowedHosts,
}

impl SandboxBuilder {
    pub(super) fn new() -> Self {
        Self {
            version: GiteaVersion::default(),
            token: "sandbox-token".to_owned(),
            owner: "timmy".to_owned(),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            webhook_hosts: AllowedHosts::default(),
        }
    }

    /// Which Gitea to answer like; 1.26 unless told.
    pub fn version(mut self, version: GiteaVersion) -> Self {
        self.version = version;
        self
    }

    /// The administrator's token; `sandbox-token` unless told.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = token.into();
        self
    }

    /// The administrator, who owns the repos; `timmy` unless told.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }

    /// The loopback address to listen on; 127.0.0.1 unless told.
    pub fn host(mut self, host: IpAddr) -> Self {
        self.host = host;
        self
    }

    /// The port to listen on; 0, a free one, unless told.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Where webhooks may go, in the words of Gitea's `[webhook] ALLOWED_HOST_LIST`: `loopback`,
    /// `private`, `external`, networks as `127.0.0.0/8`, and host names with `*`, with commas
    /// between them. `loopback` unless told; `external` is the default of a fresh Gitea, so that
    /// none arrives on this machine. Beyond it the sandbox sends nothing, whatever is allowed.
    pub fn webhook_hosts(mut self, allowed: &str) -> Self {
        self.webhook_hosts = AllowedHosts::parse(allowed);
        self
    }

    /// Opens the socket and serves; when this returns, connections are accepted.
    ///
    /// # Errors
    /// Where the port is taken, the host is no loopback address, the owner no login, or the token
    /// one that could not stand in a header.
    pub fn start(self) -> Result<Sandbox, SandboxError> {
        if !self.host.is_loopback() {
            let why = format!(
                "the sandbox listens on loopback addresses only, not {}",
                self.host
            );
            return Err(SandboxError::Setup(why));
        }
        if !repos::valid_name(&self.owner) {
            let why = format!("the sandbox's owner cannot be called {:?}", self.owner);
            return Err(SandboxError::Setup(why));
        }
        if self.token.is_empty() || !self.token.bytes().all(|b| b.is_ascii_graphic()) {
            let why = "the sandbox's token must be visible ASCII without blanks".to_owned();
            return Err(SandboxError::Setup(why));
        }
        let listener = TcpListener::bind(SocketAddr::new(self.host, self.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;

        let mut gitea = Gitea::new(self.version, format!("http://{address}"));
        let email = format!("{}@example.com", self.owner);
        let owner_id = gitea.site.add_user(&self.owner, &email, "", true);
        gitea.site.add_full_token(owner_id, &self.token);

        let shared = Arc::new(Shared::new(gitea, Post::allowing(self.webhook_hosts)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("gitea-sandbox".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                        server::serve(listener, served, stopped).await;
                    }
                });
            })?;
        Ok(Sandbox {
            shared,
            version: self.version,
            address,
            url: format!("http://{address}"),
            token: self.token,
            owner_id,
            owner: self.owner,
            running: Mutex::new(Some(Running {
                stop,
                thread,
                process: std::process::id(),
            })),
        })
    }
}

#[derive(Debug)]
pub(super) struct Running {
    /// Never sent on: its being dropped is the word.
    stop: oneshot::Sender<Infallible>,
    thread: JoinHandle<()>,
    process: u32,
}

impl Running {
    pub(super) fn stop(self) {
        if self.process == std::process::id() {
            drop(self.stop);
            // A panic of the server's thread has printed itself already.
            let _ = self.thread.join();
        } else {
            // Forked: the thread stayed behind, so to wait for it is to wait for ever.
            std::mem::forget(self);
        }
    }
}
