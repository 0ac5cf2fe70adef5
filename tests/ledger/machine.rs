//! Random lives, with the invariants held at every step.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use timmy_dispatcher::ledger::effect::{self, Repeat, Row};
use timmy_dispatcher::ledger::machine::{
    Channel, Closer, Command, Dispatch, Effect, Event, Phase, Plan, Settled, SlotHold, TABLE,
};
use timmy_dispatcher::task::DispatchStatus;

/// Runs a property and says with which seed: `TIMMY_SEED=…` repeats it.
fn property<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value)) {
    let seed = std::env::var("TIMMY_SEED").ok().map_or_else(
        || {
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |time| {
                    u64::try_from(time.as_nanos() & u128::from(u64::MAX)).unwrap()
                })
        },
        |seed| seed.parse().unwrap(),
    );
    println!("TIMMY_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = proptest::test_runner::TestRng::from_seed(
        proptest::test_runner::RngAlgorithm::ChaCha,
        &bytes,
    );
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(&strategy, |value| {
        test(value);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("TIMMY_SEED={seed}: {failure}");
    }
}

/// The event that a number stands for. (A strategy for each kind of event takes most of the time.)
fn event(code: u32, current: u64) -> Event {
    let pick = |salt: u64, of: usize| {
        let mixed = (u64::from(code) ^ (salt << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as usize % of
    };
    // Most of them are about the live attempt.
    let fence = match pick(7, 6) {
        0..=3 => current,
        4 => current.wrapping_sub(1),
        _ => current + 1,
    };
    let flag = pick(101, 2) == 0;
    match pick(1, 77) {
        0..=29 => Event::Settled {
            fence,
            effect: Effect::ALL[pick(211, Effect::ALL.len())],
            how: match pick(401, 9) {
                0..=4 => Settled::Done,
                5 => Settled::Found,
                6 => Settled::Refused("403".to_owned()),
                7 => Settled::Ambiguous,
                _ => Settled::Dropped,
            },
        },
        30..=35 => Event::Claimed {
            agent: format!("agent-{}", pick(307, 3)),
            channel: Channel::ALL[pick(211, 3)],
            idempotent: flag,
        },
        36 => Event::Blocked("no free slot".to_owned()),
        37 => Event::Postponed("cooling down".to_owned()),
        38..=39 => Event::Due,
        40 => Event::Hold("moved".to_owned()),
        41..=43 => Event::Release,
        44..=47 => Event::SignOfLife { fence },
        48..=50 => Event::Finished {
            fence,
            by: if flag { Closer::Agent } else { Closer::Person },
        },
        51..=52 => Event::AgentFailed {
            fence,
            transient: flag,
            reason: "no".to_owned(),
        },
        53..=54 => Event::GatesPassed { fence },
        55..=56 => Event::GatesFailed {
            fence,
            reason: "checks".to_owned(),
        },
        57..=58 => Event::DeadlinePassed { fence },
        59..=60 => Event::WorkerLost { fence },
        61 => Event::LabelTaken {
            fence,
            by: "eve".to_owned(),
        },
        62..=68 => Event::Silent { fence },
        69 => Event::Withdrawn,
        70 => Event::Confirmed,
        71 => Event::IssueGone,
        72..=73 => Event::Cancel,
        74..=75 => Event::Reassigned {
            fence,
            agent: format!("agent-{}", pick(307, 4)),
            by: "eve".to_owned(),
        },
        _ => Event::Retry,
    }
}

fn plan() -> impl Strategy<Value = Plan> {
    (1..4_usize, 0..3_u32, 0..2_u32, any::<[bool; 3]>()).prop_map(
        |(agents, max_reassignments, max_retries, [gated, callback, has_issue])| Plan {
            max_reassignments,
            max_retries,
            gated,
            callback,
            has_issue,
            ..Plan::new((0..agents).map(|number| format!("agent-{number}")))
        },
    )
}

/// What the ledger holds beside the states: slots, attempts, effects.
#[derive(Default)]
struct Books {
    /// Agent → the dispatch and fence that has its only slot.
    slots: BTreeMap<String, (usize, u64)>,
    attempts: BTreeSet<(usize, u64)>,
    live: BTreeSet<(usize, u64)>,
    sent: BTreeSet<(usize, u64, Effect)>,
}

impl Books {
    fn enter(&mut self, who: usize, command: &Command, before: &Dispatch, event: &Event) {
        match command {
            Command::BeginAttempt { fence, .. } => {
                assert!(
                    !self.live.iter().any(|(other, _)| *other == who),
                    "two live attempts"
                );
                assert!(
                    self.attempts.insert((who, *fence)),
                    "a fence was used twice"
                );
                self.live.insert((who, *fence));
            }
            Command::EndAttempt { fence, outcome } => {
                assert!(self.live.remove(&(who, *fence)), "no such attempt is live");
                if *event == Event::IssueGone {
                    assert_eq!(*outcome, before.next);
                } else {
                    assert!(outcome.is_some(), "it ends without having been withdrawn");
                }
            }
            Command::TakeSlot { agent, fence } => {
                let taken = self.slots.insert(agent.clone(), (who, *fence));
                assert_eq!(taken, None, "two dispatches in one slot");
            }
            Command::DrainSlot { fence } => {
                assert!(self.slots.values().any(|slot| *slot == (who, *fence)));
            }
            Command::FreeSlot { fence } => {
                let had = self.slots.len();
                self.slots.retain(|_, slot| *slot != (who, *fence));
                assert_eq!(
                    self.slots.len(),
                    had - 1,
                    "a slot that was not taken is given back"
                );
            }
            Command::Send { fence, effect } => {
                assert!(
                    self.sent.insert((who, *fence, *effect)),
                    "{effect} twice for one fence"
                );
            }
            Command::DropUnsent { .. } => {}
        }
    }
}

fn check(who: usize, state: &Dispatch, before: &Dispatch, event: &Event, books: &Books) {
    assert!(state.fence >= before.fence, "the fence fell");
    if state.phase.is_waiting() {
        assert!(!state.reason.is_empty(), "it waits and does not say why");
    }
    if before.phase.is_terminal() && state.phase != before.phase {
        assert_eq!(*event, Event::Retry, "something else left a terminal phase");
        assert!(state.fence > before.fence, "a retry under the same fence");
    }
    let live = books.live.contains(&(who, state.fence));
    assert_eq!(state.attempt.is_some(), live);
    let has_slot = books.slots.values().any(|slot| *slot == (who, state.fence));
    assert_eq!(state.slot != SlotHold::None, has_slot);
    if let (Some(ended), None) = (&before.attempt, &state.attempt)
        && *event != Event::IssueGone
    {
        let taken_back = state.open.iter().all(|(fence, effect)| {
            *fence != before.fence
                || matches!(
                    effect,
                    Effect::EscalationComment | Effect::EscalationLabel | Effect::Callback
                )
        });
        assert!(taken_back, "it ended while an effect was open: {state:?}");
        if ended.channel == Channel::Label {
            assert!(books.sent.contains(&(who, before.fence, Effect::Unlabel)));
        }
    }
    let rests = matches!(state.phase, Phase::Queued) || state.phase.is_terminal();
    assert!(!rests || state.timer().is_none());
    if let Some(due) = state.due() {
        assert!(state.clone().apply(&due).is_some(), "{due:?} in {state:?}");
    }
    match state.phase {
        Phase::HandingOver | Phase::HandedOver | Phase::Working => {
            assert!(live);
            assert_eq!(state.slot, SlotHold::Taken);
        }
        Phase::Reviewing => assert!(live && state.slot == SlotHold::None),
        Phase::Withdrawing => assert!(live && state.next.is_some()),
        Phase::Held => assert!(state.resume.is_some()),
        Phase::Queued | Phase::RetryWait => assert!(!live && state.next.is_none()),
        _ => assert!(!live && state.slot == SlotHold::None && state.next.is_none()),
    }
    assert!(
        (state.status() == DispatchStatus::Pending)
            == matches!(state.phase, Phase::Queued | Phase::RetryWait)
            || state.phase == Phase::Held && !live
    );
}

#[test]
fn the_invariants_hold_in_random_lives() {
    let lives = (
        prop::collection::vec(plan(), 1..4),
        prop::collection::vec(any::<u32>(), 1..160),
    );
    property(400, lives, |(plans, codes)| {
        let mut states: Vec<Dispatch> = plans.into_iter().map(Dispatch::new).collect();
        let mut books = Books::default();
        for code in codes {
            let who = (code >> 20) as usize % states.len();
            let before = states[who].clone();
            let event = event(code, before.fence);
            if let Event::Claimed { agent, .. } = &event
                && books.slots.contains_key(agent)
            {
                continue; // The transaction that claims has found the agent's slot free.
            }
            match states[who].apply(&event) {
                None => assert_eq!(states[who], before, "a stale event changed something"),
                Some(commands) => {
                    for command in &commands {
                        books.enter(who, command, &before, &event);
                    }
                }
            }
            let foreign = event.fence().is_some_and(|fence| fence != before.fence);
            assert!(!foreign || states[who] == before, "a stale fence was heard");
            check(who, &states[who], &before, &event, &books);
        }
    });
}

/// Whoever settles what is open and lets the time pass gets every dispatch to rest.
#[test]
fn no_dispatch_is_stuck() {
    let lives = (
        plan(),
        prop::collection::vec(any::<u32>(), 0..80),
        any::<bool>(),
    );
    property(400, lives, |(plan, codes, person)| {
        let mut state = Dispatch::new(plan);
        for code in codes {
            let event = event(code, state.fence);
            let _ = state.apply(&event);
        }
        for _ in 0..400 {
            if state.phase.is_terminal() {
                return;
            }
            let fence = state.fence;
            let open = state.open.iter().next().copied();
            let event = match (state.phase, open) {
                (Phase::Held, _) => Event::Release,
                (_, Some((fence, effect))) => Event::Settled {
                    fence,
                    effect,
                    how: Settled::Done,
                },
                (Phase::Queued, _) => Event::Claimed {
                    agent: state.agent().unwrap().to_owned(),
                    channel: Channel::Label,
                    idempotent: false,
                },
                (Phase::RetryWait, _) => Event::Due,
                (Phase::Withdrawing, _) => Event::Silent { fence },
                (Phase::Reviewing, _) => Event::GatesPassed { fence },
                _ if person => Event::DeadlinePassed { fence },
                _ => Event::Finished {
                    fence,
                    by: Closer::Agent,
                },
            };
            assert!(state.apply(&event).is_some(), "{event:?} in {state:?}");
        }
        panic!("it does not end: {state:?}");
    });
}

#[test]
fn every_row_of_the_table_is_taken() {
    let mut missing: BTreeSet<usize> = TABLE
        .iter()
        .enumerate()
        .filter(|(_, row)| !row.is_internal())
        .map(|(number, _)| number)
        .collect();
    // Always the same lives: this is about the table, not about luck.
    for life in 0..40_000_u32 {
        let flag = |bit: u32| life >> bit & 1 == 1;
        let mut state = Dispatch::new(Plan {
            max_reassignments: life >> 4 & 1,
            max_retries: life >> 5 & 1,
            gated: flag(1),
            callback: flag(2),
            has_issue: flag(3),
            ..Plan::new(["agent-0", "agent-1"])
        });
        for number in 0..100 {
            let event = event(life * 100 + number, state.fence);
            let row = TABLE.iter().position(|row| row.holds(&state, &event));
            if state.apply(&event).is_some() {
                missing.remove(&row.unwrap());
            }
        }
        if missing.is_empty() {
            return;
        }
    }
    let rows = missing.iter().map(|number| TABLE[*number]);
    panic!("never taken: {:#?}", rows.collect::<Vec<_>>());
}

#[derive(Debug, Clone)]
enum Step {
    Wait(i64),
    Send,
    Answer(u8),
    Look,
    Due,
    Drop,
    /// A request that was lost is carried out after all.
    Arrives,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..80_i64).prop_map(Step::Wait),
        6 => Just(Step::Send),
        6 => (0..5_u8).prop_map(Step::Answer),
        4 => Just(Step::Look),
        2 => Just(Step::Due),
        1 => Just(Step::Drop),
        3 => Just(Step::Arrives),
    ]
}

