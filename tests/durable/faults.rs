//! Whole lives of dispatches on a server that misbehaves.

use std::time::Duration;

use timmy_dispatcher::durable::{Dispatcher, Policy, Receive, Wishes};
use timmy_dispatcher::ledger::machine::Phase;
use timmy_dispatcher::sandbox::{DeliveryFault, Fault};
use uuid::Uuid;

use crate::world::{VERSIONS, World, ended, eventually, until};

/// A dispatcher, and a task for Kimi that is on its way to it.
struct Life {
    world: World,
    dispatcher: Dispatcher,
    issue: u64,
    id: Uuid,
}

impl Life {
    /// Begins one on a server that is as `arrange` makes it, for the issue of the task.
    async fn begin(world: World, policy: Policy, arrange: impl FnOnce(&World, u64)) -> Self {
        let task = world.task("Fix the typo");
        let issue = task.issue_number.unwrap();
        arrange(&world, issue);
        let dispatcher = world.builder(policy).open().await.unwrap();
        let submitted = dispatcher.submit(&task, &Wishes::default()).await;
        let id = submitted.unwrap().id();
        Self {
            world,
            dispatcher,
            issue,
            id,
        }
    }

    async fn handed_over(&self) {
        eventually(&self.dispatcher, self.id, |record| {
            matches!(record.state.phase, Phase::HandedOver | Phase::Working)
        })
        .await;
    }

    /// The agent closes the issue; then all is as if nothing had gone wrong.
    async fn end(self) {
        self.handed_over().await;
        self.world.close("kimi", self.issue);
        let record = ended(&self.dispatcher, self.id).await;
        assert_eq!(
            record.state.phase,
            Phase::Completed,
            "{}",
            record.state.reason
        );
        let comments = self.world.comments(self.issue);
        assert_eq!(comments.len(), 1, "{comments:#?}");
        assert_eq!(self.world.labels(self.issue), [""; 0]);
        let history = self.world.gitea.timeline(&self.world.repo, self.issue);
        let history = history.unwrap();
        let added = history
            .iter()
            .filter(|entry| entry["type"] == "label" && entry["body"] == "1");
        assert_eq!(added.count(), 1);
        let story = self.dispatcher.story(self.id).await.unwrap();
        assert_eq!(story.attempts.len(), 1, "{:#?}", story.attempts);
        self.dispatcher.close(Duration::from_secs(5)).await;
    }
}

fn on_issue(issue: u64, end: &str) -> String {
    format!("*/issues/{issue}{end}")
}

#[tokio::test]
async fn a_burst_of_errors_in_every_phase_passes() {
    for version in VERSIONS {
        let burst = |world: &World| {
            for status in [500, 502, 503, 401, 500] {
                world.gitea.fault(Fault::status(status).times(1)).unwrap();
            }
            world
                .gitea
                .fault(Fault::drop_connection().times(2))
                .unwrap();
        };
        let arrange = |world: &World, _| burst(world);
        let life = Life::begin(World::new(version), World::policy(), arrange).await;
        life.handed_over().await;
        burst(&life.world);
        life.end().await;
    }
}

#[tokio::test]
async fn every_answer_comes_by_half_once() {
    for version in VERSIONS {
        let halves = |world: &World, issue: u64| {
            for (method, path) in [
                ("POST", on_issue(issue, "/comments")),
                ("GET", on_issue(issue, "/comments")),
                ("GET", "*/labels".to_owned()),
                ("POST", "*/swarm/labels".to_owned()),
                ("POST", on_issue(issue, "/labels")),
                ("GET", on_issue(issue, "/timeline")),
                ("GET", "*/swarm/issues".to_owned()),
                ("GET", on_issue(issue, "")),
                ("DELETE", on_issue(issue, "/labels/*")),
            ] {
                // Once, and once more where the transport asks again by itself.
                let half = Fault::truncated().on(method, &path).times(2);
                world.gitea.fault(half).unwrap();
            }
        };
        Life::begin(World::new(version), World::policy(), halves)
            .await
            .end()
            .await;
    }
}

#[tokio::test]
async fn a_server_that_limits_us_gets_what_is_to_be_sent_later() {
    for version in VERSIONS {
        let life = Life::begin(World::new(version), World::policy(), |world, issue| {
            for path in ["/comments", "/labels"] {
                let limit = Fault::status(429).retry_after("1");
                let limit = limit.on("POST", &on_issue(issue, path)).times(1);
                world.gitea.fault(limit).unwrap();
            }
        })
        .await;
        life.end().await;
    }
}

