//! What the native host of the flow carries: values, answers, Gitea over a transport, log lines.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::host::{
    Arg, Body, Cause, Failure, Fallible, GiteaClient, Host, IssueState, LabelPage, Level, Read,
    Reply, Value,
};
use super::settings::{ConfigError, Settings, api_base, check_repo};
use crate::gitea::answer;
use crate::http::{Method, Repeat, Request, Response, Secrets, SendError, Transport};
use crate::task::UnknownName;

/// Text, a number, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opaque {
    Nothing,
    Text(String),
    Number(i64),
}

impl From<u64> for Opaque {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or_else(|_| Self::Text(number.to_string()), Self::Number)
    }
}

impl From<&str> for Opaque {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Value for Opaque {
    fn text(&self) -> String {
        match self {
            Self::Nothing => "None".to_owned(),
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }

    fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    fn integer(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

impl Opaque {
    fn repr(&self) -> String {
        match self {
            Self::Text(text) => format!("'{}'", text.escape_debug()),
            other => other.text(),
        }
    }

    pub(super) fn into_option(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            other => Some(other.text()),
        }
    }
}

impl Reply for Response {
    type Value = Opaque;
    type Escape = UnknownName;

    fn status(&self) -> Option<u16> {
        Some(self.status)
    }

    fn shown_status(&self) -> Opaque {
        Opaque::Number(i64::from(self.status))
    }

    fn header(&self, name: &str) -> Option<String> {
        Response::header(self, name).map(str::to_owned)
    }

    fn text(&self, limit: usize) -> Read<Opaque, Self> {
        Ok(Opaque::Text(
            Response::text(self).chars().take(limit).collect(),
        ))
    }

    fn labels_named(&self, name: &Opaque) -> Read<LabelPage<Opaque>, Self> {
        let page =
            answer::labels_named(&self.body, &name.text()).map_err(|e| unreadable(self, &e))?;
        Ok(LabelPage {
            ids: page.ids.into_iter().map(Opaque::Number).collect(),
            entries: page.entries,
            found_last: page.found_last,
        })
    }

    fn id(&self) -> Read<Option<Opaque>, Self> {
        answer::id(&self.body)
            .map(|id| id.map(Opaque::Number))
            .map_err(|e| unreadable(self, &e))
    }

    fn lacks_label(&self, id: &Opaque) -> bool {
        id.integer()
            .is_some_and(|id| answer::lacks_label(&self.body, id))
    }

    fn issue_state(&self) -> Read<IssueState, Self> {
        answer::issue_state(&self.body).map_err(|e| unreadable(self, &e))
    }
}

fn unreadable(reply: &Response, error: &serde_json::Error) -> Failure<Opaque, UnknownName> {
    let text = answer::unreadable(reply, error);
    Failure::Failed(Cause {
        shown: Opaque::Text(text.clone()),
        text,
        transient: None,
    })
}

/// Gitea, as the settings describe it.
pub(crate) struct GiteaPlace {
    pub(super) base: String,
    pub(super) repo: String,
    pub(super) authorization: String,
}

pub(super) fn gitea_place(settings: &Settings) -> Option<Result<GiteaPlace, ConfigError>> {
    if !settings.gitea_enabled || settings.gitea_token.is_empty() {
        return None;
    }
    Some(api_base(&settings.gitea_url).and_then(|base| {
        check_repo(&settings.gitea_repo)?;
        let authorization = format!("token {}", settings.gitea_token);
        Ok(GiteaPlace {
            base,
            repo: settings.gitea_repo.clone(),
            authorization,
        })
    }))
}

/// Gitea over a transport.
pub(crate) struct Client<T> {
    transport: Arc<T>,
    authorization: String,
    timeout: Duration,
    secrets: Secrets,
}

fn post_body(body: &Body<'_, Opaque>) -> (Vec<u8>, Repeat) {
    #[derive(Serialize)]
    struct NewLabel {
        name: String,
        color: String,
    }
    #[derive(Serialize)]
    struct AddLabel {
        labels: [i64; 1],
    }
    #[derive(Serialize)]
    struct Comment {
        body: String,
    }
    let (json, repeat) = match body {
        Body::NewLabel { name, color } => (
            serde_json::to_vec(&NewLabel {
                name: name.text(),
                color: color.text(),
            }),
            Repeat::Unsafe,
        ),
        Body::AddLabel { id } => (
            serde_json::to_vec(&AddLabel {
                labels: [id.integer().unwrap_or_default()],
            }),
            Repeat::Safe,
        ),
        Body::Comment { text } => (
            serde_json::to_vec(&Comment { body: text.text() }),
            Repeat::Unsafe,
        ),
    };
    (json.unwrap_or_default(), repeat)
}

impl<T: Transport> Client<T> {
    pub(crate) fn new(
        transport: Arc<T>,
        authorization: String,
        timeout: Duration,
        secrets: Secrets,
    ) -> Self {
        Self {
            transport,
            authorization,
            timeout,
            secrets,
        }
    }

    pub(super) async fn send<H: Host<Value = Opaque, Reply = Response>>(
        &self,
        method: Method,
        url: &str,
        body: Option<(Vec<u8>, Repeat)>,
    ) -> Fallible<Response, H> {
        let (body, repeat) =
            body.map_or((None, Repeat::Safe), |(body, repeat)| (Some(body), repeat));
        let authorization = Some(self.authorization.clone());
        let request = Request {
            method,
            url: url.to_owned(),
            authorization,
            headers: Vec::new(),
            body,
            timeout: self.timeout,
            repeat,
        };
        let sent = self.transport.send(request).await;
        sent.map_err(|error| Failure::Failed(send_failure(&error, &self.secrets)))
    }
}

fn send_failure(error: &SendError, secrets: &Secrets) -> Cause<Opaque> {
    let text = secrets.redact(&error.to_string());
    Cause {
        shown: Opaque::Text(text.clone()),
        transient: error.is_transient().then(Default::default),
        text,
    }
}

/// What the settings, and whatever else names a URL, hold that must not be read.
pub(super) fn secrets_of<'a>(settings: &Settings, urls: impl Iterator<Item = &'a str>) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.add(&settings.gitea_token);
    secrets.add_url(&settings.gitea_url);
    urls.for_each(|url| secrets.add_url(url));
    secrets
}

impl<T: Transport, H: Host<Value = Opaque, Reply = Response>> GiteaClient<H> for Client<T> {
    async fn get(&self, url: &str) -> Fallible<Response, H> {
        self.send::<H>(Method::Get, url, None).await
    }

