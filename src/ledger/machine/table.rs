//! Every transition of a dispatch, with its guard. The machine takes its steps from here.

use super::event::{Closer, Event, EventKind, Settled};
use super::phase::{Next, Phase};
use super::state::{Attempt, Channel, Command, Dispatch, Effect, SlotHold};

/// What must hold for a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// The effect is open.
    Open,
    /// The effect is refused.
    Refused,
    /// Whether the effect happened cannot be found out.
    Ambiguous,
    /// The agent gave a sign of life.
    Started,
    /// The route has a next agent, and reassignments are left.
    AgentLeft,
    /// The failure may pass, and retries are left.
    MayPass,
    /// Gates decide on the outcome.
    Gated,
    /// A person ended the task.
    ByPerson,
    /// There is a live attempt.
    Live,
    /// The agent works in a process of ours.
    Local,
    /// The handler may be run again, and retries are left.
    MayRerun,
    /// It was held while it was being handed over.
    HeldInHandOver,
    /// It was held while it was being withdrawn, or is to be.
    HeldInWithdrawal,
    /// The slot is draining.
    Draining,
    /// That comes next.
    Then(Next),
    /// What comes next is not the end.
    GoesOn,
}

impl Guard {
    /// The guard in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Open => "the effect is open",
            Self::Refused => "refused",
            Self::Ambiguous => "ambiguous",
            Self::Started => "a sign of life was seen",
            Self::AgentLeft => "an agent and a reassignment are left",
            Self::MayPass => "it may pass and a retry is left",
            Self::Gated => "there are gates",
            Self::ByPerson => "a person closed it",
            Self::Live => "there is a live attempt",
            Self::Local => "the agent is local",
            Self::MayRerun => "the handler is idempotent and a retry is left",
            Self::HeldInHandOver => "held while handing over",
            Self::HeldInWithdrawal => "held while withdrawing",
            Self::Draining => "the slot is draining",
            Self::Then(Next::NextAgent) => "next: the next agent",
            Self::Then(Next::Later) => "next: later",
            Self::Then(Next::Hold) => "next: hold",
            Self::Then(Next::Complete) => "next: complete",
            Self::Then(Next::Cancel) => "next: cancel",
            Self::Then(Next::Refuse) => "next: refuse",
            Self::Then(Next::LoseWorker) => "next: lose the worker",
            Self::Then(Next::Escalate) => "next: escalate",
            Self::Then(Next::TimeOut) => "next: time out",
            Self::GoesOn => "what comes next is not the end",
        }
    }

    fn holds(self, state: &Dispatch, event: &Event) -> bool {
        let attempt = state.attempt.as_ref();
        match self {
            Self::Open => matches!(event, Event::Settled { fence, effect, .. }
                if state.open.contains(&(*fence, *effect))),
            Self::Refused => matches!(event, Event::Settled { fence, how: Settled::Refused(_), .. }
                if *fence == state.fence),
            Self::Ambiguous => {
                matches!(event, Event::Settled { fence, how: Settled::Ambiguous, .. }
                if *fence == state.fence)
            }
            Self::Started => attempt.is_some_and(|attempt| attempt.started),
            Self::AgentLeft => {
                state.at + 1 < state.plan.agents.len()
                    && state.reassignments < state.plan.max_reassignments
            }
            Self::MayPass => {
                matches!(
                    event,
                    Event::AgentFailed {
                        transient: true,
                        ..
                    }
                ) && state.retries < state.plan.max_retries
            }
            Self::Gated => state.plan.gated,
            Self::ByPerson => match event {
                Event::Finished { by, .. } => *by == Closer::Person,
                _ => attempt.is_some_and(|attempt| attempt.closed_by == Some(Closer::Person)),
            },
            Self::Live => attempt.is_some(),
            Self::Local => attempt.is_some_and(|attempt| attempt.channel == Channel::Local),
            Self::MayRerun => {
                attempt.is_some_and(|attempt| attempt.idempotent)
                    && state.retries < state.plan.max_retries
            }
            Self::HeldInHandOver => state.resume == Some(Phase::HandingOver),
            Self::HeldInWithdrawal => state.resume == Some(Phase::Withdrawing),
            Self::Draining => state.slot == SlotHold::Draining,
            Self::Then(next) => state.next == Some(next),
            Self::GoesOn => matches!(state.next, Some(Next::NextAgent | Next::Later | Next::Hold)),
        }
    }
}

