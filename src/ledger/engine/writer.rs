//! The one task that writes. What is waiting is written in one transaction and answered after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::claim::Wish;
use super::group::{Changes, Group};
use super::lease::{Lease, ticks};
use super::{millis, owners, statements as sql};
use crate::ledger::database::{Commit, Connection, Database, Fault, Mode, Param, Place};
use crate::ledger::effect;
use crate::ledger::handle::Answer;
use crate::ledger::machine::{Event, Plan};
use crate::ledger::options::{Moment, Options};
use crate::ledger::store::{Agent, Claim, Errand, LedgerError, Recorded, Submission, Submitted};

/// So many changes at most share a transaction.
const GROUP: usize = 256;
/// So often other writers may be in the way of a whole group before it is done one by one.
const TRIES: usize = 5;
/// A database that does not answer for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// After a connection was lost, before the next.
const AGAIN: Duration = Duration::from_millis(10);

/// A change that somebody waits for.
pub(in crate::ledger) enum Request {
    Submit(Box<Submission>),
    Claim(Vec<String>, usize),
    Record(Uuid, Event, Value),
    Note(Uuid, u64, &'static str, Value),
    Due(usize),
    Send(usize),
    Doubtful(usize),
    /// Of a dispatch, an effect.
    Answered(Uuid, Uuid, u32, Answer),
    Heartbeat,
    Leave,
    TakeOver,
    Prune(Duration, usize),
    Pause(Option<String>, bool),
    Relocate(String, String),
    Restored,
    Replan(Uuid, Value, Box<Plan>, Value),
    Steer(Uuid, effect::Event),
}

impl Request {
    const fn name(&self) -> &'static str {
        match self {
            Self::Submit(_) => "submit",
            Self::Claim(..) => "claim",
            Self::Record(..) => "record",
            Self::Note(..) => "note",
            Self::Due(_) => "due",
            Self::Send(_) => "send",
            Self::Doubtful(_) => "doubtful",
            Self::Answered(..) => "answered",
            Self::Heartbeat => "heartbeat",
            Self::Leave => "leave",
            Self::TakeOver => "take over",
            Self::Prune(..) => "prune",
            Self::Pause(..) => "pause",
            Self::Relocate(..) => "relocate",
            Self::Restored => "restored",
            Self::Replan(..) => "replan",
            Self::Steer(..) => "steer",
        }
    }
}

/// What came of a request.
pub(in crate::ledger) enum Outcome {
    Submitted(Submitted),
    Claims(Vec<Claim>),
    Recorded(Recorded),
    Errands(Vec<Errand>),
    Ids(Vec<Uuid>),
    Answered(Option<effect::Phase>),
    Count(usize),
    Whether(bool),
    Done,
}

type Result<T> = std::result::Result<T, LedgerError>;

/// A request and who waits for it.
pub(in crate::ledger) struct Asked {
    pub(in crate::ledger) request: Request,
    pub(in crate::ledger) reply: oneshot::Sender<Result<Outcome>>,
}

pub(in crate::ledger) struct Writer {
    pub(in crate::ledger) owner: Uuid,
    /// Whether it looks after dispatches.
    pub(in crate::ledger) works: bool,
    pub(in crate::ledger) revision: i64,
    pub(in crate::ledger) lease: Arc<Lease>,
    pub(in crate::ledger) agents: Vec<Agent>,
    pub(in crate::ledger) database: Database,
    pub(in crate::ledger) place: Place,
    pub(in crate::ledger) options: Options,
    pub(in crate::ledger) changes: watch::Sender<u64>,
    /// The turn of the last transaction that is known to be kept.
    pub(in crate::ledger) kept: AtomicI64,
}