    async fn post(&self, url: &str, body: Body<'_, Opaque>) -> Fallible<Response, H> {
        self.send::<H>(Method::Post, url, Some(post_body(&body)))
            .await
    }
}

fn render(template: &str, args: &[Arg<'_, Opaque>]) -> String {
    let mut out = String::new();
    let mut args = args.iter();
    let mut parts = template.split('%');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let repr = part.starts_with('r');
        match args.next() {
            Some(Arg::Number(number)) => out.push_str(&number.to_string()),
            Some(Arg::Value(value) | Arg::Said(value)) if repr => out.push_str(&value.repr()),
            Some(Arg::Value(value) | Arg::Said(value)) => out.push_str(&value.text()),
            None => {}
        }
        out.push_str(part.get(1..).unwrap_or_default());
    }
    out
}

/// A host without Python: its values are the core's own, and its time is tokio's.
pub(crate) trait NativeHost: Send + Sync {
    fn secrets(&self) -> &Secrets;

    fn note(&self, level: Level, template: &'static str, args: &[Arg<'_, Opaque>]) {
        match level {
            Level::Info => tracing::info!("{}", render(template, args)),
            Level::Warning => tracing::warn!("{}", render(template, args)),
            Level::Error => tracing::error!("{}", render(template, args)),
        }
    }
}

impl<N: NativeHost> Host for N {
    type Value = Opaque;
    type Escape = UnknownName;
    type Reply = Response;

    fn log(
        &self,
        level: Level,
        template: &'static str,
        args: &[Arg<'_, Opaque>],
    ) -> Result<(), UnknownName> {
        self.note(level, template, args);
        Ok(())
    }

    async fn sleep(&self, duration: Duration) -> Result<(), UnknownName> {
        tokio::time::sleep(duration).await;
        Ok(())
    }

    async fn wait<F>(&self, future: F) -> Result<F::Output, UnknownName>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Ok(future.await)
    }

    fn value(&self, text: &str) -> Opaque {
        Opaque::from(text)
    }

    fn number(&self, number: i64) -> Opaque {
        Opaque::Number(number)
    }

    fn redact(&self, text: &str) -> String {
        self.secrets().redact(text)
    }
}