/// What a transition does, beside leading to a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is the turn of the agent that was claimed.
    Turn,
    /// The agent that was named comes next.
    Insert,
    /// Counts the fence up.
    RaiseFence,
    /// A new attempt of the agent whose turn it is.
    BeginAttempt,
    /// The attempt is over.
    EndAttempt,
    /// Takes a slot of the agent's.
    TakeSlot,
    /// Keeps the slot until the agent is silent.
    DrainSlot,
    /// Gives the slot back.
    FreeSlot,
    /// Writes the effects of the hand-over to the outbox.
    HandOver,
    /// Calls off what was not sent, and takes back what may have been.
    TakeBack,
    /// Opens the issue again.
    Reopen,
    /// Asks a person.
    Escalate,
    /// The effect is settled.
    Settle,
    /// A sign of life was seen.
    Start,
    /// Remembers who ended the task.
    Close,
    /// What comes after the withdrawal.
    Plan(Next),
    /// Turns to the next agent.
    NextAgent,
    /// Counts a retry.
    CountRetry,
    /// The route and the counts from the beginning.
    Restart,
    /// Remembers where to go on.
    KeepPlace,
    /// Will be withdrawn when it is released.
    WithdrawOnRelease,
    /// Goes on in the queue when it is released.
    QueueOnRelease,
    /// Keeps the reason.
    Explain,
}

