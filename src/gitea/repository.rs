//! One repository of a Gitea server, asked and changed through typed values.
//!
//! The drop-in functions make exactly the requests of the module they replace, through a host's own
//! client; what is not bound to that goes through [`Repository`].

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer;
use super::values::{
    CombinedStatus, Comment, Hook, Issue, Label, PullRequest, RepositoryInfo, Review,
    ServerVersion, TimelineEntry, User,
};
use crate::dispatch::retry::parse_retry_after;
use crate::http::{Method, Repeat, Request, Response, Secrets, SendError, Transport};

/// A server that says it has more pages is not believed.
const MAX_PAGES: u32 = 200;
/// Entries on a page; a server may give fewer.
const PAGE: u32 = 50;
/// So much of an error's text is kept.
const MESSAGE: usize = 200;

/// Why a request came to nothing. The texts hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GiteaError {
    /// It certainly did not arrive.
    #[error("{0}")]
    NotSent(String),
    /// It may have arrived: there was no answer, or none that can be read.
    #[error("{0}")]
    NoAnswer(String),
    /// The server answered with a status that is no success.
    #[error("{}", shown(*.status, .message))]
    Status {
        /// The status.
        status: u16,
        /// What the server said.
        message: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
        /// Where it says that the repository is now.
        location: Option<String>,
    },
}

fn shown(status: u16, message: &str) -> String {
    if message.is_empty() {
        status.to_string()
    } else {
        format!("{status}: {message}")
    }
}

impl GiteaError {
    /// The status of the answer, where there was one.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the server may have done what it was asked for.
    #[must_use]
    pub const fn is_doubtful(&self) -> bool {
        match self {
            Self::NotSent(_) => false,
            Self::NoAnswer(_) => true,
            Self::Status { status, .. } => *status >= 500,
        }
    }

    /// Whether the same may well succeed a little later. One 401 is no proof that a token is dead:
    /// a server whose database fails says so too.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::NoAnswer(_) => true,
            Self::Status { status, .. } => *status >= 500 || matches!(*status, 401 | 408 | 429),
        }
    }

    /// How long the server wants to be left alone.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A repository, with the right to get in.
pub struct Repository<T> {
    transport: Arc<T>,
    base: String,
    name: String,
    authorization: String,
    timeout: Duration,
    secrets: Secrets,
}

impl<T> Clone for Repository<T> {
    fn clone(&self) -> Self {
        Self {
            transport: Arc::clone(&self.transport),
            base: self.base.clone(),
            name: self.name.clone(),
            authorization: self.authorization.clone(),
            timeout: self.timeout,
            secrets: self.secrets.clone(),
        }
    }
}

impl<T> std::fmt::Debug for Repository<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("base", &crate::http::redact_url(&self.base))
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

type Asked<V> = Result<V, GiteaError>;

impl<T: Transport> Repository<T> {
    /// The repository `owner/name` behind the API at `base` (see
    /// [`api_base`](crate::dispatch::api_base)); each request may take as long as `timeout`.
    #[must_use]
    pub fn new(
        transport: Arc<T>,
        base: String,
        name: String,
        token: &str,
        timeout: Duration,
    ) -> Self {
        let mut secrets = Secrets::default();
        secrets.add(token);
        secrets.add_url(&base);
        Self {
            transport,
            base,
            name,
            authorization: format!("token {token}"),
            timeout,
            secrets,
        }
    }

    /// The same server's repository of another name.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// `owner/name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text without the token and the passwords of URLs.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.secrets.redact(text)
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// 403 where the token lacks the scope `read:user`.
    pub async fn me(&self) -> Asked<User> {
        self.get(&format!("{}/user", self.base)).await
    }

    /// Which server it is, and what time it is there.
    ///
    /// # Errors
    /// 401 with a bad token; no token needs a scope for it.
    pub async fn server_version(&self) -> Asked<ServerVersion> {
        let url = format!("{}/version", self.base);
        let answer = self.send(Method::Get, &url, None, Repeat::Safe).await?;
        let date = answer.header("date");
        Ok(ServerVersion {
            date: date.and_then(|date| httpdate::parse_http_date(date).ok()),
            ..read(&answer)?
        })
    }

    /// An account of the server.
    ///
    /// # Errors
    /// 404 where there is none of that name, 403 where the token lacks the scope `read:user`.
    pub async fn account(&self, login: &str) -> Asked<User> {
        let login =
            percent_encoding::utf8_percent_encode(login, percent_encoding::NON_ALPHANUMERIC);
        self.get(&format!("{}/users/{login}", self.base)).await
    }

