//! What the ledger knows, as JSON for Python.

use serde_json::{Value, json};

use crate::durable::{Planned, Terms};
use crate::ledger::{Entry, Errand, Record, Story};
use crate::route::Registry;

pub(super) fn record(record: &Record) -> Value {
    let state = &record.state;
    let attempt = state.attempt.as_ref();
    let agent = attempt.map(|attempt| attempt.agent.as_str());
    // Why it ended is kept with its state; why it waits is found out when it is read.
    let reason = match state.phase.is_terminal() && record.reason.is_empty() {
        true => &state.reason,
        false => &record.reason,
    };
    json!({
        "id": record.id.to_string(),
        "status": state.status().as_str(),
        "phase": state.phase.as_str(),
        "reason": reason,
        "agent": agent.or_else(|| state.agent()),
        "fence": state.fence,
        "task": record.task,
        "max_retries": state.plan.max_retries,
        "route": state.plan.agents,
        "priority": record.priority,
        "idempotency_key": record.idempotency_key,
        "reassignments": state.reassignments,
        "created_at": record.created_at,
        "due_at": record.due_at,
        "finished_at": record.finished_at,
    })
}

pub(super) fn effect(errand: &Errand) -> Value {
    let reason = match errand.row.why.as_str() {
        "" => &errand.reason,
        why => why,
    };
    json!({
        "id": errand.id.to_string(),
        "dispatch": errand.dispatch.to_string(),
        "fence": errand.fence,
        "effect": errand.effect.as_str(),
        "state": errand.row.phase.as_str(),
        "sends": errand.row.sends,
        "not_before": (errand.row.not_before != 0).then_some(errand.row.not_before),
        "agent": errand.agent,
        "repo": errand.task.get("repo"),
        "issue_number": errand.task.get("issue"),
        "remote_id": errand.remote_id,
        "reason": reason,
    })
}

pub(super) fn event(entry: &Entry) -> Value {
    json!({
        "seq": entry.seq,
        "dispatch": entry.dispatch.to_string(),
        "fence": entry.fence,
        "kind": entry.kind,
        "at": entry.at,
        "body": entry.body,
    })
}

pub(super) fn story(story: &Story) -> Value {
    let effects: Vec<Value> = story.effects.iter().map(effect).collect();
    let events: Vec<Value> = story.entries.iter().map(event).collect();
    json!({
        "record": record(&story.record),
        "attempts": story.attempts,
        "effects": effects,
        "events": events,
    })
}

/// A plan, with how each of its agents is reached.
pub(super) fn plan(planned: &Planned, registry: &Registry) -> Value {
    let agents = planned.plan.agents.iter().filter_map(|name| {
        let spec = registry.get(&name.as_str().into()).ok()?;
        let terms = Terms::of_spec(spec);
        Some(json!({
            "name": name,
            "display_name": terms.display_name,
            "interface": spec.interface.as_str(),
            "label": terms.label,
            "endpoint": planned.order.endpoint.clone().or(terms.endpoint),
        }))
    });
    let agents: Vec<Value> = agents.collect();
    json!({
        "task": planned.order,
        "max_retries": planned.plan.max_retries,
        "agents": agents,
        "fallback": planned.plan.fallback,
        "callback": planned.order.callback,
        "decided_by": planned.decided.get("by"),
        "hold": planned.hold,
        "max_reassignments": planned.plan.max_reassignments,
    })
}