/// A server that carries out every lost request within the quarantine, or never.
#[test]
fn an_effect_happens_once_while_the_server_keeps_to_the_quarantine() {
    const QUARANTINE: i64 = 100;
    let repeat = prop::sample::select(Repeat::ALL);
    let lives = (repeat, prop::collection::vec(step(), 1..80));
    property(800, lives, |(repeat, steps)| {
        let mut row = Row::new(repeat, QUARANTINE);
        let mut now = 0_i64;
        let mut there = 0_u32;
        let mut lost: Option<i64> = None;
        let mut wanted = true;
        for step in steps {
            let before = row.clone();
            match step {
                Step::Wait(time) => now += time,
                Step::Send => {
                    if row.apply(&effect::Event::Send { now }) {
                        assert!(now >= before.not_before);
                        if let Some(at) = lost.take() {
                            assert!(now >= at + QUARANTINE, "repeated in the quarantine");
                        }
                        let again = before.sends > 0 && there > 0;
                        assert!(
                            !again || repeat == Repeat::SameKey,
                            "sent although it is there"
                        );
                    }
                }
                Step::Answer(kind) => {
                    let event = match kind {
                        0 => effect::Event::NotTaken { again: now + 7 },
                        1 => effect::Event::Refused,
                        2 => effect::Event::Taken { now },
                        _ => effect::Event::Lost { now },
                    };
                    if row.apply(&event) {
                        match kind {
                            // Whoever got the lost request says so.
                            2 if before.phase == effect::Phase::InDoubt => {
                                (there, lost) = (1, None);
                            }
                            2 if repeat == Repeat::SameKey => there = 1,
                            2 => there += 1,
                            3.. => lost = Some(now),
                            _ => {}
                        }
                    }
                }
                Step::Arrives => {
                    // Once for each lost request, and in time.
                    if lost.is_some_and(|at| now < at + QUARANTINE) {
                        there = if repeat == Repeat::SameKey {
                            1
                        } else {
                            there + 1
                        };
                        lost = None;
                    }
                }
                Step::Look => {
                    let event = effect::Event::LookedFor {
                        began: now,
                        found: there,
                    };
                    if !row.apply(&event) {
                        assert_eq!(row, before);
                    }
                }
                Step::Due => {
                    let _ = row.apply(&effect::Event::Due { now });
                }
                Step::Drop => wanted &= !row.apply(&effect::Event::Drop),
            }
            assert!(there <= 1, "it happened twice");
            if row.phase == effect::Phase::Done {
                assert_eq!(there, 1);
            }
            if before.phase.is_settled() {
                assert_eq!(row, before, "what is settled changed");
            }
            if row.phase == effect::Phase::Dropped {
                assert!(!wanted);
            }
        }
    });
}

#[test]
fn what_comes_later_than_the_quarantine_is_taken_away_again() {
    let mut row = Row::new(Repeat::LookUp, 100);
    for event in [
        effect::Event::Send { now: 0 },
        effect::Event::Lost { now: 10 },
        effect::Event::LookedFor {
            began: 110,
            found: 0,
        },
        effect::Event::Send { now: 110 },
        effect::Event::Taken { now: 120 },
    ] {
        assert!(row.apply(&event), "{event:?}");
    }
    assert_eq!(row.phase, effect::Phase::Settling);
    assert!(!row.apply(&effect::Event::LookedFor {
        began: 219,
        found: 2
    }));
    assert!(row.apply(&effect::Event::LookedFor {
        began: 220,
        found: 2
    }));
    assert_eq!(row.phase, effect::Phase::Settling); // until the surplus is gone
    assert!(row.apply(&effect::Event::LookedFor {
        began: 221,
        found: 1
    }));
    assert_eq!(row.phase, effect::Phase::Done);
}
