//! The one task that writes. What is waiting is written in one transaction and answered after it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::lease::{Lease, ticks};
use super::{Answer, Moment, Options, change, effects, owners, submit};
use crate::ledger::effect;
use crate::ledger::machine::Event;
use crate::ledger::store::{Agent, Claim, Errand, LedgerError, Recorded, Submission, Submitted};

/// So many changes at most share a transaction.
const GROUP: usize = 256;

type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;

/// A change that somebody waits for.
pub(super) enum Job {
    Submit(Box<Submission>, Reply<Submitted>),
    Claim(Vec<String>, usize, Reply<Vec<Claim>>),
    Record(Uuid, Event, Value, Reply<Recorded>),
    Note(Uuid, u64, &'static str, Value, Reply<()>),
    Due(usize, Reply<usize>),
    Send(usize, Reply<Vec<Errand>>),
    Doubtful(usize, Reply<Vec<Errand>>),
    Answered(Uuid, u32, Answer, Reply<Option<effect::Phase>>),
    Heartbeat(Reply<()>),
    Leave(Reply<()>),
    TakeOver(Reply<usize>),
    Prune(Duration, usize, Reply<usize>),
    Pause(Option<String>, bool, Reply<()>),
    Relocate(String, String, Reply<usize>),
    Steer(Uuid, effect::Event, Reply<bool>),
}

impl Job {
    const fn name(&self) -> &'static str {
        match self {
            Self::Submit(..) => "submit",
            Self::Claim(..) => "claim",
            Self::Record(..) => "record",
            Self::Note(..) => "note",
            Self::Send(..) => "send",
            Self::Doubtful(..) => "doubtful",
            Self::Answered(..) => "answered",
            Self::Heartbeat(_) => "heartbeat",
            Self::Leave(_) => "leave",
            Self::TakeOver(_) => "take over",
            Self::Prune(..) => "prune",
            Self::Due(..) => "due",
            Self::Pause(..) => "pause",
            Self::Relocate(..) => "relocate",
            Self::Steer(..) => "steer",
        }
    }
}

/// Tells whoever waits how it went, once it is known whether the transaction was kept.
type Told = Box<dyn FnOnce(Result<(), LedgerError>) + Send>;

fn told<T: Send + 'static>(reply: Reply<T>, result: Result<T, LedgerError>) -> Told {
    Box::new(move |kept| {
        // Whoever asked may have gone meanwhile; the change stays.
        let _ = reply.send(kept.and(result));
    })
}

pub(super) struct Writer {
    pub(super) owner: Uuid,
    pub(super) revision: i64,
    pub(super) lease: Arc<Lease>,
    pub(super) agents: Vec<Agent>,
    pub(super) place: PathBuf,
    pub(super) options: Options,
    pub(super) changes: watch::Sender<u64>,
}

/// What a change knows of its transaction.
pub(super) struct Scene<'w> {
    pub(super) writer: &'w Writer,
    /// The database's time, in milliseconds since 1970.
    pub(super) now: i64,
    /// Whether others took over from this process.
    pub(super) lost: bool,
}

impl Scene<'_> {
    /// An agent, as this process knows it.
    pub(super) fn agent(&self, name: &str) -> Option<&Agent> {
        self.writer.agents.iter().find(|agent| agent.name == name)
    }

    /// What looks after dispatches needs a lease.
    pub(super) fn lease(&self) -> Result<(), LedgerError> {
        if self.lost {
            Err(LedgerError::LeaseLost)
        } else {
            Ok(())
        }
    }
}