impl Action {
    /// The action in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Turn => "it is the claimed agent's turn",
            Self::Insert => "the named agent comes next",
            Self::RaiseFence => "raise the fence",
            Self::BeginAttempt => "begin an attempt",
            Self::EndAttempt => "end the attempt",
            Self::TakeSlot => "take a slot",
            Self::DrainSlot => "drain the slot",
            Self::FreeSlot => "free the slot",
            Self::HandOver => "send the hand-over",
            Self::TakeBack => "call off what is unsent, take back the rest",
            Self::Reopen => "reopen the issue",
            Self::Escalate => "ask a person",
            Self::Settle => "settle the effect",
            Self::Start => "note the sign of life",
            Self::Close => "note who ended it",
            Self::Plan(Next::NextAgent) => "then the next agent",
            Self::Plan(Next::Later) => "then again later",
            Self::Plan(Next::Hold) => "then hold",
            Self::Plan(Next::Complete) => "then complete",
            Self::Plan(Next::Cancel) => "then cancel",
            Self::Plan(Next::Refuse) => "then refuse",
            Self::Plan(Next::LoseWorker) => "then give up: worker lost",
            Self::Plan(Next::Escalate) => "then escalate",
            Self::Plan(Next::TimeOut) => "then give up: timed out",
            Self::NextAgent => "turn to the next agent",
            Self::CountRetry => "count the retry",
            Self::Restart => "begin the route again",
            Self::KeepPlace => "remember the phase",
            Self::WithdrawOnRelease => "withdraw when released",
            Self::QueueOnRelease => "queue when released",
            Self::Explain => "keep the reason",
        }
    }

    pub(super) fn take(self, state: &mut Dispatch, event: &Event, commands: &mut Vec<Command>) {
        let fence = state.fence;
        let send = |state: &mut Dispatch, effect, commands: &mut Vec<Command>| {
            state.open.insert((fence, effect));
            commands.push(Command::Send { fence, effect });
        };
        match self {
            Self::Turn => {
                if let Event::Claimed { agent, .. } = event
                    && state.agent() != Some(agent.as_str())
                {
                    insert(&mut state.plan.agents, state.at, agent);
                }
            }
            Self::Insert => {
                if let Event::Reassigned { agent, .. } = event {
                    insert(&mut state.plan.agents, state.at + 1, agent);
                }
            }
            Self::RaiseFence => {
                state.fence = state.fence.saturating_add(1).saturating_add(state.gap);
                state.gap = 0;
            }
            Self::BeginAttempt => {
                let Event::Claimed {
                    channel,
                    idempotent,
                    ..
                } = event
                else {
                    return;
                };
                let agent = state.agent().unwrap_or_default().to_owned();
                state.attempt = Some(Attempt {
                    agent: agent.clone(),
                    channel: *channel,
                    idempotent: *idempotent,
                    started: false,
                    closed_by: None,
                });
                commands.push(Command::BeginAttempt { agent, fence });
            }
            Self::EndAttempt => {
                if state.attempt.take().is_some() {
                    let outcome = state.next;
                    commands.push(Command::EndAttempt { fence, outcome });
                }
            }
            Self::TakeSlot => {
                state.slot = SlotHold::Taken;
                let agent = state.agent().unwrap_or_default().to_owned();
                commands.push(Command::TakeSlot { agent, fence });
            }
            Self::DrainSlot => {
                if state.slot == SlotHold::Taken {
                    state.slot = SlotHold::Draining;
                    commands.push(Command::DrainSlot { fence });
                }
            }
            Self::FreeSlot => {
                if state.slot != SlotHold::None {
                    state.slot = SlotHold::None;
                    commands.push(Command::FreeSlot { fence });
                }
            }
            Self::HandOver => match state.attempt.as_ref().map(|attempt| attempt.channel) {
                Some(Channel::Label) => {
                    send(state, Effect::Comment, commands);
                    send(state, Effect::Label, commands);
                }
                Some(Channel::Http) => send(state, Effect::Post, commands),
                Some(Channel::Local) => send(state, Effect::Run, commands),
                None => {}
            },
            Self::TakeBack => {
                commands.push(Command::DropUnsent { fence });
                let channel = state.attempt.as_ref().map(|attempt| attempt.channel);
                if channel == Some(Channel::Label) {
                    send(state, Effect::Unlabel, commands);
                    if state.next != Some(Next::Complete) {
                        send(state, Effect::Withdrawal, commands);
                    }
                }
            }
            Self::Reopen => {
                if state.plan.has_issue {
                    send(state, Effect::Reopen, commands);
                }
            }
            Self::Escalate => {
                if state.plan.has_issue {
                    send(state, Effect::EscalationComment, commands);
                    send(state, Effect::EscalationLabel, commands);
                }
                if state.plan.callback {
                    send(state, Effect::Callback, commands);
                }
            }
            Self::Settle => {
                if let Event::Settled { fence, effect, .. } = event {
                    state.open.remove(&(*fence, *effect));
                }
            }
            Self::Start => {
                if let Some(attempt) = &mut state.attempt {
                    attempt.started = true;
                }
            }
            Self::Close => {
                if let (Some(attempt), Event::Finished { by, .. }) = (&mut state.attempt, event) {
                    attempt.closed_by = Some(*by);
                }
            }
            Self::Plan(next) => state.next = Some(next),
            Self::NextAgent => {
                state.at += 1;
                state.reassignments += 1;
                state.retries = 0;
            }
            Self::CountRetry => state.retries += 1,
            Self::Restart => {
                state.at = 0;
                state.reassignments = 0;
                state.retries = 0;
            }
            Self::KeepPlace => state.resume = Some(state.phase),
            Self::WithdrawOnRelease => state.resume = Some(Phase::Withdrawing),
            Self::QueueOnRelease => state.resume = Some(Phase::Queued),
            Self::Explain => state.reason = event.reason(),
        }
    }
}

/// Puts an agent into a route at that place, and takes it from where it stood behind it.
fn insert(route: &mut Vec<String>, at: usize, agent: &str) {
    if let Some(behind) = route.iter().skip(at).position(|known| known == agent) {
        route.remove(at + behind);
    }
    route.insert(at.min(route.len()), agent.to_owned());
}

