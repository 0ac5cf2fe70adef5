//! A ledger as its callers see it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::database::{Database, Fault, Mode, Place, UNWRITABLE};
use super::effect;
use super::engine::{self, Alive, Asked, Lease, Outcome, Reader, Request, Writer};
use super::machine::{Event, Plan};
use super::options::Options;
use super::store::{
    Agent, Claim, Entry, Errand, Glance, LedgerError, Record, Recorded, Story, Submission,
    Submitted, Watched,
};

/// Asks for something and takes the answer apart.
macro_rules! ask {
    ($ledger:expr, $request:expr, Outcome::Done) => {
        $ledger.ask($request).await.map(drop)
    };
    ($ledger:expr, $request:expr, $outcome:path) => {
        match $ledger.ask($request).await? {
            $outcome(answer) => Ok(answer),
            _ => Err(LedgerError::Database("another request's answer".to_owned())),
        }
    };
}

/// A ledger: in a file of its own on a local disk, which several processes of the machine may share,
/// or in a schema of its own of a PostgreSQL database, which several machines may.
///
/// Nothing else may open the file in the same process: another copy of SQLite would drop this one's
/// locks when it closes it.
#[derive(Clone)]
pub struct Ledger {
    jobs: mpsc::Sender<Asked>,
    reader: Arc<Reader>,
    owner: Uuid,
    lease: Arc<Lease>,
    /// Held for as long as the process lives: the proof for others that it does.
    _alive: Option<Arc<Alive>>,
    place: Place,
    process: u32,
    changes: watch::Receiver<u64>,
    without_fence: bool,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("place", &self.place())
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the ledger, or makes it: at the path of a file, at `sqlite:///relative/path` or
    /// `sqlite:////absolute/path`, or at `postgresql://…`. Must run inside a tokio runtime.
    ///
    /// On PostgreSQL it lies in a schema of its own, `timmy_dispatcher` or the one that
    /// `?schema=…` names. `?pgbouncer=true` says that PgBouncer, or the like, stands before it in
    /// transaction mode: then no statement is kept on a server and nothing is asked outside of a
    /// transaction; and that a process is dead is known only by its lease.
    ///
    /// # Errors
    /// [`LedgerError::Foreign`] where there are other tables, [`LedgerError::Newer`] for one of a
    /// newer version, [`LedgerError::Unusable`] for a place that cannot be, and
    /// [`LedgerError::Database`] where it cannot be opened.
    pub async fn open(
        at: impl AsRef<Path>,
        agents: Vec<Agent>,
        options: Options,
    ) -> Result<Self, LedgerError> {
        Self::open_as(at.as_ref(), Some(agents), options).await
    }

