//! The Gitea server that the dispatcher works on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::dispatch::{ConfigError, Settings, api_base};
use crate::gitea::{GiteaError, Repository, User};
use crate::http::Transport;

/// A Gitea server and the right to get in. Cheap to clone.
#[derive(Debug)]
pub struct Server<T> {
    base: String,
    any: Repository<T>,
    transport: Arc<T>,
    me: Arc<OnceCell<User>>,
}

impl<T> Clone for Server<T> {
    fn clone(&self) -> Self {
        Self {
            base: self.base.clone(),
            any: self.any.clone(),
            transport: Arc::clone(&self.transport),
            me: Arc::clone(&self.me),
        }
    }
}

impl<T: Transport> Server<T> {
    /// The server of the settings; each request may take as long as `timeout`.
    ///
    /// # Errors
    /// [`ConfigError`] where the URL is none.
    pub fn new(
        settings: &Settings,
        transport: Arc<T>,
        timeout: Duration,
    ) -> Result<Self, ConfigError> {
        let base = api_base(&settings.gitea_url)?;
        let any = Repository::new(
            Arc::clone(&transport),
            base.clone(),
            String::new(),
            &settings.gitea_token,
            timeout,
        );
        Ok(Self {
            base,
            any,
            transport,
            me: Arc::default(),
        })
    }

    /// The address of its API.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// One of its repositories, `owner/name`.
    #[must_use]
    pub fn repository(&self, name: &str) -> Repository<T> {
        self.any.named(name)
    }

    /// Our own account, asked for once.
    ///
    /// # Errors
    /// As [`Repository::me`]; it is asked for again the next time.
    pub async fn me(&self) -> Result<&User, GiteaError> {
        self.me.get_or_try_init(|| self.any.me()).await
    }

    /// What carries requests, for those that go elsewhere.
    #[must_use]
    pub fn transport(&self) -> &Arc<T> {
        &self.transport
    }

    /// The text without the token and the passwords of URLs.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.any.redact(text)
    }
}
