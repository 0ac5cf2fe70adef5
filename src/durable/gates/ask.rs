//! Gates that somebody else decides: an endpoint, a function of the program's own.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, Gates, Question, Said, Verdict};
use crate::durable::Server;
use crate::http::{Method, Repeat, Request, Transport, redact_userinfo};

/// How long an endpoint may take, and how long a function is waited for before it is pending.
const LIMIT: Duration = Duration::from_secs(10);
/// So much of what a gate goes by is kept, in bytes.
const KEPT: usize = 16 * 1024;

/// Asks an endpoint. It may be asked many times about the same.
pub(super) async fn endpoint<T: Transport>(server: &Server<T>, url: &str, case: Case<'_>) -> Said {
    let order = case.order;
    let question = json!({
        "dispatch": case.watched.id.to_string(),
        "fence": case.watched.fence,
        "agent": case.watched.agent,
        "title": order.title,
        "description": order.description,
        "acceptance_criteria": order.acceptance_criteria,
        "task_type": order.task_type,
        "repo": order.repo,
        "issue": order.issue,
    });
    let request = Request {
        method: Method::Post,
        url: url.to_owned(),
        authorization: None,
        headers: Vec::new(),
        body: Some(question.to_string().into_bytes()),
        timeout: LIMIT,
        repeat: Repeat::Unsafe,
    };
    let answer = match server.transport().send(request).await {
        Ok(answer) => answer,
        Err(error) => {
            let error = server.redact(&redact_userinfo(&error.to_string()));
            return pending(format!("the gate cannot be asked: {error}"));
        }
    };
    if answer.status != 200 {
        return pending(format!("the gate answered {}", answer.status));
    }
    let said: Value = answer.json().unwrap_or_default();
    let reason = said.get("reason").and_then(Value::as_str);
    let reason = reason.unwrap_or("the gate does not say why").to_owned();
    let verdict = match said.get("verdict").and_then(Value::as_str) {
        Some("pass") => Verdict::Passed,
        Some("fail") => Verdict::Failed(reason),
        Some("pending") => Verdict::Pending(reason),
        _ => return pending("the gate answered without a verdict".to_owned()),
    };
    (verdict, kept(said))
}

fn pending(reason: String) -> Said {
    (Verdict::Pending(reason), Value::Null)
}

fn kept(said: Value) -> Value {
    match said.to_string().len() {
        size if size > KEPT => json!({ "bytes": size }),
        _ => said,
    }
}

impl<T: Transport> Gates<T> {
    /// Asks a function of the program's own. One that takes its time goes on while others are asked,
    /// and is not begun a second time.
    pub(super) async fn ask_named(&self, name: &str, case: Case<'_>) -> Said {
        let Some(gate) = self.named.get(name) else {
            return pending(format!("no running process has the gate {name}"));
        };
        let key = (case.watched.id, case.watched.fence, name.to_owned());
        let running = || self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = running().remove(&key);
        let mut task = begun.unwrap_or_else(|| {
            tokio::spawn(gate(Question {
                id: case.watched.id,
                fence: case.watched.fence,
                agent: case.watched.agent.clone(),
                order: case.order.clone(),
                max_retries: case.watched.max_retries,
            }))
        });
        match tokio::time::timeout(LIMIT, &mut task).await {
            Ok(Ok((verdict, by))) => (verdict, kept(by)),
            Ok(Err(_)) => pending(format!("the gate {name} broke off")),
            Err(_) => {
                let mut running = running();
                // Of dispatches that ended meanwhile nobody asks any more.
                running.retain(|_, task| !task.is_finished());
                running.insert(key, task);
                pending(format!("the gate {name} is at work"))
            }
        }
    }
}
