//! The ledger in an SQLite file: one writer per process, whose transactions hold as many changes as
//! are waiting, so that many share one `fsync`.

mod change;
mod effects;
mod lease;
mod owners;
mod read;
mod schema;
mod submit;
mod writer;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use uuid::Uuid;

use super::effect;
use super::machine::{Effect, Event};
use super::store::{
    Agent, Claim, Entry, Errand, Glance, LedgerError, Record, Recorded, Story, Submission,
    Submitted, Watched,
};
use writer::Job;

/// How long to wait for another process that has the file to itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// When a commit is about to be made or has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The changes are written, and lost if the process dies now.
    BeforeCommit,
    /// The changes are kept, and nobody was told yet.
    AfterCommit,
}

/// Called around every commit with the names of the changes in it.
type Observer = Arc<dyn Fn(Moment, &[&'static str]) + Send + Sync>;

/// How a ledger is opened.
#[derive(Clone)]
pub struct Options {
    lease: Duration,
    quarantine: Duration,
    grace: Duration,
    review: Duration,
    backoff: Duration,
    observer: Option<Observer>,
}

impl Default for Options {
    /// A lease of 30 s, a quarantine of 30 s, a grace of 10 minutes, 7 days for a review, and a first
    /// wait of 30 s before a retry.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            quarantine: Duration::from_secs(30),
            grace: Duration::from_secs(600),
            review: Duration::from_secs(7 * 24 * 3600),
            backoff: Duration::from_secs(30),
            observer: None,
        }
    }
}

impl Options {
    /// How long this process may be silent before others take over. Every change renews it, and
    /// [`Ledger::heartbeat`].
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a server may still carry out a request whose answer was lost.
    #[must_use]
    pub const fn quarantine(mut self, quarantine: Duration) -> Self {
        self.quarantine = quarantine;
        self
    }

    /// How long an agent must be silent after its task was taken back, before its slot is free.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long the gates may take.
    #[must_use]
    pub const fn review(mut self, review: Duration) -> Self {
        self.review = review;
        self
    }

