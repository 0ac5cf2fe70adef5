//! What an issue's history says, for histories of every kind.

use proptest::prelude::*;
use serde_json::json;
use timmy_dispatcher::durable::Terms;
use timmy_dispatcher::durable::watch::{Case, KnownAgent, Observed, observe};
use timmy_dispatcher::gitea::{Label, Reference, TimelineEntry, User};
use timmy_dispatcher::ledger::Watched;
use timmy_dispatcher::ledger::machine::{
    Channel, Closer, Dispatch, Effect, Event, Phase, Plan, Settled,
};
use uuid::Uuid;

const HANDOVER: i64 = 100;
const WHO: [&str; 5] = ["timmy", "kimi", "claude", "alice", "bad\nname"];
const KINDS: [&str; 9] = [
    "comment",
    "label",
    "label",
    "close",
    "reopen",
    "pull_ref",
    "commit_ref",
    "merge_pull",
    "lock",
];
const LABELS: [&str; 3] = ["kimi-ready", "claude-ready", "bug"];
const PHASES: [(Phase, bool, bool); 7] = [
    (Phase::HandingOver, false, false),
    (Phase::HandingOver, true, false),
    (Phase::HandedOver, false, false),
    (Phase::Working, true, false),
    (Phase::Reviewing, true, false),
    (Phase::Withdrawing, true, true),
    (Phase::Withdrawing, true, false),
];

fn user(at: usize) -> User {
    User {
        id: i64::try_from(at).unwrap() + 1,
        login: WHO[at].to_owned(),
    }
}

fn me() -> User {
    user(0)
}

fn agents() -> Vec<KnownAgent> {
    let agent = |name: &str| KnownAgent {
        name: name.to_owned(),
        label: Some(format!("{name}-ready")),
        gitea_user: Some(name.to_owned()),
    };
    vec![agent("kimi"), agent("claude")]
}

fn watched(at: usize) -> Watched {
    let (phase, started, draining) = PHASES[at];
    Watched {
        id: Uuid::nil(),
        fence: 1,
        phase,
        started,
        draining,
        agent: "kimi".to_owned(),
        channel: Channel::Label,
        terms: json!(null),
        task: json!(null),
        max_retries: 1,
        handover: Some(HANDOVER),
    }
}

/// Whose account the agent has: its own, none that is known, or ours.
fn terms(account: usize) -> Terms {
    let account = [Some("Kimi"), None, Some("timmy")][account];
    Terms {
        label: Some("kimi-ready".to_owned()),
        gitea_user: account.map(str::to_owned),
        ..Terms::default()
    }
}

/// (kind, who, label, on or off or merged, words)
type Spec = (usize, usize, usize, bool, bool);

fn entry(id: i64, (kind, who, label, on, words): Spec) -> TimelineEntry {
    let kind = KINDS[kind];
    let body = match (kind, on, words) {
        ("label", true, _) => "1",
        ("label", false, _) => "",
        (_, true, true) => "<!-- timmy-dispatch:x -->",
        (_, false, true) => "I am\n/stopped",
        _ => "words",
    };
    TimelineEntry {
        id,
        kind: kind.to_owned(),
        user: user(who),
        body: body.to_owned(),
        label: (kind == "label").then(|| Label {
            id: 1,
            name: LABELS[label].to_owned(),
            ..Label::default()
        }),
        ref_issue: (kind == "pull_ref").then(|| Reference {
            number: 9,
            repository: None,
            pull_request: Some(json!({
                "merged": on,
                "merged_at": on.then_some("2026-11-25T10:00:00Z"),
            })),
        }),
        ref_action: if words { "closes" } else { "none" }.to_owned(),
        created_at: "2026-11-25T10:00:01Z".to_owned(),
    }
}

fn history() -> impl Strategy<Value = Vec<TimelineEntry>> {
    let spec = (
        0..KINDS.len(),
        0..WHO.len(),
        0..LABELS.len(),
        any::<bool>(),
        any::<bool>(),
    );
    let at = (HANDOVER - 10)..(HANDOVER + 20);
    prop::collection::btree_map(at, spec, 0..20).prop_map(|entries| {
        entries
            .into_iter()
            .map(|(id, spec)| entry(id, spec))
            .collect()
    })
}

fn read(phase: usize, account: usize, seen: i64, history: &[TimelineEntry]) -> Observed {
    let case = Case {
        watched: &watched(phase),
        terms: &terms(account),
        me: &me(),
        agents: &agents(),
        seen,
    };
    observe(&case, history)
}