    /// The webhooks of the repository.
    ///
    /// # Errors
    /// 403 for who does not administer it.
    pub async fn hooks(&self) -> Asked<Vec<Hook>> {
        self.pages(&self.url("/hooks"), "", Total::OfAll).await
    }

    /// What is known of the repository itself.
    ///
    /// # Errors
    /// 301 where it has moved, 404 where it is not there or not to be seen.
    pub async fn info(&self) -> Asked<RepositoryInfo> {
        self.get(&self.url("")).await
    }

    /// An issue. One with number 0 is an internal error of the server: [`GiteaError::NoAnswer`].
    ///
    /// # Errors
    /// 404 where it is not there.
    pub async fn issue(&self, number: u64) -> Asked<Issue> {
        let issue: Issue = self.get(&self.url(&format!("/issues/{number}"))).await?;
        if issue.number == 0 {
            return Err(GiteaError::NoAnswer(
                "the server answered with an empty issue".to_owned(),
            ));
        }
        Ok(issue)
    }

    /// Issues that changed since, open and closed, the newest first; all of them with `None`.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub async fn issues_since(&self, since: Option<&str>) -> Asked<Vec<Issue>> {
        let since = since.map_or_else(String::new, |since| {
            let since =
                percent_encoding::utf8_percent_encode(since, percent_encoding::NON_ALPHANUMERIC);
            format!("&since={since}")
        });
        self.pages(
            &self.url("/issues"),
            &format!("state=all&type=issues{since}"),
            Total::OfAll,
        )
        .await
    }

    /// Opens or closes an issue.
    ///
    /// # Errors
    /// 412 where open dependencies forbid to close it.
    pub async fn set_closed(&self, number: u64, closed: bool) -> Asked<Issue> {
        let state = if closed { "closed" } else { "open" };
        let url = self.url(&format!("/issues/{number}"));
        self.change(
            Method::Patch,
            &url,
            &json!({ "state": state }),
            Repeat::Safe,
        )
        .await
    }

    /// The history of an issue: comments, labels, references, closings, in the order of their ids.
    ///
    /// # Errors
    /// 500 where the issue is not there.
    pub async fn timeline(&self, number: u64) -> Asked<Vec<TimelineEntry>> {
        let url = self.url(&format!("/issues/{number}/timeline"));
        self.pages(&url, "", Total::OfThePage).await
    }

    /// The comments of an issue.
    ///
    /// # Errors
    /// 500 where the issue is not there.
    pub async fn comments(&self, number: u64) -> Asked<Vec<Comment>> {
        let url = self.url(&format!("/issues/{number}/comments"));
        Ok(self
            .get::<Option<Vec<Comment>>>(&url)
            .await?
            .unwrap_or_default())
    }

    /// Comments on an issue.
    ///
    /// # Errors
    /// 403 on a locked issue, 423 in an archived repository, 500 where the issue is not there.
    pub async fn post_comment(&self, number: u64, body: &str) -> Asked<Comment> {
        let url = self.url(&format!("/issues/{number}/comments"));
        self.change(Method::Post, &url, &json!({ "body": body }), Repeat::Unsafe)
            .await
    }

    /// Removes a comment; one that is not there is no error.
    ///
    /// # Errors
    /// 403 where it is somebody else's.
    pub async fn delete_comment(&self, id: i64) -> Asked<()> {
        let url = self.url(&format!("/issues/comments/{id}"));
        match self.send(Method::Delete, &url, None, Repeat::Safe).await {
            Err(error) if error.status() == Some(404) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The labels of the repository, by name.
    ///
    /// # Errors
    /// As [`info`](Self::info).
    pub async fn labels(&self) -> Asked<Vec<Label>> {
        self.pages(&self.url("/labels"), "", Total::OfAll).await
    }

    /// Makes a label. Names are not unique: look first.
    ///
    /// # Errors
    /// 403 without the right to write.
    pub async fn create_label(&self, name: &str, color: &str) -> Asked<Label> {
        let url = self.url("/labels");
        let label = json!({ "name": name, "color": color });
        self.change(Method::Post, &url, &label, Repeat::Unsafe)
            .await
    }

    /// Puts a label on an issue and yields the labels that it then has: one with an id that the
    /// server does not know is left out without an error.
    ///
    /// # Errors
    /// 404 where the issue is not there.
    pub async fn add_label(&self, number: u64, id: i64) -> Asked<Vec<Label>> {
        let url = self.url(&format!("/issues/{number}/labels"));
        // An agent may take it off at once, and must not find it a second time.
        let labels = json!({ "labels": [id] });
        self.change(Method::Post, &url, &labels, Repeat::Unsafe)
            .await
    }

    /// Takes a label off an issue; one that is not on it, or does not exist, is no error.
    ///
    /// # Errors
    /// 404 where the issue is not there.
    pub async fn remove_label(&self, number: u64, id: i64) -> Asked<()> {
        let url = self.url(&format!("/issues/{number}/labels/{id}"));
        match self.send(Method::Delete, &url, None, Repeat::Safe).await {
            Err(error) if error.status() == Some(422) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// A pull request.
    ///
    /// # Errors
    /// 403 where the token lacks the scope `read:repository`.
    pub async fn pull_request(&self, number: u64) -> Asked<PullRequest> {
        self.get(&self.url(&format!("/pulls/{number}"))).await
    }

    /// What the checks of a commit say together.
    ///
    /// # Errors
    /// 403 where the token lacks the scope `read:repository`.
    pub async fn combined_status(&self, commit: &str) -> Asked<CombinedStatus> {
        let commit =
            percent_encoding::utf8_percent_encode(commit, percent_encoding::NON_ALPHANUMERIC);
        self.get(&self.url(&format!("/commits/{commit}/status")))
            .await
    }

    /// The reviews of a pull request.
    ///
    /// # Errors
    /// 403 where the token lacks the scope `read:repository`.
    pub async fn reviews(&self, pull_request: u64) -> Asked<Vec<Review>> {
        let url = self.url(&format!("/pulls/{pull_request}/reviews"));
        self.pages(&url, "", Total::OfAll).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/repos/{}{path}", self.base, self.name)
    }

    async fn get<V: DeserializeOwned>(&self, url: &str) -> Asked<V> {
        let answer = self.send(Method::Get, url, None, Repeat::Safe).await?;
        read(&answer)
    }

    async fn change<V: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: &Value,
        repeat: Repeat,
    ) -> Asked<V> {
        let answer = self.send(method, url, Some(body), repeat).await?;
        read(&answer)
    }

    /// Every page of a list.
    async fn pages<V: DeserializeOwned>(
        &self,
        url: &str,
        query: &str,
        counted: Total,
    ) -> Asked<Vec<V>> {
        let mut entries: Vec<V> = Vec::new();
        let mut size = 0;
        for page in 1..=MAX_PAGES {
            let join = if query.is_empty() { "" } else { "&" };
            let url = format!("{url}?{query}{join}page={page}&limit={PAGE}");
            let answer = self.send(Method::Get, &url, None, Repeat::Safe).await?;
            // An empty page of a timeline is null.
            let found: Option<Vec<V>> = read(&answer)?;
            let found = found.unwrap_or_default();
            let got = found.len();
            entries.extend(found);
            let total = answer.header("x-total-count");
            let total = total.and_then(|total| total.trim().parse::<usize>().ok());
            let all = match (counted, total) {
                // What the caller may not see is left out, so that any page may be a short one.
                (Total::OfThePage, _) => false,
                (Total::OfAll, Some(total)) => entries.len() >= total,
                // The first page shows how many the server gives at most.
                (Total::OfAll, None) => got < size,
            };
            if got == 0 || all {
                return Ok(entries);
            }
            size = size.max(got);
        }
        Err(GiteaError::NoAnswer(format!(
            "the server says that there are more than {MAX_PAGES} pages"
        )))
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
        repeat: Repeat,
    ) -> Asked<Response> {
        let request = Request {
            method,
            url: url.to_owned(),
            authorization: Some(self.authorization.clone()),
            headers: Vec::new(),
            body: body.map(|body| body.to_string().into_bytes()),
            timeout: self.timeout,
            repeat,
        };
        let answer = self.transport.send(request).await.map_err(|error| {
            let text = self.redact(&error.to_string());
            match error {
                SendError::Url(_) | SendError::Connect { .. } => GiteaError::NotSent(text),
                _ => GiteaError::NoAnswer(text),
            }
        })?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let header = |name| answer.header(name);
        Err(GiteaError::Status {
            status: answer.status,
            message: self.redact(&message(&answer)),
            retry_after: header("retry-after").and_then(parse_retry_after),
            location: header("location").map(|location| self.redact(location)),
        })
    }
}

/// What a list counts in `X-Total-Count`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Total {
    OfAll,
    OfThePage,
}

fn read<V: DeserializeOwned>(answer: &Response) -> Asked<V> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| GiteaError::NoAnswer(answer::unreadable(answer, &error)))
}

/// What the server says is wrong: the `message` of its JSON, or the beginning of what it sent.
fn message(answer: &Response) -> String {
    let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let said = json.as_ref().and_then(|json| json.get("message")?.as_str());
    let text = said.map_or_else(|| answer.text(), str::to_owned);
    text.trim().chars().take(MESSAGE).collect()
}