    /// How long to wait before an agent is tried again; twice as long each further time.
    #[must_use]
    pub const fn backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self
    }

    /// Calls `observer` before and after every commit, on the writer's task; a test can stop the
    /// process there.
    #[must_use]
    pub fn observed(
        mut self,
        observer: impl Fn(Moment, &[&'static str]) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("lease", &self.lease)
            .field("quarantine", &self.quarantine)
            .finish_non_exhaustive()
    }
}

/// A ledger in a file of its own on a local disk, which several processes of the machine may share.
///
/// Nothing else may open the file in the same process: another copy of SQLite would drop this one's
/// locks when it closes it.
#[derive(Debug, Clone)]
pub struct Ledger {
    jobs: mpsc::Sender<Job>,
    reader: Arc<Mutex<SqliteConnection>>,
    owner: Uuid,
    lease: Arc<lease::Lease>,
    /// Held for as long as the process lives: the proof for others that it does.
    _alive: Option<Arc<owners::Alive>>,
    place: PathBuf,
    process: u32,
    changes: watch::Receiver<u64>,
}

impl Ledger {
    /// Opens the file, or makes it. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`LedgerError::Foreign`] for a file with other tables, [`LedgerError::Newer`] for one of a
    /// newer version, [`LedgerError::Database`] where it cannot be opened.
    pub async fn open(
        path: impl AsRef<Path>,
        agents: Vec<Agent>,
        options: Options,
    ) -> Result<Self, LedgerError> {
        Self::open_as(path.as_ref(), Some(agents), options).await
    }

    /// Opens the file for who looks and submits and cancels, but looks after nothing: it brings no
    /// agents of its own, and claims and sends nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn visit(path: impl AsRef<Path>, options: Options) -> Result<Self, LedgerError> {
        Self::open_as(path.as_ref(), None, options).await
    }

    async fn open_as(
        path: &Path,
        agents: Option<Vec<Agent>>,
        options: Options,
    ) -> Result<Self, LedgerError> {
        let place = path.to_owned();
        let shown = place.display().to_string();
        let plain = SqliteConnectOptions::from_str("sqlite://")?
            .filename(&place)
            .create_if_missing(true)
            .busy_timeout(PATIENCE)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        // A foreign file is looked at before anything about it is changed, its journal mode included.
        let mut first = plain.connect().await.map_err(not_ours(&shown))?;
        schema::migrate(&mut first, &shown).await?;
        first.close().await?;
        let ours = plain.journal_mode(SqliteJournalMode::Wal);
        let mut connection = patiently(&ours).await?;
        let reader = patiently(&ours.clone().read_only(true)).await?;
        let owner = Uuid::now_v7();
        let lease = Arc::new(lease::Lease::new(options.lease));
        let mut alive = None;
        let (revision, agents) = match agents {
            Some(agents) => {
                let proof = owners::Alive::new(&place, owner)
                    .map_err(|error| LedgerError::Database(format!("{shown}: {error}")))?;
                alive = Some(Arc::new(proof));
                let lease = options.lease;
                let revision = owners::enter(&mut connection, owner, &agents, lease).await?;
                (revision, agents)
            }
            None => {
                lease.lost();
                owners::in_force(&mut connection).await?
            }
        };
        let (jobs, waiting) = mpsc::channel(1024);
        let (changes, changed) = watch::channel(0);
        let writer = writer::Writer {
            owner,
            revision,
            lease: Arc::clone(&lease),
            agents,
            place: place.clone(),
            options,
            changes,
        };
        tokio::spawn(writer.run(connection, waiting));
        Ok(Self {
            jobs,
            reader: Arc::new(Mutex::new(reader)),
            owner,
            lease,
            _alive: alive,
            place,
            process: std::process::id(),
            changes: changed,
        })
    }

    /// The file.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Under which name this process looks after dispatches.
    #[must_use]
    pub const fn owner(&self) -> Uuid {
        self.owner
    }

    /// Keeps a task; when this returns, it is on the disk. Given again it is the same dispatch.
    ///
    /// # Errors
    /// [`LedgerError::OtherTask`] where the idempotency key belongs to another task, and
    /// [`LedgerError::UnknownAgent`].
    pub async fn submit(&self, submission: Submission) -> Result<Submitted, LedgerError> {
        self.ask(|reply| Job::Submit(Box::new(submission), reply))
            .await
    }

    /// Takes up to `limit` dispatches that are ready, each with a free slot of its agent; only those
    /// of the named agents. The effects of the hand-over are in the outbox when this returns.
    ///
    /// # Errors
    /// [`LedgerError::OldConfiguration`] and [`LedgerError::LeaseLost`].
    pub async fn claim(
        &self,
        agents: Vec<String>,
        limit: usize,
    ) -> Result<Vec<Claim>, LedgerError> {
        self.ask(|reply| Job::Claim(agents, limit, reply)).await
    }

    /// Tells a dispatch what happened.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] for no such dispatch. What is stale is no error.
    pub async fn record(&self, id: Uuid, event: Event) -> Result<Recorded, LedgerError> {
        self.record_with(id, event, Value::Null).await
    }

    /// Tells a dispatch what happened, and how that is known: it is kept with the event.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] for no such dispatch. What is stale is no error.
    pub async fn record_with(
        &self,
        id: Uuid,
        event: Event,
        evidence: Value,
    ) -> Result<Recorded, LedgerError> {
        self.ask(|reply| Job::Record(id, event, evidence, reply))
            .await
    }

    /// Keeps something in the record of everything that changes no state: what is about to be
    /// removed, or what an agent said.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn note(
        &self,
        id: Uuid,
        fence: u64,
        kind: &'static str,
        body: Value,
    ) -> Result<(), LedgerError> {
        self.ask(|reply| Job::Note(id, fence, kind, body, reply))
            .await
    }

    /// Raises the deadlines, retries and silences whose time has come, up to `limit` dispatches, and
    /// yields how many there were.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub async fn due(&self, limit: usize) -> Result<usize, LedgerError> {
        self.ask(|reply| Job::Due(limit, reply)).await
    }

    /// Gives an agent, or with `None` all of them, no more tasks, or tasks again.
    ///
    /// # Errors
    /// [`LedgerError::UnknownAgent`].
    pub async fn pause(&self, agent: Option<String>, paused: bool) -> Result<(), LedgerError> {
        self.ask(|reply| Job::Pause(agent, paused, reply)).await
    }

    /// A repository has another name: what is open about it goes on there, and what was held is
    /// released. Yields how many dispatches there were.
    ///
    /// # Errors
    /// [`LedgerError::Database`], also where something is open about the same issue there.
    pub async fn relocate(&self, from: &str, to: &str) -> Result<usize, LedgerError> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.ask(|reply| Job::Relocate(from, to, reply)).await
    }

    /// Has an effect that waits tried at once. False: it does not wait.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] for no such effect.
    pub async fn hasten(&self, effect: Uuid) -> Result<bool, LedgerError> {
        self.ask(|reply| Job::Steer(effect, effect::Event::Hasten, reply))
            .await
    }

    /// Gives up an effect, whatever became of it. False: it is on its way this moment, or settled.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] for no such effect.
    pub async fn abandon(&self, effect: Uuid) -> Result<bool, LedgerError> {
        self.ask(|reply| Job::Steer(effect, effect::Event::Abandon, reply))
            .await
    }

    /// Takes up to `limit` effects whose turn it is. They count as sent when this returns, so each
    /// must be carried out and [`answered`](Self::answered) or is in doubt.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub async fn send(&self, limit: usize) -> Result<Vec<Errand>, LedgerError> {
        self.ask(|reply| Job::Send(limit, reply)).await
    }

    /// The effects in doubt whose quarantine has passed, to be looked for and then
    /// [`answered`](Self::answered).
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub async fn doubtful(&self, limit: usize) -> Result<Vec<Errand>, LedgerError> {
        self.ask(|reply| Job::Doubtful(limit, reply)).await
    }

    /// Says what became of an errand; `remote_id` is what the server calls it, `reason` why it was
    /// refused. An errand that somebody else has meanwhile is stale.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] for no such effect.
    pub async fn answered(
        &self,
        errand: &Errand,
        event: Answer,
    ) -> Result<Option<effect::Phase>, LedgerError> {
        let (id, sends) = (errand.id, errand.row.sends);
        self.ask(|reply| Job::Answered(id, sends, event, reply))
            .await
    }

    /// How long others certainly leave this process alone, by a clock of its own that goes on while
    /// the machine sleeps. No effect may be begun with less of it left than the effect may take:
    /// look here between [`send`](Self::send) and the request.
    #[must_use]
    pub fn lease_left(&self) -> Duration {
        self.lease.left()
    }

    /// Lets others look after what is this process's at once; nothing more may be done with it here.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn leave(&self) -> Result<(), LedgerError> {
        self.ask(Job::Leave).await
    }

    /// Renews the lease.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub async fn heartbeat(&self) -> Result<(), LedgerError> {
        self.ask(Job::Heartbeat).await
    }

    /// Takes over from processes that are dead, or silent for longer than their lease: their
    /// dispatches are this one's to look after, and what they were sending is in doubt. Nothing is
    /// handed out again. Yields how many processes there were.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub async fn take_over(&self) -> Result<usize, LedgerError> {
        self.ask(Job::TakeOver).await
    }

    /// Removes what ended more than `age` ago, up to `limit` dispatches, and yields how many.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn prune(&self, age: Duration, limit: usize) -> Result<usize, LedgerError> {
        self.ask(|reply| Job::Prune(age, limit, reply)).await
    }

    /// A dispatch.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub async fn get(&self, id: Uuid) -> Result<Record, LedgerError> {
        self.here()?;
        read::get(&mut *self.reader.lock().await, id).await
    }

    /// The newest dispatches first, unfinished ones only or all.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn list(&self, finished: bool, limit: usize) -> Result<Vec<Record>, LedgerError> {
        self.here()?;
        read::list(&mut *self.reader.lock().await, finished, limit).await
    }

    /// All that is known of a dispatch.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub async fn story(&self, id: Uuid) -> Result<Story, LedgerError> {
        self.here()?;
        read::story(&mut *self.reader.lock().await, id).await
    }

    /// The dispatches with a live attempt that are this process's to look after.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn watched(&self) -> Result<Vec<Watched>, LedgerError> {
        self.here()?;
        read::watched(&mut *self.reader.lock().await, self.owner).await
    }

    /// The effects that are not settled, the oldest first.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn outbox(&self, limit: usize) -> Result<Vec<Errand>, LedgerError> {
        self.here()?;
        read::outbox(&mut *self.reader.lock().await, limit).await
    }

    /// Whether there is anything to do, without writing.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn glance(&self) -> Result<Glance, LedgerError> {
        self.here()?;
        let mut reader = self.reader.lock().await;
        let mut glance = read::glance(&mut reader).await?;
        glance.deserted = owners::deserted(&mut reader, &self.place, self.owner).await?;
        Ok(glance)
    }

    /// The agents that are in force.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn agents(&self) -> Result<Vec<Agent>, LedgerError> {
        self.here()?;
        let agents = owners::in_force(&mut *self.reader.lock().await).await?;
        Ok(agents.1)
    }

    /// Counts the changes that this process makes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// A number that differs when another process has changed something since.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn version(&self) -> Result<i64, LedgerError> {
        self.here()?;
        read::version(&mut *self.reader.lock().await).await
    }

    /// The place in the record of everything behind which there is nothing yet.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn last_event(&self) -> Result<i64, LedgerError> {
        self.here()?;
        read::last_event(&mut *self.reader.lock().await).await
    }

    /// The record of everything, from behind `after` on.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn events(&self, after: i64, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        self.here()?;
        read::events(&mut *self.reader.lock().await, after, limit).await
    }

    fn here(&self) -> Result<(), LedgerError> {
        if self.process == std::process::id() {
            Ok(())
        } else {
            Err(LedgerError::Forked)
        }
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, LedgerError>>) -> Job,
    ) -> Result<T, LedgerError> {
        self.here()?;
        let (reply, answer) = oneshot::channel();
        let gone = || LedgerError::Database("the ledger's writer has ended".to_owned());
        self.jobs.send(job(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// What became of an errand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It happened, and the server calls it so.
    Taken(Option<i64>),
    /// It certainly did not happen, or could not be looked for; to be tried again after that time.
    NotTaken(Duration),
    /// It will not happen, for that reason.
    Refused(String),
    /// There was no answer.
    Lost,
    /// It was looked for, so many times it is there, and the first is called so.
    Found(u32, Option<i64>),
}

/// Connects. To change the journal mode, or to mend the journal after a crash, SQLite needs the file
/// for itself, and does not wait for that by itself.
async fn patiently(options: &SqliteConnectOptions) -> Result<SqliteConnection, LedgerError> {
    let began = lease::ticks();
    loop {
        match options.connect().await {
            Err(sqlx::Error::Database(error))
                if matches!(error.code().as_deref(), Some("5" | "261"))
                    && lease::ticks() < began.saturating_add(millis(PATIENCE)) =>
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            connected => return Ok(connected?),
        }
    }
}

fn not_ours(path: &str) -> impl Fn(sqlx::Error) -> LedgerError {
    move |error| match &error {
        // SQLITE_NOTADB.
        sqlx::Error::Database(inner) if inner.code().as_deref() == Some("26") => {
            LedgerError::Foreign(path.to_owned())
        }
        _ => error.into(),
    }
}

fn parse<T: FromStr>(text: &str) -> Result<T, LedgerError>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| LedgerError::Unreadable(error.to_string()))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Fences fit: SQLite counts as far as an `i64`.
fn signed(fence: u64) -> i64 {
    i64::try_from(fence).unwrap_or(i64::MAX)
}

/// How an effect in doubt is treated.
const fn repeat(effect: Effect, idempotent: bool) -> effect::Repeat {
    match effect {
        Effect::Callback => effect::Repeat::SameKey,
        Effect::Post if idempotent => effect::Repeat::SameKey,
        Effect::Post | Effect::Run => effect::Repeat::Never,
        _ => effect::Repeat::LookUp,
    }
}