/// Where a transition leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// To that phase.
    Phase(Phase),
    /// Nowhere else.
    Same,
    /// To where it was when it was held.
    Resumed,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Transition {
    /// The phases in which it may be taken.
    pub from: &'static [Phase],
    /// What it answers.
    pub on: EventKind,
    /// All of it must hold.
    pub when: &'static [Guard],
    /// Where it leads.
    pub to: To,
    /// What it does, in this order.
    pub then: &'static [Action],
}

impl Transition {
    /// Whether it answers that event in that state, if no earlier row does.
    #[must_use]
    pub fn holds(&self, state: &Dispatch, event: &Event) -> bool {
        self.on == event.kind()
            && self.from.contains(&state.phase)
            && self.when.iter().all(|guard| guard.holds(state, event))
    }

    /// Whether it answers what only the machine itself says.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        matches!(self.on, EventKind::Confirmed | EventKind::Withdrawn)
    }
}

const fn row(
    from: &'static [Phase],
    on: EventKind,
    when: &'static [Guard],
    to: To,
    then: &'static [Action],
) -> Transition {
    Transition {
        from,
        on,
        when,
        to,
        then,
    }
}

use Action as A;
use EventKind as On;
use Guard as If;
use Phase::{
    Cancelled, Completed, Escalated, HandedOver, HandingOver, Held, IssueGone, Queued, Refused,
    RetryWait, Reviewing, TimedOut, Withdrawing, WorkerLost, Working,
};
use To::{Resumed, Same};

const fn to(phase: Phase) -> To {
    To::Phase(phase)
}

const OUT: &[Phase] = &[HandingOver, HandedOver, Working];
const WITH_AGENT: &[Phase] = &[HandedOver, Working];
const LIVE: &[Phase] = &[HandingOver, HandedOver, Working, Reviewing];
const WAITING: &[Phase] = &[Queued, RetryWait];
const OPEN: &[Phase] = &[
    Queued,
    RetryWait,
    Held,
    HandingOver,
    HandedOver,
    Working,
    Reviewing,
    Withdrawing,
];
const TERMINAL: &[Phase] = &[
    Completed, Cancelled, IssueGone, Refused, WorkerLost, Escalated, TimedOut,
];

