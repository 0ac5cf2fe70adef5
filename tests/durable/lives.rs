//! Whole lives of dispatches, from the submission to the end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;
use timmy_dispatcher::dispatch::Task;
use timmy_dispatcher::durable::agents::signature;
use timmy_dispatcher::durable::{
    AgentOptions, Below, Busy, DispatcherError, Inference, Policy, Receive, Wishes,
};
use timmy_dispatcher::ledger::machine::Phase;
use timmy_dispatcher::sandbox::Fault;
use timmy_dispatcher::task::{AgentName, DispatchStatus, TaskType};

use crate::world::{VERSIONS, World, ended, eventually, handed_over, until};

fn wishes() -> Wishes {
    Wishes::default()
}

#[tokio::test]
async fn handed_over_worked_on_and_completed() {
    for version in VERSIONS {
        let world = World::new(version);
        let dispatcher = world.open().await;
        let task = world.task("Fix the typo");
        let issue = task.issue_number.unwrap();
        let dispatch = dispatcher.submit(&task, &wishes()).await.unwrap();
        let record = until(&dispatcher, dispatch.id(), Phase::HandedOver).await;
        assert_eq!(record.state.status(), DispatchStatus::Assigned);
        assert_eq!(world.labels(issue), ["kimi-ready"]);
        let comments = world.comments(issue);
        assert_eq!(comments.len(), 1);
        assert!(comments[0].starts_with("## Assigned to Kimi Code"));
        assert!(comments[0].contains(&format!("<!-- timmy-dispatch:{}:1:comment:", dispatch.id())));

        world.unlabel("kimi", issue, "kimi-ready");
        let record = until(&dispatcher, dispatch.id(), Phase::Working).await;
        assert_eq!(record.state.status(), DispatchStatus::InProgress);
        world.close("kimi", issue);
        let record = ended(&dispatcher, dispatch.id()).await;
        assert_eq!(record.state.phase, Phase::Completed);
        assert_eq!(
            (world.comments(issue).len(), world.labels(issue).len()),
            (1, 0)
        );
        dispatcher.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn out_of_time_it_goes_to_the_next_agent_and_then_to_a_person() {
    for version in VERSIONS {
        let world = World::new(version);
        let hasty = |login: &str| AgentOptions {
            gitea_user: Some(login.to_owned()),
            deadline: Some(Duration::from_millis(700)),
            ..AgentOptions::default()
        };
        let dispatcher = world
            .builder(World::policy())
            .agent(AgentName::KIMI_CODE, hasty("kimi"))
            .agent(AgentName::CLAUDE_CODE, hasty("claude"))
            .open()
            .await
            .unwrap();
        let task = world.task("Fix the typo");
        let issue = task.issue_number.unwrap();
        let route = Wishes {
            route: vec![AgentName::KIMI_CODE, AgentName::CLAUDE_CODE],
            ..wishes()
        };
        let id = dispatcher.submit(&task, &route).await.unwrap().id();
        eventually(&dispatcher, id, |record| {
            record.state.fence == 2 && record.state.phase == Phase::HandedOver
        })
        .await;
        assert_eq!(world.labels(issue), ["claude-ready"]);
        let record = ended(&dispatcher, id).await;
        assert_eq!(record.state.phase, Phase::TimedOut);
        assert_eq!(record.state.status(), DispatchStatus::TimedOut);
        let comments = world.comments(issue);
        let handed_over = comments
            .iter()
            .filter(|text| text.starts_with("## Assigned to"));
        assert_eq!(handed_over.count(), 2);
        dispatcher.close(Duration::from_secs(5)).await;
        assert_eq!(world.labels(issue), ["needs-human"]);
        let asked = world.comments(issue).pop().unwrap();
        assert!(asked.starts_with("## Dispatch Escalated"), "{asked}");
    }
}

#[tokio::test]
async fn called_off_it_is_taken_back() {
    for version in VERSIONS {
        let world = World::new(version);
        let dispatcher = world.open().await;
        let task = world.task("Fix the typo");
        let issue = task.issue_number.unwrap();
        let id = handed_over(&dispatcher, &task, &wishes()).await;
        dispatcher.cancel(id).await.unwrap();
        let record = ended(&dispatcher, id).await;
        assert_eq!(record.state.phase, Phase::Cancelled);
        assert_eq!(world.labels(issue), Vec::<String>::new());
        assert_eq!(world.comments(issue).len(), 2); // the hand-over, and that it is called off
        let again = dispatcher.cancel(id).await.unwrap_err();
        assert!(matches!(again, DispatcherError::NotNow { .. }), "{again}");

        dispatcher.retry(id).await.unwrap();
        until(&dispatcher, id, Phase::HandedOver).await;
        world.close("kimi", issue);
        assert_eq!(ended(&dispatcher, id).await.state.phase, Phase::Completed);
        dispatcher.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn a_person_decides_and_another_agent_is_adopted() {
    for version in VERSIONS {
        let world = World::new(version);
        let dispatcher = world.open().await;

        // Somebody takes the label off: held, and never put on again.
        let task = world.task("Fix the typo");
        let issue = task.issue_number.unwrap();
        let id = handed_over(&dispatcher, &task, &wishes()).await;
        world.unlabel("eve", issue, "kimi-ready");
        let record = until(&dispatcher, id, Phase::Held).await;
        assert!(record.reason.contains("eve"), "{}", record.reason);
        assert_eq!(world.labels(issue), Vec::<String>::new());
        dispatcher.cancel(id).await.unwrap();
        assert_eq!(ended(&dispatcher, id).await.state.phase, Phase::Cancelled);

        // Somebody gives it to another agent.
        let task = world.task("Fix another typo");
        let issue = task.issue_number.unwrap();
        let id = handed_over(&dispatcher, &task, &wishes()).await;
        let label = world
            .gitea
            .create_label(&world.repo, "claude-ready", "#fff")
            .unwrap();
        let path = format!("/repos/{}/issues/{issue}/labels", world.repo);
        let body = json!({ "labels": [label] });
        world.gitea.act("eve", "POST", &path, &body).unwrap();
        let record = eventually(&dispatcher, id, |record| {
            record.state.fence == 2 && record.state.phase == Phase::HandedOver
        })
        .await;
        let agent = record.state.attempt.unwrap().agent;
        assert_eq!(agent, "claude_code");
        assert_eq!(world.labels(issue), ["claude-ready"]);

        // Somebody closes it: accepted, and never reopened.
        world.close("eve", issue);
        let record = ended(&dispatcher, id).await;
        assert_eq!(record.state.phase, Phase::Completed);
        assert!(world.is_closed(issue));
        dispatcher.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn an_issue_or_a_repo_that_is_gone() {
    for version in VERSIONS {
        let world = World::new(version);
        let policy = World::policy();
        let mut quick = policy.clone();
        quick.timing.single_read = Duration::from_millis(100);
        let dispatcher = world.builder(quick).open().await.unwrap();
        let task = world.task("Fix the typo");
        let id = handed_over(&dispatcher, &task, &wishes()).await;
        let issue = task.issue_number.unwrap();
        world.gitea.delete_issue(&world.repo, issue).unwrap();
        assert_eq!(ended(&dispatcher, id).await.state.phase, Phase::IssueGone);

        let task = world.task("Fix another typo");
        let id = handed_over(&dispatcher, &task, &wishes()).await;
        let name = world.gitea.rename_repo(&world.repo, "bees").unwrap();
        let record = until(&dispatcher, id, Phase::Held).await;
        assert!(record.reason.contains("301"), "{}", record.reason);
        assert_eq!(dispatcher.relocate(&world.repo, &name).await.unwrap(), 1);
        until(&dispatcher, id, Phase::HandedOver).await;
        let path = format!("/repos/{name}/issues/{}", task.issue_number.unwrap());
        let closed = json!({ "state": "closed" });
        world.gitea.act("kimi", "PATCH", &path, &closed).unwrap();
        assert_eq!(ended(&dispatcher, id).await.state.phase, Phase::Completed);
        dispatcher.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn it_waits_for_a_slot_and_says_so() {
    let world = World::new(VERSIONS[0]);
    let dispatcher = world.open().await;
    let (first, second) = (world.task("one"), world.task("two"));
    let first = dispatcher.submit(&first, &wishes()).await.unwrap().id();
    until(&dispatcher, first, Phase::HandedOver).await;
    let id = dispatcher.submit(&second, &wishes()).await.unwrap().id();
    let record = dispatcher.get(id).await.unwrap();
    assert_eq!(record.reason, "no free slot of kimi_code: 1 of 1 are taken");
    dispatcher.cancel(first).await.unwrap();
    until(&dispatcher, id, Phase::HandedOver).await;

    let wanted = Wishes {
        route: vec![AgentName::KIMI_CODE, AgentName::CLAUDE_CODE],
        when_busy: Some(Busy::Fallback),
        ..wishes()
    };
    let mut task = world.task("three");
    task.task_type = Some(TaskType::Refactoring);
    let id = dispatcher.submit(&task, &wanted).await.unwrap().id();
    let record = until(&dispatcher, id, Phase::HandedOver).await;
    assert_eq!(record.state.attempt.unwrap().agent, "claude_code");
    dispatcher.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_task_whose_type_is_not_sure_waits_for_a_person() {
    let world = World::new(VERSIONS[0]);
    let policy = Policy {
        inference: Inference::Ranked {
            model: None,
            min_confidence: 9_999,
            below: Below::Ask,
        },
        ..World::policy()
    };
    let dispatcher = world.builder(policy).open().await.unwrap();
    let mut task = world.task("Look at it");
    task.agent = None;
    let id = dispatcher.submit(&task, &wishes()).await.unwrap().id();
    let record = dispatcher.get(id).await.unwrap();
    assert_eq!(record.state.status(), DispatchStatus::Pending);
    assert!(
        record.reason.ends_with("give the task_type"),
        "{}",
        record.reason
    );
    assert_eq!(
        world.comments(task.issue_number.unwrap()),
        Vec::<String>::new()
    );
    dispatcher.retype(id, TaskType::Refactoring).await.unwrap();
    let record = until(&dispatcher, id, Phase::HandedOver).await;
    assert_eq!(record.state.attempt.unwrap().agent, "claude_code");
    dispatcher.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn another_type_is_another_route() {
    let world = World::new(VERSIONS[0]);
    let dispatcher = world.open().await;
    dispatcher.pause(None, true).await.unwrap();
    let mut task = world.task("Look at it");
    task.agent = None;
    let id = dispatcher.submit(&task, &wishes()).await.unwrap().id();
    let record = dispatcher.get(id).await.unwrap();
    assert_eq!(record.state.plan.agents, ["kimi_code"]);
    assert_eq!(record.reason, "everything is paused");
    let record = dispatcher.retype(id, TaskType::Refactoring).await.unwrap();
    assert_eq!(record.state.plan.agents, ["claude_code"]);
    dispatcher.pause(None, false).await.unwrap();
    until(&dispatcher, id, Phase::HandedOver).await;
    let late = dispatcher
        .retype(id, TaskType::Refactoring)
        .await
        .unwrap_err();
    assert!(matches!(late, DispatcherError::NotNow { .. }), "{late}");
    let story = dispatcher.story(id).await.unwrap();
    let how = |kind: &str| {
        let entry = story.entries.iter().find(|entry| entry.kind == kind);
        entry.unwrap().body["evidence"].clone()
    };
    assert_eq!(how("submitted")["by"], "exact");
    assert_eq!(how("replanned")["instead_of"], "routine_coding");
    dispatcher.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn submitted_twice_it_is_one_and_a_visitor_waits_for_it_too() {
    let world = World::new(VERSIONS[0]);
    let visitor_place = world.open().await;
    let visitor = world.builder(Policy::default()).visit().await.unwrap();
    let task = world.task("Fix the typo");
    let first = visitor.submit(&task, &wishes()).await.unwrap();
    let again = visitor_place.submit(&task, &wishes()).await.unwrap();
    assert_eq!(first.id(), again.id());
    assert!(first.is_new() && !again.is_new());
    until(&visitor, first.id(), Phase::HandedOver).await;
    world.close("kimi", task.issue_number.unwrap());
    assert_eq!(
        ended(&visitor, first.id()).await.state.phase,
        Phase::Completed
    );
    let blank = visitor
        .submit(&Task::new(" "), &wishes())
        .await
        .unwrap_err();
    assert_eq!(blank.to_string(), "`title` is required.");
    visitor_place.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_function_of_this_process_does_the_work() {
    let world = World::new(VERSIONS[0]);
    let dispatcher = world
        .builder(World::policy())
        .local_agent(AgentName::TIMMY, |task| async move {
            match task.order.title.as_str() {
                "Triage the bugs" => Ok(json!({ "sorted": 7 })),
                _ => Err("no idea".into()),
            }
        })
        .open()
        .await
        .unwrap();
    let task = Task::new("Triage the bugs");
    let id = dispatcher.submit(&task, &wishes()).await.unwrap().id();
    let record = ended(&dispatcher, id).await;
    assert_eq!(record.state.phase, Phase::Completed);
    let story = dispatcher.story(id).await.unwrap();
    let finished = story.entries.iter().find(|entry| entry.kind == "finished");
    assert_eq!(finished.unwrap().body["evidence"], json!({ "sorted": 7 }));

    let task = Task::new("Triage the rest");
    let id = dispatcher.submit(&task, &wishes()).await.unwrap().id();
    let record = ended(&dispatcher, id).await;
    assert_eq!(record.state.phase, Phase::Escalated);
    assert_eq!(record.state.reason, "no idea");

    // Elsewhere nobody has the function.
    let other = World::new(VERSIONS[0]);
    let without = other.open().await;
    let id = without.submit(&task, &wishes()).await.unwrap().id();
    let record = without.get(id).await.unwrap();
    assert_eq!(record.reason, "submitted; no running process handles timmy");
    for dispatcher in [dispatcher, without] {
        dispatcher.close(Duration::from_secs(5)).await;
    }
}

/// Posts to the dispatcher's receiver, and yields the status.
fn post(address: SocketAddr, path: &str, signature: &str, body: &str) -> u16 {
    let mut socket = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\
         X-Timmy-Signature: {signature}\r\nConnection: close\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_over_http_calls_back() {
    let world = World::new(VERSIONS[0]);
    let receive = Receive {
        address: "127.0.0.1:0".parse().unwrap(),
        secret: "a shared secret".to_owned(),
        public_url: None,
    };
    let policy = Policy {
        receive: Some(receive),
        ..World::policy()
    };
    let dispatcher = world.builder(policy).open().await.unwrap();
    let address = dispatcher.received_at().unwrap();
    let mut task = Task::new("Research the competitors");
    task.api_endpoint = Some(format!("{}/agent", world.gitea.url()));
    let id = handed_over(&dispatcher, &task, &wishes()).await;
    let requests = world.gitea.requests();
    let sent = requests.iter().find(|request| request.path == "/agent");
    let sent = sent.unwrap().json().unwrap();
    assert_eq!(sent["callback"], format!("http://{address}/callbacks/{id}"));

    let path = format!("/callbacks/{id}");
    let say = |fence: u64, status: &str, secret: &str| {
        let body = json!({ "fence": fence, "status": status }).to_string();
        let signature = signature::sign(secret, id, fence, body.as_bytes());
        post(address, &path, &signature, &body)
    };
    assert_eq!(say(1, "completed", "another secret"), 401);
    assert_eq!(say(2, "completed", "a shared secret"), 409);
    assert_eq!(say(1, "working", "a shared secret"), 200);
    assert_eq!(say(1, "working", "a shared secret"), 200); // no news, and no lie
    let phase = dispatcher.get(id).await.unwrap().state.phase;
    assert_eq!(phase, Phase::Working);
    assert_eq!(say(1, "completed", "a shared secret"), 200);
    let record = ended(&dispatcher, id).await;
    assert_eq!(record.state.phase, Phase::Completed);
    assert_eq!(say(1, "completed", "a shared secret"), 409);
    dispatcher.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_calls_back_has_the_task_whatever_became_of_the_answer() {
    for lost in [false, true] {
        let world = World::new(VERSIONS[0]);
        let receive = Receive {
            address: "127.0.0.1:0".parse().unwrap(),
            secret: "a shared secret".to_owned(),
            public_url: None,
        };
        let mut policy = World::policy();
        policy.receive = Some(receive);
        policy.timing.quarantine = Duration::from_secs(3600);
        policy.timing.request = Duration::from_secs(9);
        let fault = match lost {
            false => Fault::hold().after_effect(),
            true => Fault::drop_connection().after_effect(),
        };
        world.gitea.fault(fault.path("/agent").times(1)).unwrap();
        let dispatcher = world.builder(policy).open().await.unwrap();
        let address = dispatcher.received_at().unwrap();
        let mut task = Task::new("Research the competitors");
        task.api_endpoint = Some(format!("{}/agent", world.gitea.url()));
        let id = dispatcher.submit(&task, &wishes()).await.unwrap().id();
        let body = json!({ "fence": 1, "status": "completed" }).to_string();
        let signature = signature::sign("a shared secret", id, 1, body.as_bytes());
        let say = || post(address, &format!("/callbacks/{id}"), &signature, &body);
        let arrived = || {
            world
                .gitea
                .requests()
                .iter()
                .any(|one| one.path == "/agent")
        };
        while !arrived() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if !lost {
            // It will be known in a moment whether it took the task.
            assert_eq!(say(), 503);
            world.gitea.release();
        }
        let told = loop {
            match say() {
                503 => tokio::time::sleep(Duration::from_millis(5)).await,
                status => break status,
            }
        };
        assert_eq!(told, 200);
        let record = ended(&dispatcher, id).await;
        assert_eq!(record.state.phase, Phase::Completed);
        dispatcher.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn a_webhook_makes_it_look_sooner() {
    let world = World::new(VERSIONS[0]);
    let mut policy = World::policy();
    policy.timing.poll = Duration::from_secs(3600);
    policy.receive = Some(Receive {
        address: "127.0.0.1:0".parse().unwrap(),
        secret: "hooked".to_owned(),
        public_url: None,
    });
    let dispatcher = world.builder(policy).open().await.unwrap();
    let address = dispatcher.received_at().unwrap();
    let url = format!("http://{address}/webhooks/gitea");
    let events = ["issues", "issue_comment", "issue_label"];
    let hook = world
        .gitea
        .create_hook(&world.repo, &url, "hooked", &events);
    hook.unwrap();
    let task = world.task("Fix the typo");
    let id = handed_over(&dispatcher, &task, &wishes()).await;
    world.close("kimi", task.issue_number.unwrap());
    let record = ended(&dispatcher, id).await;
    assert_eq!(record.state.phase, Phase::Completed);
    dispatcher.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_timeout_that_no_lease_would_allow_is_refused() {
    let world = World::new(VERSIONS[0]);
    let slow = AgentOptions {
        timeout: Some(Duration::from_secs(3600)),
        ..AgentOptions::default()
    };
    let builder = world.builder(World::policy());
    let refused = builder.agent(AgentName::AGENT_API, slow).open().await;
    let text = refused.unwrap_err().to_string();
    assert!(
        text.starts_with("the timeout of agent_api is longer than "),
        "{text}"
    );
}

#[tokio::test]
async fn a_ledger_from_a_copy_hands_nothing_over_twice() {
    for version in VERSIONS {
        let world = World::new(version);
        let dispatcher = world.open().await;
        let (first, second, third) = (world.task("one"), world.task("two"), world.task("three"));
        let live = dispatcher.submit(&first, &wishes()).await.unwrap().id();
        until(&dispatcher, live, Phase::HandedOver).await;
        let later = dispatcher.submit(&second, &wishes()).await.unwrap().id();
        let claude = Wishes {
            route: vec![AgentName::CLAUDE_CODE],
            ..wishes()
        };
        let agent = || Some("claude_code".to_owned());
        dispatcher.pause(agent(), true).await.unwrap();
        let queued = dispatcher.submit(&third, &claude).await.unwrap().id();
        dispatcher.close(Duration::from_secs(5)).await;
        drop(dispatcher);
        let copies = ["db", "db-wal"].map(|ending| {
            let file = world.ledger().with_extension(ending);
            (file.clone(), std::fs::read(file).ok())
        });

        // What the copy does not know: the second task is handed over too.
        let dispatcher = world.open().await;
        dispatcher.cancel(live).await.unwrap();
        until(&dispatcher, later, Phase::HandedOver).await;
        dispatcher.close(Duration::from_secs(5)).await;
        drop(dispatcher);
        let _ = std::fs::remove_file(world.ledger().with_extension("db-shm"));
        for (file, content) in copies {
            match content {
                Some(content) => std::fs::write(file, content).unwrap(),
                None => drop(std::fs::remove_file(file)),
            }
        }

        let visitor = world.builder(World::policy()).visit().await.unwrap();
        let restored = visitor.restored().await.unwrap();
        let held = |id| {
            let found = restored.iter().find(|one| one.id == id).unwrap();
            let why = found.held.as_deref();
            why.is_some_and(|why| why.starts_with("it was handed over"))
        };
        assert_eq!(
            [held(live), held(later), held(queued)],
            [false, true, false]
        );
        let dispatcher = world.open().await;
        dispatcher.pause(agent(), false).await.unwrap();
        let record = until(&dispatcher, queued, Phase::HandedOver).await;
        assert_eq!(record.state.fence, 1001);
        let assigned = world.comments(second.issue_number.unwrap());
        let assigned = assigned
            .iter()
            .filter(|text| text.starts_with("## Assigned"));
        assert_eq!(assigned.count(), 1);
        dispatcher.close(Duration::from_secs(5)).await;
    }
}
