//! Waiting for one issue over the transport of a [`Swarm`].

use std::time::Duration;

use super::host::{Fallible, Host, Value};
use super::settings::{ConfigError, api_base, check_repo};
use super::swarm::Swarm;
use super::swarm_values::{Client, NativeHost, Opaque, secrets_of};
use crate::gitea;
use crate::http::{Method, Response, Secrets, Transport};
use crate::task::UnknownName;
use crate::watch::{self, Watched};

/// One issue that is waited for.
pub(crate) struct Watch<'a, T: Transport> {
    swarm: &'a Swarm<T>,
    issue: Opaque,
    limit: Opaque,
    interval: f64,
    secrets: Secrets,
}

impl<'a, T: Transport> Watch<'a, T> {
    pub(crate) fn new(swarm: &'a Swarm<T>, issue: Opaque, interval: f64, limit: f64) -> Self {
        Self {
            swarm,
            issue,
            limit: Opaque::Text(limit.to_string()),
            interval,
            secrets: secrets_of(&swarm.settings, std::iter::empty()),
        }
    }
}

impl<T: Transport> NativeHost for Watch<'_, T> {
    fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

impl<T: Transport> Watched for Watch<'_, T> {
    fn issue(&self) -> &Opaque {
        &self.issue
    }

    fn shown_limit(&self) -> &Opaque {
        &self.limit
    }

    fn issue_url(&self) -> Result<Result<String, ConfigError>, UnknownName> {
        let settings = &self.swarm.settings;
        Ok(api_base(&settings.gitea_url).and_then(|base| {
            check_repo(&settings.gitea_repo)?;
            Ok(gitea::issue_url(
                &base,
                &settings.gitea_repo,
                &self.issue.text(),
                "",
            ))
        }))
    }

    async fn ask<R: Send>(
        &self,
        url: &str,
        read: impl FnOnce(&Response) -> Fallible<R, Self> + Send,
    ) -> Fallible<Option<R>, Self> {
        let client = Client::new(
            self.swarm.transport.clone(),
            format!("token {}", self.swarm.settings.gitea_token),
            watch::TIMEOUT,
            self.secrets.clone(),
        );
        let answer = client.send::<Self>(Method::Get, url, None).await?;
        read(&answer).map(Some)
    }

    fn sleeps_really(&self) -> bool {
        true
    }

    async fn pause(&self, rest: Option<f64>) -> Result<(), UnknownName> {
        let seconds = rest.unwrap_or(self.interval).max(0.0);
        self.sleep(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
            .await
    }
}
