//! Labels: find or create, then add.
//!
//! Gitea does not keep label names unique, and lists them in pages. So a label that is not on the
//! first page is looked for on the next ones, and within a process one dispatch at a time creates:
//! whoever asked for the list before a creation finished takes that creation's id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::issue_url;
use crate::dispatch::host::{
    Arg, Body, Cause, Failure, Fallible, GiteaClient, Host, Level, Reply, Step, Value,
};

/// No repository has more pages of labels than this; a server that says so is not believed.
const MAX_PAGES: u64 = 200;
/// Repositories and labels whose creations are remembered.
const MAX_REMEMBERED: usize = 1024;

/// The colour of a label that has to be created.
pub(crate) const DEFAULT_COLOR: &str = "#0075ca";

/// Where a label is: the process (a forked child starts anew), the server, the repo, the name.
type Key = (u32, String, String, String);

/// The last creation of one label: when it finished, and the id.
#[derive(Default)]
struct Creation {
    /// When a creation began that came to no answer: the label may be there.
    unanswered: Option<u64>,
    finished: u64,
    id: i64,
}

type Lock = Arc<tokio::sync::Mutex<Creation>>;

static CREATIONS: LazyLock<Mutex<HashMap<Key, Lock>>> = LazyLock::new(Mutex::default);
static CLOCK: AtomicU64 = AtomicU64::new(1);

fn now() -> u64 {
    CLOCK.fetch_add(1, Ordering::SeqCst)
}

fn lock_of(base: &str, repo: &str, name: String) -> Lock {
    let mut known = CREATIONS.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= MAX_REMEMBERED {
        known.retain(|_, lock| Arc::strong_count(lock) > 1);
    }
    let key = (
        std::process::id(),
        base.to_owned(),
        repo.to_lowercase(),
        name,
    );
    known.entry(key).or_default().clone()
}

/// The right to create a label, which one at a time within the process has.
#[cfg(feature = "durable")]
pub(crate) struct Creating(tokio::sync::OwnedMutexGuard<Creation>);

#[cfg(feature = "durable")]
impl Creating {
    pub(crate) async fn begin(base: &str, repo: &str, name: &str) -> Self {
        Self(lock_of(base, repo, name.to_owned()).lock_owned().await)
    }

    /// The label is about to be created.
    pub(crate) fn asked(&mut self) {
        self.0.unanswered = Some(now());
    }

    /// It was, and has that id.
    pub(crate) fn made(mut self, id: i64) {
        *self.0 = Creation {
            unanswered: None,
            finished: now(),
            id,
        };
    }

    /// It was not.
    pub(crate) fn refused(mut self) {
        self.0.unanswered = None;
    }
}

/// Makes sure that the label exists and adds it to the issue.
pub(crate) async fn apply_label<H: Host, C: GiteaClient<H>>(
    host: &H,
    client: &C,
    base: &str,
    repo: &str,
    issue: &H::Value,
    label: &H::Value,
    color: &H::Value,
) -> Step<(), H> {
    let labels_url = [base, "/repos/", repo, "/labels"].concat();
    let asked = now();
    let found = match find(host, client, &labels_url, repo, label).await {
        Ok(found) => found,
        Err(Failure::Escaped(escaped)) => return Err(escaped),
        Err(Failure::Failed(cause)) => {
            host.log(
                Level::Warning,
                "Failed to list labels: %s",
                &[Arg::Said(&cause.shown)],
            )?;
            return Ok(Err(cause));
        }
    };
    let id = match found {
        Found::Label(id) => id,
        Found::Unreadable(cause) => return Ok(Err(cause)),
        Found::Absent => {
            let lock = lock_of(base, repo, label.text());
            let created = create(host, client, &labels_url, repo, label, color, lock, asked);
            match Box::pin(created).await {
                Ok(id) => id,
                Err(Failure::Escaped(escaped)) => return Err(escaped),
                Err(Failure::Failed(cause)) => return Ok(Err(cause)),
            }
        }
    };

    let number = issue.text();
    let url = issue_url(base, repo, &number, "/labels");
    match client.post(&url, Body::AddLabel { id: &id }).await {
        Ok(reply) if !reply.created() => Ok(Err(host.refusal(&reply, &format!("issue #{number}")))),
        Ok(reply) if reply.lacks_label(&id) => {
            // An id that the server does not know is ignored with a 200.
            Ok(Err(host.cause(&format!(
                "200, but label {} is not on issue #{number}",
                label.text()
            ))))
        }
        Ok(_) => Ok(Ok(())),
        Err(Failure::Escaped(escaped)) => Err(escaped),
        Err(Failure::Failed(cause)) => {
            host.log(
                Level::Warning,
                "Failed to apply label %r to #%s: %s",
                &[
                    Arg::Value(label),
                    Arg::Value(issue),
                    Arg::Said(&cause.shown),
                ],
            )?;
            Ok(Err(cause))
        }
    }
}