impl Writer {
    pub(super) async fn run(self, mut connection: SqliteConnection, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.recv().await {
            let mut group = vec![first];
            while group.len() < GROUP {
                match jobs.try_recv() {
                    Ok(job) => group.push(job),
                    Err(_) => break,
                }
            }
            let mut waiting = Vec::with_capacity(group.len());
            let kept = self.write(&mut connection, group, &mut waiting).await;
            for told in waiting {
                told(kept.clone());
            }
        }
        let _ = owners::leave(&mut connection, self.owner).await;
        let _ = connection.close().await;
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        group: Vec<Job>,
        waiting: &mut Vec<Told>,
    ) -> Result<(), LedgerError> {
        let names: Vec<&'static str> = group.iter().map(Job::name).collect();
        let observe = |moment| {
            if let Some(observer) = &self.options.observer {
                observer(moment, &names);
            }
        };
        let began = ticks();
        let mut failed = None;
        let mut transaction = match connection.begin_with("BEGIN IMMEDIATE").await {
            Ok(transaction) => Some(transaction),
            Err(error) => {
                failed = Some(LedgerError::from(error));
                None
            }
        };
        let scene = match &mut transaction {
            Some(transaction) => owners::scene(self, transaction).await,
            None => Err(LedgerError::Database(String::new())),
        };
        let scene = scene.map_err(|error| failed.get_or_insert(error).clone());
        for job in group {
            // Nobody's answer is forgotten: after a failure each is still told of it.
            let at = match (&scene, &mut transaction) {
                (Ok(scene), Some(transaction)) if failed.is_none() => {
                    Some((scene, &mut **transaction))
                }
                _ => None,
            };
            let answer = carry_out(at, job).await;
            if let Some(error) = answer.failed {
                failed.get_or_insert(error);
            }
            waiting.push(answer.told);
        }
        if let Some(error) = failed {
            return Err(error); // Dropping the transaction rolls it back.
        }
        observe(Moment::BeforeCommit);
        if let Some(transaction) = transaction {
            transaction.commit().await?;
            match scene {
                Ok(scene) if !scene.lost => self.lease.renewed(began),
                _ => self.lease.lost(),
            }
        }
        self.changes.send_modify(|count| *count += 1);
        observe(Moment::AfterCommit);
        Ok(())
    }
}

struct Answered {
    told: Told,
    /// A failure after which nothing of the transaction may be kept.
    failed: Option<LedgerError>,
}

async fn carry_out(at: Option<(&Scene<'_>, &mut SqliteConnection)>, job: Job) -> Answered {
    macro_rules! run {
        ($reply:expr, |$scene:ident, $connection:ident| $call:expr) => {{
            let result = match at {
                Some(($scene, $connection)) => $call.await,
                None => Err(LedgerError::Database("not tried".to_owned())),
            };
            let failed = match &result {
                Err(error @ (LedgerError::Database(_) | LedgerError::Unreadable(_))) => {
                    Some(error.clone())
                }
                _ => None,
            };
            Answered {
                told: told($reply, result),
                failed,
            }
        }};
    }
    match job {
        Job::Submit(submission, reply) => {
            run!(reply, |scene, c| submit::submit(scene, c, &submission))
        }
        Job::Claim(agents, limit, reply) => {
            run!(reply, |scene, c| submit::claim(scene, c, &agents, limit))
        }
        Job::Record(id, event, evidence, reply) => {
            run!(reply, |scene, c| change::record(
                scene, c, id, &event, &evidence
            ))
        }
        Job::Note(id, fence, kind, body, reply) => {
            run!(reply, |scene, c| change::note(
                scene,
                c,
                &id.to_string(),
                fence,
                kind,
                &body
            ))
        }
        Job::Due(limit, reply) => run!(reply, |scene, c| submit::due(scene, c, limit)),
        Job::Pause(agent, paused, reply) => {
            run!(reply, |scene, c| submit::pause(
                scene,
                c,
                agent.as_deref(),
                paused
            ))
        }
        Job::Relocate(from, to, reply) => {
            run!(reply, |scene, c| submit::relocate(scene, c, &from, &to))
        }
        Job::Steer(id, event, reply) => {
            run!(reply, |scene, c| effects::steer(scene, c, id, event))
        }
        Job::Send(limit, reply) => run!(reply, |scene, c| effects::send(scene, c, limit)),
        Job::Doubtful(limit, reply) => run!(reply, |scene, c| effects::doubtful(scene, c, limit)),
        Job::Answered(id, sends, answer, reply) => {
            run!(reply, |scene, c| effects::answered(
                scene, c, id, sends, &answer
            ))
        }
        Job::Heartbeat(reply) => run!(reply, |scene, _c| async { scene.lease() }),
        Job::Leave(reply) => run!(reply, |scene, c| owners::leave(c, scene.writer.owner)),
        Job::TakeOver(reply) => run!(reply, |scene, c| owners::take_over(scene, c)),
        Job::Prune(age, limit, reply) => {
            run!(reply, |scene, c| submit::prune(scene, c, age, limit))
        }
    }
}