/// The transitions. Of those that could be taken the first is; where there is none the event
/// changes nothing. An event that names a fence other than the dispatch's is not looked up.
#[rustfmt::skip]
pub static TABLE: &[Transition] = &[
    // Not handed out.
    row(&[Queued], On::Claimed, &[], to(HandingOver), &[A::Turn, A::RaiseFence, A::BeginAttempt, A::TakeSlot, A::HandOver, A::Explain]),
    row(&[Queued], On::Blocked, &[], Same, &[A::Explain]),
    row(&[Queued], On::Postponed, &[], to(RetryWait), &[A::Explain]),
    row(&[RetryWait], On::Due, &[], to(Queued), &[A::Explain]),
    row(WAITING, On::Cancel, &[], to(Cancelled), &[A::Explain]),

    // Held.
    row(WAITING, On::Hold, &[], to(Held), &[A::KeepPlace, A::Explain]),
    row(LIVE, On::Hold, &[], to(Held), &[A::KeepPlace, A::Explain]),
    row(&[Withdrawing], On::Hold, &[], to(Held), &[A::KeepPlace, A::Explain]),
    row(&[Held], On::Hold, &[], Same, &[A::Explain]),
    row(&[Held], On::Release, &[], Resumed, &[A::Explain]),
    row(&[Held], On::Settled, &[If::Open, If::HeldInHandOver, If::Refused, If::AgentLeft], Same, &[A::Settle, A::Plan(Next::NextAgent), A::FreeSlot, A::TakeBack, A::WithdrawOnRelease]),
    row(&[Held], On::Settled, &[If::Open, If::HeldInHandOver, If::Refused], Same, &[A::Settle, A::Plan(Next::Escalate), A::FreeSlot, A::TakeBack, A::WithdrawOnRelease]),
    row(&[Held], On::Settled, &[If::Open, If::HeldInHandOver, If::Ambiguous], Same, &[A::Settle, A::Plan(Next::Escalate), A::DrainSlot, A::TakeBack, A::WithdrawOnRelease]),
    row(&[Held], On::Settled, &[If::Open], Same, &[A::Settle]),
    row(&[Held], On::Silent, &[If::Draining], Same, &[A::FreeSlot]),
    row(&[Held], On::SignOfLife, &[If::Draining], Same, &[]),
    row(&[Held], On::Cancel, &[If::HeldInWithdrawal, If::GoesOn], to(Withdrawing), &[A::Plan(Next::Cancel), A::Explain]),
    row(&[Held], On::Cancel, &[If::HeldInWithdrawal], to(Withdrawing), &[A::Explain]),
    row(&[Held], On::Cancel, &[If::Live], to(Withdrawing), &[A::Plan(Next::Cancel), A::DrainSlot, A::TakeBack, A::Explain]),
    row(&[Held], On::Cancel, &[], to(Cancelled), &[A::Explain]),

    // On the way to the agent.
    row(&[HandingOver], On::Settled, &[If::Open, If::Refused, If::AgentLeft], to(Withdrawing), &[A::Settle, A::Plan(Next::NextAgent), A::FreeSlot, A::TakeBack, A::Explain]),
    row(&[HandingOver], On::Settled, &[If::Open, If::Refused], to(Withdrawing), &[A::Settle, A::Plan(Next::Escalate), A::FreeSlot, A::TakeBack, A::Explain]),
    row(&[HandingOver], On::Settled, &[If::Open, If::Ambiguous], to(Withdrawing), &[A::Settle, A::Plan(Next::Escalate), A::DrainSlot, A::TakeBack, A::Explain]),
    row(&[HandingOver], On::Settled, &[If::Open], Same, &[A::Settle]),
    row(&[HandingOver], On::SignOfLife, &[], Same, &[A::Start]),
    row(&[HandingOver], On::Confirmed, &[If::Started], to(Working), &[]),
    row(&[HandingOver], On::Confirmed, &[], to(HandedOver), &[]),

    // With the agent.
    row(&[HandedOver], On::SignOfLife, &[], to(Working), &[A::Start]),
    row(WITH_AGENT, On::Finished, &[If::Gated], to(Reviewing), &[A::Close, A::Start, A::FreeSlot, A::Explain]),
    row(WITH_AGENT, On::Finished, &[], to(Withdrawing), &[A::Close, A::Start, A::Plan(Next::Complete), A::FreeSlot, A::TakeBack, A::Explain]),
    row(WITH_AGENT, On::AgentFailed, &[If::MayPass], to(Withdrawing), &[A::Plan(Next::Later), A::FreeSlot, A::TakeBack, A::Explain]),
    row(WITH_AGENT, On::AgentFailed, &[If::AgentLeft], to(Withdrawing), &[A::Plan(Next::NextAgent), A::FreeSlot, A::TakeBack, A::Explain]),
    row(WITH_AGENT, On::AgentFailed, &[], to(Withdrawing), &[A::Plan(Next::Escalate), A::FreeSlot, A::TakeBack, A::Explain]),
    row(WITH_AGENT, On::LabelTaken, &[], to(Withdrawing), &[A::Plan(Next::Hold), A::DrainSlot, A::TakeBack, A::Explain]),
    row(WITH_AGENT, On::Reassigned, &[], to(Withdrawing), &[A::Insert, A::Plan(Next::NextAgent), A::DrainSlot, A::TakeBack, A::Explain]),
    row(OUT, On::WorkerLost, &[If::Local, If::MayRerun], to(Withdrawing), &[A::Plan(Next::Later), A::FreeSlot, A::TakeBack, A::Explain]),
    row(OUT, On::WorkerLost, &[If::Local], to(Withdrawing), &[A::Plan(Next::LoseWorker), A::FreeSlot, A::TakeBack, A::Explain]),
    row(OUT, On::DeadlinePassed, &[If::AgentLeft], to(Withdrawing), &[A::Plan(Next::NextAgent), A::DrainSlot, A::TakeBack, A::Explain]),
    row(OUT, On::DeadlinePassed, &[], to(Withdrawing), &[A::Plan(Next::TimeOut), A::DrainSlot, A::TakeBack, A::Explain]),
    row(LIVE, On::Cancel, &[], to(Withdrawing), &[A::Plan(Next::Cancel), A::DrainSlot, A::TakeBack, A::Explain]),

    // Under review.
    row(&[Reviewing], On::GatesPassed, &[], to(Withdrawing), &[A::Plan(Next::Complete), A::TakeBack, A::Explain]),
    row(&[Reviewing], On::GatesFailed, &[If::ByPerson], to(Withdrawing), &[A::Plan(Next::Refuse), A::TakeBack, A::Explain]),
    row(&[Reviewing], On::GatesFailed, &[If::AgentLeft], to(Withdrawing), &[A::Plan(Next::NextAgent), A::TakeBack, A::Reopen, A::Explain]),
    row(&[Reviewing], On::GatesFailed, &[], to(Withdrawing), &[A::Plan(Next::Escalate), A::TakeBack, A::Explain]),
    row(&[Reviewing], On::DeadlinePassed, &[], to(Withdrawing), &[A::Plan(Next::Escalate), A::TakeBack, A::Explain]),

    // Being taken back.
    row(&[Withdrawing], On::Settled, &[If::Open, If::Refused, If::GoesOn], Same, &[A::Settle, A::Plan(Next::Escalate), A::Explain]),
    row(&[Withdrawing], On::Settled, &[If::Open, If::Ambiguous, If::GoesOn], Same, &[A::Settle, A::Plan(Next::Escalate), A::Explain]),
    row(&[Withdrawing], On::Settled, &[If::Open], Same, &[A::Settle]),
    row(&[Withdrawing], On::Silent, &[If::Draining], Same, &[A::FreeSlot]),
    row(&[Withdrawing], On::SignOfLife, &[If::Draining], Same, &[]),
    row(&[Withdrawing], On::Cancel, &[If::GoesOn], Same, &[A::Plan(Next::Cancel), A::Explain]),
    row(&[Withdrawing], On::Withdrawn, &[If::Then(Next::NextAgent)], to(Queued), &[A::EndAttempt, A::FreeSlot, A::NextAgent]),
    row(&[Withdrawing], On::Withdrawn, &[If::Then(Next::Later)], to(RetryWait), &[A::EndAttempt, A::FreeSlot, A::CountRetry]),
    row(&[Withdrawing], On::Withdrawn, &[If::Then(Next::Hold)], to(Held), &[A::EndAttempt, A::FreeSlot, A::QueueOnRelease]),
    row(&[Withdrawing], On::Withdrawn, &[If::Then(Next::Complete)], to(Completed), &[A::EndAttempt, A::FreeSlot]),
    row(&[Withdrawing], On::Withdrawn, &[If::Then(Next::Cancel)], to(Cancelled), &[A::EndAttempt, A::FreeSlot]),
    row(&[Withdrawing], On::Withdrawn, &[If::Then(Next::Refuse)], to(Refused), &[A::EndAttempt, A::FreeSlot]),
    row(&[Withdrawing], On::Withdrawn, &[If::Then(Next::LoseWorker)], to(WorkerLost), &[A::EndAttempt, A::FreeSlot]),
    row(&[Withdrawing], On::Withdrawn, &[If::Then(Next::Escalate)], to(Escalated), &[A::EndAttempt, A::FreeSlot, A::Escalate]),
    row(&[Withdrawing], On::Withdrawn, &[If::Then(Next::TimeOut)], to(TimedOut), &[A::EndAttempt, A::FreeSlot, A::Escalate]),

    // From everywhere.
    row(OPEN, On::Settled, &[If::Open], Same, &[A::Settle]),
    row(OPEN, On::IssueGone, &[], to(IssueGone), &[A::FreeSlot, A::EndAttempt, A::Explain]),

    // Over.
    row(TERMINAL, On::Settled, &[If::Open], Same, &[A::Settle]),
    row(TERMINAL, On::Retry, &[], to(Queued), &[A::RaiseFence, A::Restart, A::Explain]),
];