#[tokio::test]
async fn a_server_that_is_silent_for_longer_than_anybody_waits() {
    for version in VERSIONS {
        for done in [false, true] {
            let mut policy = World::policy();
            policy.timing.request = Duration::from_millis(400);
            let silent = |world: &World, issue: u64| {
                for path in ["/comments", "/labels"] {
                    let fault = match done {
                        true => Fault::hold().after_effect(),
                        false => Fault::hold(),
                    };
                    let fault = fault.on("POST", &on_issue(issue, path)).times(1);
                    world.gitea.fault(fault).unwrap();
                }
            };
            let life = Life::begin(World::new(version), policy, silent).await;
            life.handed_over().await;
            life.world.gitea.release();
            life.end().await;
        }
    }
}

#[tokio::test]
async fn what_was_kept_later_than_the_quarantine_is_gone_before_the_label_comes() {
    for version in VERSIONS {
        let mut policy = World::policy();
        policy.timing.quarantine = Duration::from_millis(1500);
        let life = Life::begin(World::new(version), policy, |world, issue| {
            let late = Fault::drop_connection().commit_at_release();
            let late = late.on("POST", &on_issue(issue, "/comments")).times(1);
            world.gitea.fault(late).unwrap();
        })
        .await;
        // It was looked for in vain and is sent again; now both are there.
        while life.world.comments(life.issue).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        life.world.gitea.release();
        life.handed_over().await;
        let story = life.dispatcher.story(life.id).await.unwrap();
        let surplus = story.entries.iter().filter(|entry| entry.kind == "surplus");
        assert_eq!(surplus.count(), 1, "{:#?}", story.entries);
        life.end().await;
    }
}

#[tokio::test]
async fn an_agent_that_takes_its_label_off_before_we_hear_of_it() {
    for version in VERSIONS {
        let life = Life::begin(World::new(version), World::policy(), |world, issue| {
            world
                .gitea
                .duplicate_label(&world.repo, "kimi-ready")
                .unwrap();
            let lost = Fault::drop_connection().after_effect();
            let lost = lost.on("POST", &on_issue(issue, "/labels")).times(1);
            world.gitea.fault(lost).unwrap();
        })
        .await;
        while life.world.labels(life.issue).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        life.world.unlabel("kimi", life.issue, "kimi-ready");
        until(&life.dispatcher, life.id, Phase::Working).await;
        life.end().await;
    }
}

#[tokio::test]
async fn an_empty_issue_is_no_end_of_it() {
    for version in VERSIONS {
        let life = Life::begin(World::new(version), World::policy(), |world, issue| {
            let empty = Fault::zeroed_issue()
                .on("GET", &on_issue(issue, ""))
                .times(3);
            world.gitea.fault(empty).unwrap();
        })
        .await;
        life.handed_over().await;
        life.end().await;
    }
}

#[tokio::test]
async fn webhooks_that_overtake_each_other_and_come_again() {
    for version in VERSIONS {
        let world = World::new(version);
        let mut policy = World::policy();
        policy.timing.poll = Duration::from_secs(3600);
        policy.receive = Some(Receive {
            address: "127.0.0.1:0".parse().unwrap(),
            secret: "hooked".to_owned(),
            public_url: None,
        });
        let life = Life::begin(world, policy, |_, _| {}).await;
        let url = format!(
            "http://{}/webhooks/gitea",
            life.dispatcher.received_at().unwrap()
        );
        let events = ["issues", "issue_comment", "issue_label"];
        let hook = life
            .world
            .gitea
            .create_hook(&life.world.repo, &url, "hooked", &events);
        hook.unwrap();
        life.handed_over().await;
        // That it is closed comes three times, and before what was said before it.
        let said = DeliveryFault::overtake().event("issue_comment").times(1);
        life.world.gitea.delivery_fault(said).unwrap();
        let closed = DeliveryFault::repeat(2).event("issues");
        life.world.gitea.delivery_fault(closed).unwrap();
        life.world.say("kimi", life.issue, "nearly there");
        life.world.close("kimi", life.issue);
        let record = ended(&life.dispatcher, life.id).await;
        assert_eq!(record.state.phase, Phase::Completed);
        let story = life.dispatcher.story(life.id).await.unwrap();
        let ends = story
            .entries
            .iter()
            .filter(|entry| entry.kind == "finished");
        assert_eq!(ends.count(), 1);
        life.dispatcher.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn a_repository_that_moved_goes_on_under_its_new_name() {
    for version in VERSIONS {
        let life = Life::begin(World::new(version), World::policy(), |_, _| {}).await;
        life.handed_over().await;
        let Life {
            mut world,
            dispatcher,
            issue,
            id,
        } = life;
        let old = world.repo.clone();
        world.repo = world.gitea.rename_repo(&old, "herd").unwrap();
        let record = until(&dispatcher, id, Phase::Held).await;
        assert!(record.reason.contains("timmy/herd"), "{}", record.reason);
        assert_eq!(dispatcher.relocate(&old, &world.repo).await.unwrap(), 1);
        Life {
            world,
            dispatcher,
            issue,
            id,
        }
        .end()
        .await;
    }
}
