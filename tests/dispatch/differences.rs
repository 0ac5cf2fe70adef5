//! What differs from the module that is replaced, in the README's order.
//!
//! 11, 12 and 14 are about Python alone: client constructors, httpx, lone surrogates.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use timmy_dispatcher::dispatch::{DispatchResult, Swarm, Task};
use timmy_dispatcher::http::{Method, Native, Repeat, Request, Response, SendError, Transport};
use timmy_dispatcher::sandbox::{Fault, GiteaVersion, Sandbox};
use timmy_dispatcher::task::{AgentName, DispatchStatus, TaskType};

use crate::{Wire, settings};

const KIMI: &str = "kimi-ready";

/// The reason that the whole hand-over failed for.
fn causes(result: &DispatchResult) -> String {
    assert_eq!(result.status, DispatchStatus::Escalated, "{result:?}");
    let error = result.error.clone().unwrap();
    let sentence = "Failed to apply label and post comment — check Gitea connectivity. ";
    error.strip_prefix(sentence).unwrap().to_owned()
}

#[tokio::test]
async fn difference_01_an_explicit_type_is_kept() {
    for wire in Wire::both() {
        let task = Task {
            task_type: Some(TaskType::CodeReview),
            ..wire.task()
        };
        let result = wire.swarm.dispatch(&task).await;
        assert_eq!(result.task_type, TaskType::CodeReview);
        assert_eq!(result.agent, AgentName::CLAUDE_CODE);
        assert!(wire.comments()[0].contains("**Task type:** `code_review`"));
    }
}

#[tokio::test]
async fn difference_02_the_escalation_counts_the_attempts() {
    for wire in Wire::both() {
        let refused = || Fault::status(422).message("no");
        wire.gitea
            .fault(refused().path("*/issues/*/labels"))
            .unwrap();
        wire.gitea
            .fault(refused().on("POST", "/comments").times(3))
            .unwrap();
        let task = Task {
            max_retries: 2,
            ..wire.task()
        };
        let result = wire.swarm.dispatch(&task).await;
        assert_eq!(result.retry_count, 2);
        let [comment] = &wire.comments()[..] else {
            panic!("one comment");
        };
        assert!(comment.contains("**Kimi Code** after 3 attempt(s)"));
        assert!(comment.contains(&result.error.unwrap()));
    }
}

#[tokio::test]
async fn difference_03_a_label_behind_the_first_page_is_found() {
    for wire in Wire::both() {
        let label = wire.gitea.page_2_label(&wire.repo, KIMI).unwrap();
        assert!(wire.swarm.dispatch(&wire.task()).await.is_success());
        assert_eq!(wire.issue_labels(wire.number), [label]);
        let paged = wire
            .sequence()
            .contains(&"GET /labels?page=2&limit=30".to_owned());
        assert_eq!(paged, wire.gitea.version() == GiteaVersion::V1_26);
    }
}

#[tokio::test]
async fn difference_03_the_lowest_id_is_used() {
    for wire in Wire::both() {
        let label = wire.gitea.create_label(&wire.repo, KIMI, "#fff").unwrap();
        wire.gitea.duplicate_label(&wire.repo, KIMI).unwrap();
        assert!(wire.swarm.dispatch(&wire.task()).await.is_success());
        assert_eq!(wire.issue_labels(wire.number), [label]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn difference_03_50_at_once_create_one_label() {
    for wire in Wire::both() {
        let slow = Fault::delay(Duration::from_millis(50)).after_effect();
        wire.gitea.fault(slow.on("GET", "swarm/labels")).unwrap();
        let numbers: Vec<u64> = (0..50)
            .map(|_| wire.gitea.create_issue(&wire.repo, "x", "").unwrap())
            .collect();
        let dispatches: Vec<_> = numbers
            .iter()
            .map(|number| {
                let swarm = wire.swarm.clone();
                let task = Task::new("Fix it").issue(*number);
                tokio::spawn(async move { swarm.dispatch(&task).await })
            })
            .collect();
        for dispatch in dispatches {
            assert_eq!(dispatch.await.unwrap().label_applied.as_deref(), Some(KIMI));
        }
        let [label] = wire.labels(KIMI)[..] else {
            panic!("{} labels", wire.labels(KIMI).len());
        };
        assert!(
            numbers
                .iter()
                .all(|number| wire.issue_labels(*number) == [label])
        );
    }
}

#[test]
fn difference_03_runtimes_of_their_own_create_one_label() {
    for wire in Wire::both() {
        let slow = Fault::delay(Duration::from_millis(50)).after_effect();
        wire.gitea.fault(slow.on("GET", "swarm/labels")).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let swarm = Swarm::new(settings(&wire.gitea, &wire.repo));
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .unwrap();
                    assert!(runtime.block_on(swarm.dispatch(&wire.task())).is_success());
                });
            }
        });
        assert_eq!(wire.labels(KIMI).len(), 1);
    }
}