    /// Opens the ledger for who looks and submits and cancels, but looks after nothing: it brings no
    /// agents of its own, and claims and sends nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn visit(at: impl AsRef<Path>, options: Options) -> Result<Self, LedgerError> {
        Self::open_as(at.as_ref(), None, options).await
    }

    async fn open_as(
        at: &Path,
        agents: Option<Vec<Agent>>,
        options: Options,
    ) -> Result<Self, LedgerError> {
        let database = Database::at(at)?;
        database.migrate().await?;
        let mut connection = database.connect(true).await?;
        let reading = database.connect(false).await?;
        let place = database.place().clone();
        let owner = Uuid::now_v7();
        let works = agents.is_some();
        let session = works && database.has_sessions();
        let mut alive = None;
        if let (true, Place::File(path)) = (works, &place) {
            let proof = Alive::new(path, owner).map_err(|error| LedgerError::Unreachable {
                place: place.to_string(),
                why: error.to_string(),
                advice: UNWRITABLE,
            })?;
            alive = Some(Arc::new(proof));
        }
        if session {
            engine::hold(&mut connection, owner).await?;
        }
        let lease = Arc::new(Lease::new(options.lease));
        let (revision, agents) = match agents {
            Some(agents) => {
                let enter = engine::enter(&mut connection, owner, &agents, &options, session);
                (enter.await?, agents)
            }
            None => {
                lease.lost();
                let mut transaction = connection.begin(Mode::Read).await.map_err(Fault::from)?;
                let agents = engine::in_force(&mut transaction).await?;
                transaction.end().await.map_err(Fault::from)?;
                agents
            }
        };
        let (jobs, waiting) = mpsc::channel(1024);
        let (changes, changed) = watch::channel(0);
        let reader = Reader::new(
            database.clone(),
            reading,
            owner,
            Arc::clone(&lease),
            options.clone(),
        );
        let without_fence = options.without_fence;
        let writer = Writer {
            owner,
            works,
            revision,
            lease: Arc::clone(&lease),
            agents,
            database,
            place: place.clone(),
            options,
            changes,
            kept: AtomicI64::new(0),
        };
        tokio::spawn(writer.run(connection, waiting));
        Ok(Self {
            jobs,
            reader: Arc::new(reader),
            owner,
            lease,
            _alive: alive,
            place,
            process: std::process::id(),
            changes: changed,
            without_fence,
        })
    }

    /// Where it lies, as it may be shown: without a password.
    #[must_use]
    pub fn place(&self) -> String {
        self.place.to_string()
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
        ask!(
            self,
            Request::Submit(Box::new(submission)),
            Outcome::Submitted
        )
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
        ask!(self, Request::Claim(agents, limit), Outcome::Claims)
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
        ask!(
            self,
            Request::Record(id, event, evidence),
            Outcome::Recorded
        )
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
        ask!(self, Request::Note(id, fence, kind, body), Outcome::Done)
    }

    /// Raises the deadlines, retries and silences whose time has come, up to `limit` dispatches, and
    /// yields how many there were.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub async fn due(&self, limit: usize) -> Result<usize, LedgerError> {
        ask!(self, Request::Due(limit), Outcome::Count)
    }

    /// Gives an agent, or with `None` all of them, no more tasks, or tasks again.
    ///
    /// # Errors
    /// [`LedgerError::UnknownAgent`].
    pub async fn pause(&self, agent: Option<String>, paused: bool) -> Result<(), LedgerError> {
        ask!(self, Request::Pause(agent, paused), Outcome::Done)
    }

    /// A repository has another name: what is open about it goes on there, and what was held is
    /// released. Yields how many dispatches there were.
    ///
    /// # Errors
    /// [`LedgerError::Database`], also where something is open about the same issue there.
    pub async fn relocate(&self, from: &str, to: &str) -> Result<usize, LedgerError> {
        let (from, to) = (from.to_owned(), to.to_owned());
        ask!(self, Request::Relocate(from, to), Outcome::Count)
    }

    /// The ledger was restored from an older copy, and nobody works on it yet: the next fence of each
    /// dispatch is far above any that may be in use, every effect that is not settled is in doubt, and
    /// what is open is held. Yields what is to be looked up before it is released. Processes that
    /// stood still with [`LedgerError::WentBack`] go on.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn restored(&self) -> Result<Vec<Uuid>, LedgerError> {
        ask!(self, Request::Restored, Outcome::Ids)
    }

    /// Gives a dispatch that is not handed out another task and plan, with how it came to them, and
    /// releases it where it is held. False: it is handed out, or has ended.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] and [`LedgerError::UnknownAgent`].
    pub async fn replan(
        &self,
        id: Uuid,
        task: Value,
        plan: Plan,
        evidence: Value,
    ) -> Result<bool, LedgerError> {
        let plan = Box::new(plan);
        ask!(
            self,
            Request::Replan(id, task, plan, evidence),
            Outcome::Whether
        )
    }

    /// Has an effect that waits tried at once. False: it does not wait.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] for no such effect.
    pub async fn hasten(&self, effect: Uuid) -> Result<bool, LedgerError> {
        ask!(
            self,
            Request::Steer(effect, effect::Event::Hasten),
            Outcome::Whether
        )
    }

    /// Gives up an effect, whatever became of it. False: it is on its way this moment, or settled.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] for no such effect.
    pub async fn abandon(&self, effect: Uuid) -> Result<bool, LedgerError> {
        ask!(
            self,
            Request::Steer(effect, effect::Event::Abandon),
            Outcome::Whether
        )
    }

    /// Takes up to `limit` effects whose turn it is. They count as sent when this returns, so each
    /// must be carried out and [`answered`](Self::answered) or is in doubt.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub async fn send(&self, limit: usize) -> Result<Vec<Errand>, LedgerError> {
        ask!(self, Request::Send(limit), Outcome::Errands)
    }

    /// The effects in doubt whose quarantine has passed, to be looked for and then
    /// [`answered`](Self::answered).
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub async fn doubtful(&self, limit: usize) -> Result<Vec<Errand>, LedgerError> {
        ask!(self, Request::Doubtful(limit), Outcome::Errands)
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
        let (dispatch, id, sends) = (errand.dispatch, errand.id, errand.row.sends);
        ask!(
            self,
            Request::Answered(dispatch, id, sends, event),
            Outcome::Answered
        )
    }

    /// How long others certainly leave this process alone, by a clock of its own that goes on while
    /// the machine sleeps. No effect may be begun with less of it left than the effect may take:
    /// look here between [`send`](Self::send) and the request.
    #[must_use]
    pub fn lease_left(&self) -> Duration {
        if self.without_fence {
            return Duration::MAX;
        }
        self.lease.left()
    }

    /// Lets others look after what is this process's at once; nothing more may be done with it here.
    /// The last handle that is dropped closes the ledger; [`changes`](Self::changes) ends with it.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn leave(&self) -> Result<(), LedgerError> {
        // Whoever still reads opens it again.
        self.reader.close().await;
        ask!(self, Request::Leave, Outcome::Done)
    }

    /// Renews the lease.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub async fn heartbeat(&self) -> Result<(), LedgerError> {
        ask!(self, Request::Heartbeat, Outcome::Done)
    }

    /// Takes over from processes that are dead, or silent for longer than their lease: their
    /// dispatches are this one's to look after, and what they were sending is in doubt. Nothing is
    /// handed out again. Yields how many processes there were.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`].
    pub async fn take_over(&self) -> Result<usize, LedgerError> {
        ask!(self, Request::TakeOver, Outcome::Count)
    }

    /// Removes what ended more than `age` ago, up to `limit` dispatches, and yields how many.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn prune(&self, age: Duration, limit: usize) -> Result<usize, LedgerError> {
        ask!(self, Request::Prune(age, limit), Outcome::Count)
    }

    /// A dispatch.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub async fn get(&self, id: Uuid) -> Result<Record, LedgerError> {
        self.here()?;
        self.reader.get(id).await
    }

    /// The newest dispatches first, unfinished ones only or all.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn list(&self, finished: bool, limit: usize) -> Result<Vec<Record>, LedgerError> {
        self.here()?;
        self.reader.list(finished, limit).await
    }

    /// All that is known of a dispatch.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`].
    pub async fn story(&self, id: Uuid) -> Result<Story, LedgerError> {
        self.here()?;
        self.reader.story(id).await
    }

    /// The dispatches with a live attempt that are this process's to look after.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn watched(&self) -> Result<Vec<Watched>, LedgerError> {
        self.here()?;
        self.reader.watched().await
    }

    /// The effects that are not settled, the oldest first.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn outbox(&self, limit: usize) -> Result<Vec<Errand>, LedgerError> {
        self.here()?;
        self.reader.outbox(limit).await
    }

    /// Whether there is anything to do, without writing.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn glance(&self) -> Result<Glance, LedgerError> {
        self.here()?;
        self.reader.glance().await
    }

    /// The agents that are in force.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn agents(&self) -> Result<Vec<Agent>, LedgerError> {
        self.here()?;
        self.reader.agents().await
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
        self.reader.version().await
    }

    /// The place in the record of everything behind which there is nothing yet.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn last_event(&self) -> Result<i64, LedgerError> {
        self.here()?;
        self.reader.last_event().await
    }

    /// The record of everything, from behind `after` on.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn events(&self, after: i64, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        self.here()?;
        self.reader.events(after, limit).await
    }

    fn here(&self) -> Result<(), LedgerError> {
        if self.process == std::process::id() {
            Ok(())
        } else {
            Err(LedgerError::Forked)
        }
    }

    async fn ask(&self, request: Request) -> Result<Outcome, LedgerError> {
        self.here()?;
        let (reply, answer) = oneshot::channel();
        let gone = || LedgerError::Database("the ledger's writer has ended".to_owned());
        let asked = Asked { request, reply };
        self.jobs.send(asked).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// What became of an errand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It happened, and the server calls it so.
    Taken(Option<i64>),
    /// It certainly did not happen, or could not be looked for, for that reason; to be tried again
    /// after that time.
    NotTaken(Duration, String),
    /// It will not happen, for that reason.
    Refused(String),
    /// There was no answer, or none that says whether it happened: that one.
    Lost(String),
    /// It was looked for, so many times it is there, and the first is called so.
    Found(u32, Option<i64>),
}