impl Writer {
    pub(in crate::ledger) async fn run(
        self,
        connection: Connection,
        mut jobs: mpsc::Receiver<Asked>,
    ) {
        let mut connection = Some(connection);
        while let Some(first) = jobs.recv().await {
            // Whoever was answered just now may have more to say: it shares this commit.
            tokio::task::yield_now().await;
            let mut group = vec![first];
            while group.len() < GROUP {
                match jobs.try_recv() {
                    Ok(job) => group.push(job),
                    Err(_) => break,
                }
            }
            let (requests, replies): (Vec<_>, Vec<_>) = group
                .into_iter()
                .map(|asked| (asked.request, asked.reply))
                .unzip();
            let requests: Vec<&Request> = requests.iter().collect();
            let outcomes = self.write(&mut connection, &requests).await;
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // Whoever asked may have gone meanwhile; the change stays.
                let _ = reply.send(outcome);
            }
        }
        if let Some(mut connection) = connection {
            if self.works {
                let _ = self.leave(&mut connection).await;
            }
            connection.close().await;
        }
    }

    async fn leave(&self, connection: &mut Connection) -> std::result::Result<(), Fault> {
        let mut transaction = connection.begin(Mode::Write).await?;
        owners::leave(&mut transaction, self.owner).await?;
        Ok(transaction.end().await?)
    }

    /// Does all of them in one transaction, or each in its own where that cannot be.
    async fn write(
        &self,
        connection: &mut Option<Connection>,
        requests: &[&Request],
    ) -> Vec<Result<Outcome>> {
        let error = match self.patiently(connection, requests).await {
            Ok(outcomes) => return outcomes,
            Err(error) => error,
        };
        if let [_] = requests {
            return vec![Err(error)];
        }
        // What one of them did wrong is not the others' fault. But where the database is gone, it
        // is so for all.
        if connection.is_none() {
            return requests.iter().map(|_| Err(error.clone())).collect();
        }
        let mut outcomes = Vec::with_capacity(requests.len());
        for request in requests {
            let alone = self.patiently(connection, &[*request]).await;
            outcomes.extend(alone.unwrap_or_else(|error| vec![Err(error)]));
        }
        outcomes
    }

    async fn patiently(
        &self,
        connection: &mut Option<Connection>,
        requests: &[&Request],
    ) -> Result<Vec<Result<Outcome>>> {
        let began = ticks();
        let mut tries = 0;
        loop {
            tries += 1;
            let fault = match self.once(connection, requests).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(fault) => fault,
            };
            let late = ticks() > began.saturating_add(millis(PATIENCE));
            match fault {
                Fault::Again(_) if tries < TRIES => {}
                Fault::Lost(_) if !late => {
                    *connection = None;
                    // The next may be no better, such as a standby before it is promoted.
                    tokio::time::sleep(AGAIN).await;
                }
                Fault::Lost(_) => {
                    *connection = None;
                    return Err(fault.into());
                }
                _ => return Err(fault.into()),
            }
        }
    }

    /// One try. A commit whose answer was lost is looked up where the database can tell; where it
    /// cannot, whether the changes were kept is not known, and giving them again is safe.
    async fn once(
        &self,
        connection: &mut Option<Connection>,
        requests: &[&Request],
    ) -> std::result::Result<Vec<Result<Outcome>>, Fault> {
        let open = match connection {
            Some(open) => open,
            None => {
                let mut open = self.database.connect(true).await?;
                if self.works && self.database.has_sessions() {
                    within(owners::hold(&mut open, self.owner)).await?;
                }
                connection.insert(open)
            }
        };
        let names: Vec<&'static str> = requests.iter().map(|request| request.name()).collect();
        let observe = |moment| {
            if let Some(observer) = &self.options.observer {
                observer(moment, &names);
            }
        };
        let began = ticks();
        let work = async {
            let mut group = self.begin(open).await?;
            let outcomes = group.all(requests).await?;
            let (lost, number) = (group.lost, group.number);
            observe(Moment::BeforeCommit);
            let commit = group.transaction.commit(number).await?;
            Ok::<_, Fault>((outcomes, lost, number, commit))
        };
        let (outcomes, lost, number, commit) = within(work).await?;
        if let Commit::Doubtful(transaction, error) = commit {
            *connection = None;
            let mut open = self.database.connect(true).await?;
            let kept = within(open.was_kept(self.owner, transaction)).await;
            open.close().await;
            let repeatable = |request: &&Request| matches!(request, Request::Submit(_));
            match kept? {
                Some(true) => {}
                Some(false) => return Err(Fault::Lost(error)),
                // Who only visits has no turn to be known by, but a submission has its id.
                None if requests.iter().all(repeatable) => return Err(Fault::Lost(error)),
                None => return Err(Fault::Final(LedgerError::Database(error))),
            }
        }
        if lost {
            self.lease.lost();
        } else {
            self.lease.renewed(began);
            self.kept.store(number, Ordering::SeqCst);
        }
        self.changes.send_modify(|count| *count += 1);
        observe(Moment::AfterCommit);
        Ok(outcomes)
    }

    /// The beginning of every transaction: the time, and the lease renewed.
    async fn begin<'g>(
        &'g self,
        connection: &'g mut Connection,
    ) -> std::result::Result<Group<'g>, Fault> {
        let mut transaction = connection.begin(Mode::Write).await?;
        let owner = self.owner.to_string();
        let params = [
            Param::Int(self.options.clock_offset()),
            Param::Int(millis(self.options.lease)),
            Param::Text(&owner),
        ];
        let renewed: Option<(i64, i64, i64)> = match self.works {
            true => transaction.first(sql::RENEW, &params).await?,
            false => None,
        };
        let number = renewed.map_or(0, |(.., number)| number);
        // Turns only go up, and this one was kept already.
        if number > 0 && number <= self.kept.load(Ordering::SeqCst) {
            return Err(LedgerError::WentBack.into());
        }
        let (now, revision) = match renewed {
            Some((now, revision, _)) => (now, revision),
            None => owners::scene(&mut transaction, &self.options).await?,
        };
        self.lease.compare(now, ticks());
        Ok(Group {
            writer: self,
            transaction,
            now,
            revision,
            number,
            lost: renewed.is_none(),
            paused: self.lease.distrust(),
            held: std::collections::HashMap::new(),
            slots: std::collections::HashMap::new(),
            changes: Changes::default(),
        })
    }
}

