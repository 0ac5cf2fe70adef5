//! What each channel puts on the wire, byte for byte.

use timmy_dispatcher::dispatch::Task;
use timmy_dispatcher::task::{AgentName, DispatchStatus, TaskType};

use crate::Wire;

const STRANGE: &str = "Grüße, 世界 🚀\0\u{1f}\u{7f} \"quoted\" \\ </script>\u{2028}\r\n\ttail";
/// The same inside a JSON string, as Python's `json.dumps(…, ensure_ascii=False)` writes it.
const STRANGE_JSON: &str =
    "Grüße, 世界 🚀\\u0000\\u001f\u{7f} \\\"quoted\\\" \\\\ </script>\u{2028}\\r\\n\\ttail";

#[tokio::test]
async fn a_task_is_labelled_then_commented() {
    for wire in Wire::both() {
        let task = Task::new("Design it")
            .description(STRANGE)
            .criterion("läuft")
            .criterion("2")
            .issue(wire.number);
        let result = wire.swarm.dispatch(&task).await;
        assert_eq!(result.status, DispatchStatus::Assigned, "{result:?}");
        assert_eq!(result.label_applied.as_deref(), Some("claude-ready"));
        assert!(result.failed_steps.is_empty());
        let comments = wire.gitea.comments(&wire.repo, wire.number).unwrap();
        assert_eq!(comments[0]["id"].as_i64(), result.comment_id);
        let [label] = wire.labels("claude-ready")[..] else {
            panic!("one label");
        };
        assert_eq!(wire.issue_labels(wire.number), [label]);

        let root = format!("/api/v1/repos/{}", wire.repo);
        let comment = format!(
            r###"{{"body":"## Assigned to Claude Code\n\n**Task type:** `architecture`\n\n**Description:**\n{STRANGE_JSON}\n\n**Acceptance criteria:**\n- läuft\n- 2\n\n---\n*Dispatched by Timmy agent dispatcher.*"}}"###
        );
        let add = format!(r#"{{"labels":[{label}]}}"#);
        let expected = [
            ("GET", format!("{root}/labels"), ""),
            (
                "POST",
                format!("{root}/labels"),
                r##"{"name":"claude-ready","color":"#0075ca"}"##,
            ),
            ("POST", format!("{root}/issues/1/labels"), add.as_str()),
            (
                "POST",
                format!("{root}/issues/1/comments"),
                comment.as_str(),
            ),
        ];
        let seen = wire.gitea.requests();
        assert_eq!(seen.len(), expected.len());
        for (one, (method, path, body)) in seen.iter().zip(&expected) {
            assert_eq!(
                (one.method.as_str(), &one.path, one.body.as_slice()),
                (*method, path, body.as_bytes())
            );
            let token = format!("token {}", wire.gitea.token());
            assert_eq!(one.header("authorization"), Some(token.as_str()));
            assert_eq!(one.header("accept"), Some("*/*"));
            let ours = concat!("timmy-dispatcher/", env!("CARGO_PKG_VERSION"));
            assert_eq!(one.header("user-agent"), Some(ours));
            let posted = *method == "POST";
            let json = posted.then_some("application/json");
            assert_eq!(one.header("content-type"), json);
            let length = posted.then(|| body.len().to_string());
            assert_eq!(one.header("content-length"), length.as_deref());
            assert_eq!(one.headers.len(), if posted { 6 } else { 4 });
        }
    }
}

#[tokio::test]
async fn an_api_agent_gets_the_task() {
    for mut wire in Wire::both() {
        let task = Task {
            acceptance_criteria: vec!["läuft".to_owned()],
            api_endpoint: Some(format!("{}/agent", wire.gitea.url())),
            issue_number: Some(7),
            ..Task::new("Research it").description(STRANGE)
        };
        let result = wire.swarm.dispatch(&task).await;
        let answer = b"{\"status\":\"accepted\",\"id\":1}\n";
        assert!(result.is_success(), "{result:?}");
        let json: serde_json::Value =
            serde_json::from_slice(&result.response.unwrap()).expect("JSON");
        assert_eq!(
            json,
            serde_json::from_slice::<serde_json::Value>(answer).unwrap()
        );
        let seen = wire.gitea.requests();
        let expected = format!(
            r#"{{"title":"Research it","description":"{STRANGE_JSON}","acceptance_criteria":["läuft"],"issue_number":7,"agent":"agent_api","task_type":"research"}}"#
        );
        assert_eq!(seen[0].path, "/agent");
        assert_eq!(String::from_utf8_lossy(&seen[0].body), expected);
        assert_eq!(seen[0].header("authorization"), None);

        let own = format!("http://me:pass%20word@{}/agent/own", wire.host());
        let mut spec = wire
            .swarm
            .registry
            .get(&AgentName::AGENT_API)
            .unwrap()
            .clone();
        spec.api_endpoint = Some(own);
        wire.swarm.registry.insert(spec);
        assert!(
            wire.swarm
                .dispatch(&Task::new("Research it"))
                .await
                .is_success()
        );
        let seen = wire.gitea.requests();
        assert_eq!(seen[1].path, "/agent/own");
        assert_eq!(
            seen[1].header("authorization"),
            Some("Basic bWU6cGFzcyB3b3Jk")
        );
        assert!(
            String::from_utf8_lossy(&seen[1].body)
                .contains(r#""acceptance_criteria":[],"issue_number":null"#)
        );
    }
}

#[tokio::test]
async fn what_stays_here_sends_nothing() {
    for wire in Wire::both() {
        for title in ["Triage the bugs", "Design it"] {
            let result = wire.swarm.dispatch(&Task::new(title)).await;
            assert!(result.is_success() && result.local);
            assert_eq!(result.agent, AgentName::TIMMY);
        }
        let blank = wire.swarm.dispatch(&Task::new(" \u{1f}\u{3000}")).await;
        assert_eq!(blank.error.as_deref(), Some("`title` is required."));
        assert_eq!(blank.task_type, TaskType::RoutineCoding);
        assert!(wire.gitea.requests().is_empty());
    }
}

#[tokio::test]
async fn addresses_with_a_slash_a_path_or_a_user() {
    for mut wire in Wire::both() {
        let (url, host) = (wire.gitea.url().to_owned(), wire.host());
        wire.swarm.settings.gitea_url = format!(" {url}// ");
        assert!(wire.swarm.dispatch(&wire.task()).await.is_success());
        let token = wire.gitea.token().to_owned();
        wire.swarm.settings.gitea_url = format!("http://timmy:{token}@{host}");
        assert!(wire.swarm.dispatch(&wire.task()).await.is_success());
        let last = wire.gitea.requests().pop().unwrap();
        assert!(last.header("authorization").unwrap().starts_with("Basic "));
        assert_eq!(last.header("host"), Some(host.as_str()));
        wire.gitea.clear_requests();
        wire.swarm.settings.gitea_url = format!("{url}/sub/");
        assert!(!wire.swarm.dispatch(&wire.task()).await.is_success());
        assert_eq!(
            wire.gitea.requests()[0].path,
            format!("/sub/api/v1/repos/{}/labels", wire.repo)
        );
    }
}

#[tokio::test]
async fn a_very_long_description_arrives() {
    for wire in Wire::both() {
        let long = "ü".repeat(1_000_000);
        let task = Task {
            description: long.clone(),
            ..wire.task()
        };
        assert!(wire.swarm.dispatch(&task).await.is_success());
        assert!(wire.comments()[0].contains(&long));
    }
}