enum Found<V> {
    Label(V),
    Absent,
    /// A status other than 200: that the label is absent cannot be concluded.
    Unreadable(Cause<V>),
}

async fn find<H: Host, C: GiteaClient<H>>(
    host: &H,
    client: &C,
    url: &str,
    repo: &str,
    label: &H::Value,
) -> Fallible<Found<H::Value>, H> {
    let mut ids = Vec::new();
    let mut seen = 0;
    let mut page_size = 0;
    let mut total = None;
    for page in 1..=MAX_PAGES {
        let reply = if page == 1 {
            client.get(url).await?
        } else {
            client
                .get(&format!("{url}?page={page}&limit={page_size}"))
                .await?
        };
        match reply.status() {
            Some(200) => {}
            Some(_) => {
                return Ok(Found::Unreadable(
                    host.refusal(&reply, &format!("repository {repo}")),
                ));
            }
            None => break,
        }
        let labels = reply.labels_named(label)?;
        seen += labels.entries;
        ids.extend(labels.ids);
        // One of several that bear the name may stand on the next page only where the last bears it.
        if labels.entries == 0 || (!ids.is_empty() && !labels.found_last) {
            break;
        }
        if page == 1 {
            page_size = labels.entries;
            total = reply
                .header("x-total-count")
                .and_then(|count| count.trim().parse::<u64>().ok());
        }
        if total.is_none_or(|total| total <= seen) {
            break;
        }
    }
    Ok(lowest(ids).map_or(Found::Absent, Found::Label))
}

fn lowest<V: Value>(ids: Vec<V>) -> Option<V> {
    let mut ids = ids.into_iter();
    let first = ids.next()?;
    Some(
        ids.fold(first, |best, id| match (best.integer(), id.integer()) {
            (Some(known), Some(other)) if other < known => id,
            _ => best,
        }),
    )
}

#[expect(
    clippy::too_many_arguments,
    reason = "they are what the label and its place consist of"
)]
async fn create<H: Host, C: GiteaClient<H>>(
    host: &H,
    client: &C,
    url: &str,
    repo: &str,
    label: &H::Value,
    color: &H::Value,
    lock: Lock,
    asked: u64,
) -> Fallible<H::Value, H> {
    let mut creation = match lock.clone().try_lock_owned() {
        Ok(guard) => guard,
        Err(_) => host.wait(lock.lock_owned()).await?,
    };
    if creation.finished > asked {
        return Ok(host.number(creation.id));
    }
    if creation.unanswered.is_some_and(|began| began > asked) {
        match find(host, client, url, repo, label).await? {
            Found::Label(id) => return Ok(id),
            Found::Unreadable(cause) => return Err(Failure::Failed(cause)),
            Found::Absent => {}
        }
    }
    creation.unanswered = Some(now());
    let answer = client
        .post(url, Body::NewLabel { name: label, color })
        .await;
    if answer.is_ok() {
        creation.unanswered = None;
    }
    let created = match answer {
        Ok(reply) if reply.created() => match reply.id() {
            Ok(Some(id)) => Ok(id),
            Ok(None) => {
                return Err(Failure::Failed(
                    host.cause("the answer to the label's creation holds no id"),
                ));
            }
            Err(Failure::Failed(cause)) => Err(cause),
            Err(escaped) => return Err(escaped),
        },
        Ok(reply) => {
            return Err(Failure::Failed(
                host.refusal(&reply, &format!("repository {repo}")),
            ));
        }
        Err(Failure::Failed(cause)) => Err(cause),
        Err(escaped) => return Err(escaped),
    };
    match created {
        Ok(id) => {
            if let Some(number) = id.integer() {
                *creation = Creation {
                    unanswered: None,
                    finished: now(),
                    id: number,
                };
            }
            Ok(id)
        }
        Err(cause) => {
            host.log(
                Level::Warning,
                "Failed to create label %r: %s",
                &[Arg::Value(label), Arg::Said(&cause.shown)],
            )?;
            Err(Failure::Failed(cause))
        }
    }
}