/// What a database answers in time.
async fn within<T>(
    work: impl Future<Output = std::result::Result<T, Fault>>,
) -> std::result::Result<T, Fault> {
    let silent = || Fault::Lost("it does not answer".to_owned());
    let came = tokio::time::timeout(PATIENCE, work).await;
    came.unwrap_or_else(|_| Err(silent()))
}

/// A failure of the request itself is its own; one of the database is everybody's.
fn own<T>(result: std::result::Result<T, Fault>) -> std::result::Result<Result<T>, Fault> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Fault::Final(error))
            if !matches!(
                error,
                LedgerError::Database(_)
                    | LedgerError::Unreadable(_)
                    | LedgerError::Damaged(_)
                    | LedgerError::Full(_)
            ) =>
        {
            Ok(Err(error))
        }
        Err(fault) => Err(fault),
    }
}

impl Group<'_> {
    /// All that is asked for. What concerns single dispatches comes first, from what was read of
    /// them at once; then what looks for some, which sees the former.
    async fn all(
        &mut self,
        requests: &[&Request],
    ) -> std::result::Result<Vec<Result<Outcome>>, Fault> {
        let mut outcomes: Vec<Option<Result<Outcome>>> = requests.iter().map(|_| None).collect();
        self.single(requests, &mut outcomes).await?;
        self.flush().await?;
        for (request, outcome) in requests.iter().zip(&mut outcomes) {
            let came = match request {
                Request::Heartbeat => Ok(self.lease().map(|()| Outcome::Done)),
                Request::TakeOver => own(self.take_over().await).map(|n| n.map(Outcome::Count)),
                Request::Due(limit) => own(self.due(*limit).await).map(|n| n.map(Outcome::Count)),
                Request::Doubtful(limit) => {
                    own(self.doubtful(*limit).await).map(|found| found.map(Outcome::Errands))
                }
                Request::Pause(agent, paused) => {
                    let paused = self.pause(agent.as_deref(), *paused).await;
                    own(paused).map(|done| done.map(|()| Outcome::Done))
                }
                Request::Replan(id, task, plan, evidence) => {
                    let replanned = self.replan(*id, task, plan, evidence).await;
                    own(replanned).map(|done| done.map(Outcome::Whether))
                }
                Request::Restored => own(self.restored().await).map(|ids| ids.map(Outcome::Ids)),
                Request::Relocate(from, to) => {
                    own(self.relocate(from, to).await).map(|n| n.map(Outcome::Count))
                }
                _ => continue,
            };
            *outcome = Some(came?);
            self.flush().await?;
        }
        self.claims(requests, &mut outcomes).await?;
        self.flush().await?;
        for (request, outcome) in requests.iter().zip(&mut outcomes) {
            let came = match request {
                Request::Send(limit) => {
                    own(self.send(*limit).await).map(|sent| sent.map(Outcome::Errands))
                }
                Request::Leave => Ok(Ok(Outcome::Done)),
                Request::Prune(age, limit) => {
                    own(self.prune(*age, *limit).await).map(|n| n.map(Outcome::Count))
                }
                _ => continue,
            };
            *outcome = Some(came?);
        }
        if requests
            .iter()
            .any(|request| matches!(request, Request::Leave))
        {
            owners::leave(&mut self.transaction, self.writer.owner).await?;
        }
        let forgotten = || Err(LedgerError::Database("not tried".to_owned()));
        Ok(outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(forgotten))
            .collect())
    }

    /// What concerns one dispatch.
    async fn single(
        &mut self,
        requests: &[&Request],
        outcomes: &mut [Option<Result<Outcome>>],
    ) -> std::result::Result<(), Fault> {
        let steered = requests.iter().filter_map(|request| match request {
            Request::Steer(id, _) => Some(*id),
            _ => None,
        });
        let whose = self.whose(steered).await?;
        let dispatches = requests.iter().filter_map(|request| match request {
            Request::Record(id, ..) | Request::Answered(id, ..) => Some(*id),
            Request::Steer(id, _) => whose.get(id).copied(),
            _ => None,
        });
        self.load(dispatches).await?;
        let effects = requests.iter().filter_map(|request| match request {
            Request::Answered(dispatch, id, ..) => Some((*id, *dispatch)),
            Request::Steer(id, _) => Some((*id, whose.get(id).copied()?)),
            _ => None,
        });
        self.load_settled(effects).await?;
        let submitted = requests.iter().filter_map(|request| match request {
            Request::Submit(submission) => Some(&**submission),
            _ => None,
        });
        let mut twins = self.twins(submitted).await?;
        for (request, outcome) in requests.iter().zip(outcomes) {
            *outcome = Some(match request {
                Request::Submit(submission) => {
                    self.submit(&mut twins, submission).map(Outcome::Submitted)
                }
                Request::Record(id, Event::Retry, evidence) => match own(self.busy(*id).await)? {
                    Ok(()) => self
                        .record(*id, Event::Retry, evidence)
                        .map(Outcome::Recorded),
                    Err(error) => Err(error),
                },
                Request::Note(id, fence, kind, body) => {
                    self.note(*id, *fence, kind, body);
                    Ok(Outcome::Done)
                }
                Request::Record(id, event, evidence) => self
                    .record(*id, event.clone(), evidence)
                    .map(Outcome::Recorded),
                Request::Answered(dispatch, id, sends, answer) => self
                    .answered(*dispatch, *id, *sends, answer)
                    .map(Outcome::Answered),
                Request::Steer(id, event) => self.steer(&whose, *id, event).map(Outcome::Whether),
                _ => continue,
            });
        }
        Ok(())
    }

    /// All claims at once.
    async fn claims(
        &mut self,
        requests: &[&Request],
        outcomes: &mut [Option<Result<Outcome>>],
    ) -> std::result::Result<(), Fault> {
        let mut wishes = Vec::new();
        for request in requests {
            if let Request::Claim(agents, limit) = request {
                wishes.push(Wish {
                    agents,
                    limit: *limit,
                    claims: Vec::new(),
                });
            }
        }
        if wishes.is_empty() {
            return Ok(());
        }
        let claimed = own(self.claim(&mut wishes).await)?;
        let mut wishes = wishes.into_iter();
        for (request, outcome) in requests.iter().zip(outcomes) {
            if let Request::Claim(..) = request {
                let claims = wishes.next().map(|wish| wish.claims).unwrap_or_default();
                *outcome = Some(claimed.clone().map(|()| Outcome::Claims(claims)));
            }
        }
        Ok(())
    }
}
