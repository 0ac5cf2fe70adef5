//! The life of one effect: a request that is sent at least once, and repeated only when it has been
//! looked for in vain.
//!
//! A request whose answer was lost may still be carried out. So an effect in doubt is not touched
//! before a quarantine has passed; then it is looked for, and sent again only where it is not there.
//! One that was sent more than once is looked at a last time, one quarantine later, and what is
//! there too often is taken away.
//!
//! ```
//! use timmy_dispatcher::ledger::effect::{Event, Phase, Repeat, Row};
//!
//! let mut comment = Row::new(Repeat::LookUp, 30_000);
//! assert!(comment.apply(&Event::Send { now: 0 }));
//! assert!(comment.apply(&Event::Lost { now: 15_000 }));
//! assert!(!comment.apply(&Event::LookedFor { began: 44_999, found: 0 })); // too early to tell
//! assert!(comment.apply(&Event::LookedFor { began: 45_000, found: 1 }));
//! assert_eq!(comment.phase, Phase::Done);
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::task::{UnknownName, named};

named! {
    /// Where an effect stands.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Phase, "phase of an effect", {
        /// May be sent, once its time has come.
        Ready = "ready",
        /// Its request has left, or is about to.
        Sending = "sending",
        /// Nobody knows whether it happened.
        InDoubt = "in_doubt",
        /// It happened, after more than one request: it may yet happen again.
        Settling = "settling",
        /// It happened, once.
        Done = "done",
        /// It will not happen.
        Refused = "refused",
        /// It cannot be found out whether it happened.
        Ambiguous = "ambiguous",
        /// It was called off before it was sent.
        Dropped = "dropped",
    }
}

impl Phase {
    /// Whether nothing will happen to it any more.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(
            self,
            Self::Done | Self::Refused | Self::Ambiguous | Self::Dropped
        )
    }
}

named! {
    /// What can be done about an effect in doubt.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Repeat, "way to repeat", {
        /// It can be looked for: a comment, a label.
        LookUp = "look_up",
        /// The receiver promises that the same key has one effect, however often it is sent.
        SameKey = "same_key",
        /// Neither.
        Never = "never",
    }
}

named! {
    /// The kinds of [`Event`].
    EventKind, "event of an effect", {
        /// [`Event::Send`].
        Send = "send",
        /// [`Event::Taken`].
        Taken = "taken",
        /// [`Event::NotTaken`].
        NotTaken = "not taken",
        /// [`Event::Refused`].
        Refused = "refused",
        /// [`Event::Lost`].
        Lost = "lost",
        /// [`Event::LookedFor`].
        LookedFor = "looked for",
        /// [`Event::Due`].
        Due = "due",
        /// [`Event::Drop`].
        Drop = "drop",
        /// [`Event::Hasten`].
        Hasten = "hasten",
        /// [`Event::Abandon`].
        Abandon = "abandon",
        /// [`Event::Restored`].
        Restored = "restored",
    }
}

/// What happened to an effect. Times are the ledger's, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its request is to be sent. Committed before it leaves.
    Send {
        /// The time.
        now: i64,
    },
    /// The answer says that it happened.
    Taken {
        /// The time.
        now: i64,
    },
    /// It certainly did not happen (no connection, 429), and may later; or it could not be looked for.
    NotTaken {
        /// When to try again.
        again: i64,
    },
    /// The answer says that it will not happen.
    Refused,
    /// There is no answer, or a 5xx, or whoever sent it is dead.
    Lost {
        /// The time.
        now: i64,
    },
    /// It was looked for.
    LookedFor {
        /// When the reading began.
        began: i64,
        /// How often it is there.
        found: u32,
    },
    /// Time has passed.
    Due {
        /// The time.
        now: i64,
    },
    /// It is not wanted any more.
    Drop,
    /// Somebody wants it tried at once.
    Hasten,
    /// Somebody gives it up, whatever became of it.
    Abandon,
    /// The ledger is an older copy: whatever it says, it may have been sent.
    Restored {
        /// The time.
        now: i64,
    },
}

