//! What the comments say.

use crate::channel::comment::{Piece, assignment, join};
use crate::durable::order::{Order, Terms};
use crate::ledger::machine::Effect;
use crate::ledger::{AttemptRecord, Errand, Story, without_nul};

use Piece::{Given, Words};

/// So much of a reason is shown.
const REASON: usize = 300;
/// So many attempts are shown, the last ones.
const ATTEMPTS: usize = 20;

/// The comment of an errand, without its mark. The history is that of an escalation.
pub(super) fn comment(
    errand: &Errand,
    order: &Order,
    terms: &Terms,
    story: Option<&Story>,
) -> String {
    let text = match errand.effect {
        Effect::Withdrawal => withdrawal(name(errand, terms), &errand.reason),
        Effect::EscalationComment => escalation(story, &errand.reason),
        _ => {
            let criteria = &order.acceptance_criteria;
            let listed = (!criteria.is_empty()).then(|| criteria.iter().map(String::as_str));
            let task_type = order.kind().as_str();
            let pieces = assignment(name(errand, terms), task_type, &order.description, listed);
            join(pieces)
        }
    };
    // A Gitea may keep its comments in PostgreSQL.
    without_nul(&text)
}

fn name<'a>(errand: &'a Errand, terms: &'a Terms) -> &'a str {
    if terms.display_name.is_empty() {
        &errand.agent
    } else {
        &terms.display_name
    }
}

fn withdrawal(name: &str, reason: &str) -> String {
    join(vec![
        Words("## Withdrawn from "),
        Given(name),
        Words("\n\n**Reason:** "),
        Given(&quoted(reason)),
        Words(
            "\n\nPlease stop working on it; what comes now does not count. A comment with a line \
             `/stopped` says that you have.\n\n---\n",
        ),
        Words("*Timmy agent dispatcher.*"),
    ])
}

fn escalation(story: Option<&Story>, reason: &str) -> String {
    let attempts = story.map_or(&[][..], |story| &story.attempts);
    let count = attempts.len().to_string();
    let reason = quoted(reason);
    let mut history = String::new();
    for attempt in attempts
        .iter()
        .skip(attempts.len().saturating_sub(ATTEMPTS))
    {
        history.push_str(&line(attempt));
    }
    join(vec![
        Words("## Dispatch Escalated\n\nNobody could finish this in "),
        Given(count.as_str()),
        Words(" attempt(s).\n\n**Error:** "),
        Given(reason.as_str()),
        Words("\n\n"),
        Given(history.as_str()),
        Words("\nManual intervention required.\n\n---\n*Timmy agent dispatcher.*"),
    ])
}

fn line(attempt: &AttemptRecord) -> String {
    let took = match attempt.ended_at {
        Some(ended) => format!(
            "after {}",
            duration(ended.saturating_sub(attempt.started_at))
        ),
        None => "not ended".to_owned(),
    };
    let reason = attempt.reason.as_deref().unwrap_or("no reason");
    let (fence, agent) = (attempt.fence, quoted(&attempt.agent));
    format!("- Attempt {fence}, {agent}, {took}: {}\n", quoted(reason))
}

/// What others wrote, so that it notifies nobody, links nothing and ends where it ends.
fn quoted(text: &str) -> String {
    let clean = |c: char| if c.is_control() || c == '`' { ' ' } else { c };
    let mut shown: String = text.chars().map(clean).take(REASON).collect();
    if text.chars().nth(REASON).is_some() {
        shown.push('…');
    }
    let shown = shown.trim();
    if shown.is_empty() {
        "–".to_owned()
    } else {
        format!("`{shown}`")
    }
}

fn duration(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_where_it_is() {
        assert_eq!(quoted("a`b\n@all #1"), "`a b @all #1`");
        assert_eq!(quoted("\n"), "–");
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), REASON + 3);
    }

    #[test]
    fn durations_for_people() {
        let shown = [-5, 999, 61_000, 7_260_000].map(duration);
        assert_eq!(shown, ["0 s", "0 s", "1 min 1 s", "2 h 1 min"]);
    }
}