/// A dispatch in that phase.
fn dispatch(at: usize) -> Dispatch {
    let (phase, started, draining) = PHASES[at];
    let mut plan = Plan::new(["kimi", "claude"]);
    plan.gated = phase == Phase::Reviewing;
    let mut dispatch = Dispatch::new(plan);
    let mut take = |event: Event| assert!(dispatch.apply(&event).is_some(), "{event:?}");
    take(Event::Claimed {
        agent: "kimi".to_owned(),
        channel: Channel::Label,
        idempotent: false,
    });
    let done = |effect| Event::Settled {
        fence: 1,
        effect,
        how: Settled::Done,
    };
    take(done(Effect::Comment));
    if phase != Phase::HandingOver {
        take(done(Effect::Label));
    }
    if started {
        take(Event::SignOfLife { fence: 1 });
    }
    match phase {
        Phase::Reviewing => take(Event::Finished {
            fence: 1,
            by: Closer::Agent,
        }),
        Phase::Withdrawing if draining => take(Event::DeadlinePassed { fence: 1 }),
        Phase::Withdrawing => take(Event::Finished {
            fence: 1,
            by: Closer::Agent,
        }),
        _ => {}
    }
    assert_eq!(dispatch.phase, phase);
    dispatch
}

fn reversed_and_twice(history: &[TimelineEntry]) -> Vec<TimelineEntry> {
    history.iter().rev().chain(history).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_seen_is_stale(
        phase in 0..PHASES.len(),
        account in 0..3_usize,
        history in history(),
    ) {
        let mut dispatch = dispatch(phase);
        for (event, evidence) in read(phase, account, 0, &history).events {
            prop_assert_eq!(event.fence(), Some(1));
            prop_assert!(evidence["entry"].as_i64() > Some(HANDOVER));
            prop_assert!(dispatch.apply(&event).is_some(), "{:?} in {}", event, dispatch.phase);
        }
    }

    #[test]
    fn what_is_older_than_the_hand_over_does_not_count_and_order_does_not_matter(
        phase in 0..PHASES.len(),
        account in 0..3_usize,
        history in history(),
    ) {
        let seen = read(phase, account, 0, &history);
        prop_assert_eq!(&read(phase, account, 0, &reversed_and_twice(&history)), &seen);
        // References to pull requests may be older: the work began before.
        let newer = |entry: &&TimelineEntry| entry.id > HANDOVER || entry.kind == "pull_ref";
        let newer: Vec<_> = history.iter().filter(newer).cloned().collect();
        prop_assert_eq!(read(phase, account, 0, &newer), seen);
        prop_assert_eq!(read(phase, account, 0, &[]).events, vec![]);
    }

    #[test]
    fn what_we_do_ourselves_is_no_sign_of_life(
        phase in 0..PHASES.len(),
        account in 0..2_usize,
        history in history(),
    ) {
        let ours: Vec<_> = history.into_iter().filter(|entry| entry.user == me()).collect();
        for (event, _) in read(phase, account, 0, &ours).events {
            let harmless = matches!(
                event,
                Event::LabelTaken { .. } | Event::Finished { .. }
            );
            prop_assert!(harmless, "{:?}", event);
        }
    }

    #[test]
    fn an_ending_comes_alone_and_activity_is_told_once(
        phase in 0..PHASES.len(),
        account in 0..3_usize,
        history in history(),
    ) {
        let first = read(phase, account, 0, &history);
        let ends = |event: &Event| !matches!(event, Event::SignOfLife { .. });
        prop_assert!(first.events.iter().filter(|(event, _)| ends(event)).count() <= 1);
        if watched(phase).draining {
            prop_assert_eq!(read(phase, account, first.seen, &history).events, vec![]);
        }
        for (event, _) in &first.events {
            if let Event::LabelTaken { by, .. } | Event::Reassigned { by, .. } = event {
                prop_assert!(!by.contains('\n'));
            }
        }
    }

    #[test]
    fn the_last_word_counts(
        phase in 2..4_usize,
        account in 0..3_usize,
        mut history in history(),
        closes in any::<bool>(),
    ) {
        let kind = if closes { 3 } else { 4 };
        history.push(entry(HANDOVER + 1_000, (kind, 3, 0, false, false)));
        let seen = read(phase, account, 0, &history).events;
        let finished = seen.iter().any(|(event, _)| matches!(event, Event::Finished { .. }));
        prop_assert_eq!(finished, closes);
    }
}

#[test]
fn a_merge_closes_within_a_minute() {
    let merged = entry(HANDOVER - 5, (5, 1, 0, true, true));
    let mut close = entry(HANDOVER + 5, (3, 3, 0, false, false));
    let mut by = |closed_at: &str| {
        closed_at.clone_into(&mut close.created_at);
        let seen = read(3, 0, 0, &[merged.clone(), close.clone()]);
        match seen.events.as_slice() {
            [(Event::Finished { by, .. }, _)] => *by,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(by("2026-11-25T10:00:00Z"), Closer::Agent);
    assert_eq!(by("2026-11-25T12:01:00+02:00"), Closer::Agent);
    assert_eq!(by("2026-11-25T10:01:01Z"), Closer::Person);
    assert_eq!(by("2026-11-25T09:59:59Z"), Closer::Person);
    assert_eq!(by("some time"), Closer::Agent);
}