impl Event {
    /// Its kind, by which it is found in the table.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Send { .. } => EventKind::Send,
            Self::Taken { .. } => EventKind::Taken,
            Self::NotTaken { .. } => EventKind::NotTaken,
            Self::Refused => EventKind::Refused,
            Self::Lost { .. } => EventKind::Lost,
            Self::LookedFor { .. } => EventKind::LookedFor,
            Self::Due { .. } => EventKind::Due,
            Self::Drop => EventKind::Drop,
            Self::Hasten => EventKind::Hasten,
            Self::Abandon => EventKind::Abandon,
            Self::Restored { .. } => EventKind::Restored,
        }
    }
}

/// What must hold for a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// The time to wait for has come.
    Due,
    /// It was sent once.
    SentOnce,
    /// It can be looked for.
    LookUp,
    /// It may be sent again under the same key.
    SameKey,
    /// It can neither be looked for nor be repeated.
    Never,
    /// It is not there.
    NotFound,
    /// It is there more than once.
    Surplus,
}

impl Guard {
    /// The guard in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Due => "its time has come",
            Self::SentOnce => "sent once",
            Self::LookUp => "it can be looked for",
            Self::SameKey => "the receiver knows its key",
            Self::Never => "it can be neither looked for nor repeated",
            Self::NotFound => "not found",
            Self::Surplus => "found more than once",
        }
    }

    fn holds(self, row: &Row, event: &Event) -> bool {
        match self {
            Self::Due => match event {
                Event::Send { now } | Event::Due { now } => *now >= row.not_before,
                Event::LookedFor { began, .. } => *began >= row.not_before,
                _ => false,
            },
            Self::SentOnce => row.sends <= 1,
            Self::LookUp => row.repeat == Repeat::LookUp,
            Self::SameKey => row.repeat == Repeat::SameKey,
            Self::Never => row.repeat == Repeat::Never,
            Self::NotFound => matches!(event, Event::LookedFor { found: 0, .. }),
            Self::Surplus => matches!(event, Event::LookedFor { found: 2.., .. }),
        }
    }
}

/// What a transition does, beside leading to a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Counts a request.
    Count,
    /// It had no effect and does not count.
    Uncount,
    /// Nothing is done to it before the quarantine has passed.
    Quarantine,
    /// Not to be sent before the time that the answer names.
    Wait,
    /// May be sent at once.
    DoNotWait,
    /// The oldest stays; the others are taken away, and then it is looked for again.
    RemoveSurplus,
}

impl Action {
    /// The action in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Count => "count the request",
            Self::Uncount => "do not count it",
            Self::Quarantine => "quarantine",
            Self::Wait => "wait as told",
            Self::DoNotWait => "do not wait",
            Self::RemoveSurplus => "remove all but the first, look again",
        }
    }

    fn take(self, row: &mut Row, event: &Event) {
        match (self, event) {
            (Self::Count, _) => row.sends += 1,
            (Self::Uncount, _) => row.sends = row.sends.saturating_sub(1),
            (
                Self::Quarantine,
                Event::Lost { now } | Event::Taken { now } | Event::Restored { now },
            ) => {
                row.not_before = now.saturating_add(row.quarantine);
            }
            // Never shortens a quarantine.
            (Self::Wait, Event::NotTaken { again }) => row.not_before = row.not_before.max(*again),
            (Self::DoNotWait, _) => row.not_before = 0,
            _ => {}
        }
    }
}

/// A row of the table, as in [the dispatch's](super::machine::Transition).
#[derive(Debug, Clone, Copy)]
pub struct Transition {
    /// The phases in which it may be taken.
    pub from: &'static [Phase],
    /// What it answers.
    pub on: EventKind,
    /// All of it must hold.
    pub when: &'static [Guard],
    /// Where it leads.
    pub to: Phase,
    /// What it does.
    pub then: &'static [Action],
}