#[tokio::test]
async fn difference_03_a_200_without_the_label_is_a_failure() {
    for wire in Wire::both() {
        let answers: [(&str, Option<&str>); 5] = [
            ("[]", None),
            (r#"[{"id":999}]"#, None),
            ("{}", Some(KIMI)),
            ("no JSON", Some(KIMI)),
            ("", Some(KIMI)),
        ];
        for (answer, applied) in answers {
            wire.gitea.clear_faults();
            wire.gitea
                .fault(Fault::status(200).body(answer).path("*/issues/*/labels"))
                .unwrap();
            let result = wire.swarm.dispatch(&wire.task()).await;
            assert!(result.is_success());
            assert_eq!(result.label_applied.as_deref(), applied, "{answer}");
        }
    }
}

#[tokio::test]
async fn difference_04_an_unreadable_list_is_no_empty_one() {
    for wire in Wire::both() {
        for status in [204, 302, 401, 403, 404, 429, 500, 503] {
            wire.gitea.clear_faults();
            wire.gitea.clear_requests();
            wire.gitea
                .fault(Fault::status(status).on("GET", "swarm/labels"))
                .unwrap();
            let result = wire.swarm.dispatch(&wire.task()).await;
            assert_eq!(
                wire.sequence(),
                ["GET /labels", "POST /issues/1/comments"],
                "{status}"
            );
            let [("label", reason)] = &result.failed_steps[..] else {
                panic!("{result:?}");
            };
            assert!(reason.starts_with(&status.to_string()), "{reason}");
        }
    }
}

#[tokio::test]
async fn difference_05_no_redirect_is_followed() {
    for wire in Wire::both() {
        wire.gitea.rename_repo(&wire.repo, "new").unwrap();
        let renamed = wire.swarm.dispatch(&wire.task()).await;
        let text = "301 moved to timmy/new";
        assert_eq!(causes(&renamed), format!("label: {text}; comment: {text}"));

        wire.gitea.rename_user("timmy", "tim").unwrap();
        let renamed = wire.swarm.dispatch(&wire.task()).await;
        let text = "307 moved to tim/swarm";
        assert_eq!(causes(&renamed), format!("label: {text}; comment: {text}"));

        let other = Sandbox::builder().start().unwrap();
        for status in [301, 302, 303, 307, 308] {
            let location = format!("{}/api/v1/repos/o/r/labels", other.url());
            wire.gitea.clear_faults();
            wire.gitea
                .fault(Fault::redirect(status, &location))
                .unwrap();
            let text = format!("{status} moved to o/r at {}: check GITEA_URL", other.url());
            let elsewhere = wire.swarm.dispatch(&wire.task()).await;
            assert_eq!(
                causes(&elsewhere),
                format!("label: {text}; comment: {text}")
            );
        }
        assert!(other.requests().is_empty());
    }
}

#[tokio::test]
async fn difference_06_retry_after_is_kept() {
    for wire in Wire::both() {
        let busy = Fault::status(503).retry_after("1").times(2);
        wire.gitea.fault(busy).unwrap();
        let task = Task {
            max_retries: 1,
            ..wire.task()
        };
        let begun = Instant::now();
        let result = wire.swarm.dispatch(&task).await;
        assert_eq!((result.is_success(), result.retry_count), (true, 1));
        assert!(begun.elapsed() >= Duration::from_secs(1));
    }
}

#[tokio::test]
async fn difference_06_what_is_not_transient_is_not_waited_for() {
    for wire in Wire::both() {
        wire.gitea
            .fault(Fault::status(422).retry_after("30"))
            .unwrap();
        let task = Task {
            max_retries: 3,
            ..wire.task()
        };
        // Were it waited for, this would not end before the limit.
        let result = tokio::time::timeout(Duration::from_secs(20), wire.swarm.dispatch(&task));
        assert_eq!(result.await.unwrap().retry_count, 3);
    }
}

#[tokio::test]
async fn difference_07_the_causes_have_their_status() {
    for mut wire in Wire::both() {
        let missing = Task {
            issue_number: Some(7),
            ..wire.task()
        };
        assert_eq!(
            causes(&wire.swarm.dispatch(&missing).await),
            "label: 404 not found: issue #7; comment: 500 issue does not exist: issue #7"
        );
        wire.gitea
            .create_user("guest", "guest-token", &["read:issue"])
            .unwrap();
        wire.swarm.settings.gitea_token = "guest-token".to_owned();
        assert_eq!(
            causes(&wire.swarm.dispatch(&wire.task()).await),
            "label: 403 forbidden: required scope write:issue; \
             comment: 403 forbidden: required scope write:issue"
        );
        wire.swarm.settings.gitea_token = "0000".to_owned();
        let text = "401 unauthorized, check GITEA_TOKEN: invalid username, password or token";
        assert_eq!(
            causes(&wire.swarm.dispatch(&wire.task()).await),
            format!("label: {text}; comment: {text}")
        );
        wire.swarm.settings.gitea_token = wire.gitea.token().to_owned();
        wire.gitea.archive_repo(&wire.repo).unwrap();
        let archived = wire.swarm.dispatch(&wire.task()).await;
        assert_eq!(archived.status, DispatchStatus::Assigned);
        assert_eq!(
            archived.failed_steps,
            [("comment", "423 locked: timmy/swarm is archived".to_owned())]
        );
        wire.gitea.stop();
        let reason = format!(
            "cannot connect to {}: Connection refused (os error 111)",
            wire.host()
        );
        assert_eq!(
            causes(&wire.swarm.dispatch(&wire.task()).await),
            format!("label: {reason}; comment: {reason}")
        );
    }
}

#[tokio::test]
async fn difference_08_waiting() {
    for wire in Wire::both() {
        let wait = |interval, limit| wire.swarm.wait_for_completion(wire.number, interval, limit);
        let begun = Instant::now();
        assert_eq!(wait(0.2, 0.5).await, DispatchStatus::TimedOut);
        assert!(begun.elapsed() >= Duration::from_millis(500));
        // At 0, 0.2 and 0.4 s, fewer on a slow machine, and never after the last sleep.
        assert!((1..=3).contains(&wire.gitea.requests().len()));

        for status in [401, 403, 404, 410] {
            wire.gitea.clear_faults();
            wire.gitea.clear_requests();
            wire.gitea.fault(Fault::status(status)).unwrap();
            assert_eq!(wait(0.01, 60.0).await, DispatchStatus::Failed);
            assert_eq!(wire.gitea.requests().len(), 3);
        }
        wire.gitea.clear_faults();
        wire.gitea.close_issue(&wire.repo, wire.number).unwrap();
        wire.gitea.clear_requests();
        wire.gitea.fault(Fault::zeroed_issue().times(2)).unwrap();
        assert_eq!(wait(0.01, 60.0).await, DispatchStatus::Completed);
        assert_eq!(wire.gitea.requests().len(), 3);
    }
}

#[tokio::test]
async fn difference_09_no_secret_is_shown() {
    for mut wire in Wire::both() {
        let token = wire.gitea.token().to_owned();
        let said = format!(
            "{}token {token} of http://me:pass-word@host",
            "x".repeat(180)
        );
        wire.swarm.settings.gitea_url = format!("http://me:pass-word@{}", wire.host());
        assert!(!format!("{:?}", wire.swarm.settings).contains("pass-word"));
        assert!(!format!("{:?}", wire.swarm.settings).contains(&token));
        let bodies = [
            Fault::status(400).message(&said),
            Fault::status(401).message(&said),
            Fault::status(500).message(&said),
            Fault::status(400).body(said.clone()),
            Fault::replace(format!("\"{said}\"")),
            Fault::redirect(301, &format!("/api/v1/repos/o/{token}/x")),
            Fault::drop_connection(),
        ];
        for fault in bodies {
            wire.gitea.clear_faults();
            wire.gitea.fault(fault).unwrap();
            let result = wire.swarm.dispatch(&wire.task()).await;
            let shown = format!("{result:?}");
            assert!(!shown.contains(&token[..5]), "{shown}");
            assert!(!shown.contains("pass-word"), "{shown}");
        }
    }
}

#[tokio::test]
async fn difference_10_configuration_errors_are_failures_without_a_request() {
    for mut wire in Wire::both() {
        let right = wire.swarm.settings.clone();
        let wrong = [
            ("", "timmy/swarm", "GITEA_URL is"),
            ("localhost:3000", "timmy/swarm", "GITEA_URL is"),
            ("http://host?x", "timmy/swarm", "GITEA_URL is"),
            (right.gitea_url.as_str(), "swarm", "GITEA_REPO is"),
            (right.gitea_url.as_str(), "a/b/c", "GITEA_REPO is"),
        ];
        for (url, repo, error) in wrong {
            wire.swarm.settings.gitea_url = url.to_owned();
            wire.swarm.settings.gitea_repo = repo.to_owned();
            let result = wire.swarm.dispatch(&wire.task()).await;
            assert_eq!(result.status, DispatchStatus::Escalated);
            assert!(result.error.unwrap().starts_with(error));
            let waited = wire.swarm.wait_for_completion(1, 1.0, 60.0).await;
            assert_eq!(waited, DispatchStatus::Failed);
        }
        wire.swarm.settings = right;
        let stranger = Task {
            agent: Some(AgentName::from("nobody".to_owned())),
            ..wire.task()
        };
        let refused = wire.swarm.try_dispatch(&stranger).await;
        assert!(refused.unwrap_err().to_string().contains("nobody"));
        assert!(wire.gitea.requests().is_empty());
    }
}

/// Keeps the limit of each request and answers none.
#[derive(Clone, Default)]
struct Limits(Arc<Mutex<Vec<u64>>>);

impl Transport for Limits {
    async fn send(&self, request: Request) -> Result<Response, SendError> {
        self.0.lock().unwrap().push(request.timeout.as_secs());
        Err(SendError::Url("never sent".to_owned()))
    }
}

#[tokio::test]
async fn difference_13_the_limits() {
    let wire = Wire::new(GiteaVersion::V1_26);
    let limits = Limits::default();
    let swarm = Swarm::over(limits.clone(), wire.swarm.settings.clone());
    swarm.dispatch(&wire.task()).await;
    let research = Task {
        api_endpoint: Some("http://agent/".to_owned()),
        max_retries: 0,
        ..Task::new("Research it")
    };
    swarm.dispatch(&research).await;
    swarm.wait_for_completion(1, 0.01, 0.01).await;
    // The label list, the comment, the escalation, the agent, a question.
    assert_eq!(*limits.0.lock().unwrap(), [15, 15, 10, 30, 10]);
}

#[tokio::test]
async fn difference_13_a_limit_is_for_the_whole_exchange() {
    for wire in Wire::both() {
        let faults = [
            Fault::drip(Duration::from_millis(50)),
            Fault::hold(),
            Fault::delay(Duration::from_secs(60)),
        ];
        let transport = Native::new();
        for fault in faults {
            wire.gitea.clear_faults();
            wire.gitea.fault(fault).unwrap();
            for repeat in [Repeat::Safe, Repeat::Unsafe, Repeat::FreshOnly] {
                let request = Request {
                    method: Method::Get,
                    url: format!("{}/api/v1/repos/{}/issues/1", wire.gitea.url(), wire.repo),
                    authorization: None,
                    headers: Vec::new(),
                    body: None,
                    timeout: Duration::from_millis(200),
                    repeat,
                };
                let error = transport.send(request).await.unwrap_err();
                assert_eq!(
                    error.to_string(),
                    format!("no answer from {} within 0.2 s", wire.host())
                );
            }
        }
    }
}