const fn row(
    from: &'static [Phase],
    on: EventKind,
    when: &'static [Guard],
    to: Phase,
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

use EventKind as On;
use Guard as If;
use Phase::{Ambiguous, Done, Dropped, InDoubt, Ready, Refused, Sending, Settling};

/// The transitions. Of those that could be taken the first is; where there is none the event
/// changes nothing.
#[rustfmt::skip]
pub static TABLE: &[Transition] = &[
    row(&[Ready], On::Send, &[If::Due], Sending, &[Action::Count]),
    row(&[Ready], On::Drop, &[], Dropped, &[]),
    row(&[Ready], On::Hasten, &[], Ready, &[Action::DoNotWait]),
    row(&[Ready, InDoubt, Settling], On::Abandon, &[], Dropped, &[]),
    row(&[Ready, Sending, InDoubt, Settling], On::Restored, &[], InDoubt, &[Action::Quarantine]),
    row(&[Sending], On::Taken, &[If::SentOnce], Done, &[]),
    row(&[Sending], On::Taken, &[If::SameKey], Done, &[]),
    row(&[Sending], On::Taken, &[], Settling, &[Action::Quarantine]),
    row(&[Sending], On::NotTaken, &[], Ready, &[Action::Uncount, Action::Wait]),
    // It could not be looked for.
    row(&[InDoubt], On::NotTaken, &[], InDoubt, &[Action::Wait]),
    row(&[Settling], On::NotTaken, &[], Settling, &[Action::Wait]),
    row(&[Sending], On::Refused, &[], Refused, &[]),
    row(&[Sending], On::Lost, &[], InDoubt, &[Action::Quarantine]),
    row(&[InDoubt], On::LookedFor, &[If::LookUp, If::Due, If::NotFound], Ready, &[]),
    row(&[InDoubt, Settling], On::LookedFor, &[If::LookUp, If::Due, If::Surplus], Settling, &[Action::RemoveSurplus]),
    // Not found after it was answered: somebody took it away, which is theirs to decide.
    row(&[InDoubt, Settling], On::LookedFor, &[If::LookUp, If::Due], Done, &[]),
    // Whoever got it says so, by another way than the answer.
    row(&[InDoubt], On::Taken, &[If::SameKey], Done, &[]),
    row(&[InDoubt], On::Taken, &[If::Never], Done, &[]),
    row(&[InDoubt], On::Due, &[If::SameKey, If::Due], Ready, &[]),
    row(&[InDoubt], On::Due, &[If::Never, If::Due], Ambiguous, &[]),
    row(&[Settling], On::Due, &[If::Never, If::Due], Done, &[]),
];

/// An effect, as far as its life is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Where it stands.
    pub phase: Phase,
    /// What can be done about it in doubt.
    pub repeat: Repeat,
    /// How long the server may still carry out a request without an answer, in milliseconds.
    pub quarantine: i64,
    /// Nothing is done before this time.
    pub not_before: i64,
    /// How many requests may have had an effect.
    pub sends: u32,
    /// What came of the last request, in words; empty where it was taken. It moves nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Row {
    /// An effect that may be sent at once, with its quarantine in milliseconds.
    #[must_use]
    pub const fn new(repeat: Repeat, quarantine: i64) -> Self {
        Self {
            phase: Phase::Ready,
            repeat,
            quarantine,
            not_before: 0,
            sends: 0,
            why: String::new(),
        }
    }

    /// Takes an event. False: it came too early or means nothing here, and nothing changed.
    #[must_use = "false says that nothing changed"]
    pub fn apply(&mut self, event: &Event) -> bool {
        let found = TABLE.iter().find(|row| {
            row.on == event.kind()
                && row.from.contains(&self.phase)
                && row.when.iter().all(|guard| guard.holds(self, event))
        });
        let Some(row) = found else { return false };
        self.phase = row.to;
        for action in row.then {
            action.take(self, event);
        }
        true
    }
}
