//! The POST that hands a task to an agent, and the place where it says how it goes.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::said::{Said, bounded, kept};
use super::signature;
use crate::dispatch::check_http_url;
use crate::dispatch::retry::parse_retry_after;
use crate::durable::breaker::{Cooling, Health};
use crate::durable::effects::{Effects, Outcome};
use crate::durable::order::{Order, Terms};
use crate::http::{Method, Repeat, Request, Response, Secrets, SendError, Transport, redact_url};
use crate::ledger::machine::Event;
use crate::ledger::{Answer, Errand};

/// So much of an error's text is shown.
const EXCERPT: usize = 200;
/// No status URL is longer.
const LONGEST_URL: usize = 2048;
/// The kind of note that keeps what an agent answered.
pub(super) const ACCEPTED: &str = "accepted";

/// An endpoint, with what must not be read of it.
pub(crate) struct Destination {
    pub(crate) url: String,
    /// Scheme, host and port.
    pub(crate) origin: String,
    secrets: Secrets,
}

impl Destination {
    /// # Errors
    /// Where it is no http or https URL, in words.
    pub(crate) fn new(what: &str, url: &str) -> Result<Self, String> {
        check_http_url(what, url).map_err(|error| error.to_string())?;
        let parsed = reqwest::Url::parse(url).map_err(|error| format!("{what}: {error}"))?;
        let mut secrets = Secrets::default();
        secrets.add_url(url);
        Ok(Self {
            url: url.to_owned(),
            origin: parsed.origin().ascii_serialization(),
            secrets,
        })
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        self.secrets.redact(text)
    }

    fn shown(&self) -> String {
        redact_url(&self.url)
    }
}

/// What became of a POST, and how the endpoint took it. An answer that is neither a success nor a
/// refusal leaves open whether it arrived; a repeat under the same key may learn that it did.
fn answer_of(
    sent: &Result<Response, SendError>,
    destination: &Destination,
    again: bool,
) -> (Answer, Health) {
    let lost = |error: &SendError| Answer::Lost(destination.redact(&error.to_string()));
    let response = match sent {
        Ok(response) => response,
        Err(SendError::Url(text)) => {
            return (Answer::Refused(destination.redact(text)), Health::Unasked);
        }
        Err(error @ SendError::Connect { .. }) => {
            let why = destination.redact(&error.to_string());
            return (Answer::NotTaken(Duration::ZERO, why), Health::Ill);
        }
        // It answered, at too great a length.
        Err(error @ SendError::TooLarge { .. }) => return (lost(error), Health::Well),
        Err(error) => return (lost(error), Health::Ill),
    };
    let asked = response.header("retry-after").and_then(parse_retry_after);
    let answered = || format!("{} answered {}", destination.shown(), response.status);
    match response.status {
        200..300 => (Answer::Taken(None), Health::Well),
        // The first request of that key is being worked on.
        409 if again => (Answer::Taken(None), Health::Well),
        425 | 429 => {
            let later = Answer::NotTaken(Duration::ZERO, answered());
            (later, asked.map_or(Health::Ill, Health::Limited))
        }
        408 | 500.. => {
            let health = asked.filter(|_| response.status == 503);
            let health = health.map_or(Health::Ill, Health::Limited);
            (Answer::Lost(answered()), health)
        }
        status => {
            let said: String = response.text().trim().chars().take(EXCERPT).collect();
            let advice = match status {
                300..=399 => "it is somewhere else: correct the address",
                401 | 403 => {
                    "put user and password into the address, as in https://user:password@host/"
                }
                404 | 405 | 410 => "there is nothing that takes tasks: correct the address",
                413 => "the task is too long for it",
                _ => "see what it says, and retry",
            };
            let text = format!(
                "{} answered {status}: {said}; {advice}",
                destination.shown()
            );
            (Answer::Refused(destination.redact(&text)), Health::Well)
        }
    }
}

impl<T: Transport> Effects<T> {
    /// Hands the task to the agent's endpoint.
    pub(in crate::durable) async fn post(
        &self,
        errand: &Errand,
        order: &Order,
        terms: &Terms,
    ) -> Outcome {
        let endpoint = order.endpoint.as_deref().or(terms.endpoint.as_deref());
        let Some(endpoint) = endpoint else {
            let agent = &errand.agent;
            return Outcome::refused(format!("{agent} has no API endpoint: configure one"));
        };
        let destination = match Destination::new("the API endpoint", endpoint) {
            Ok(destination) => destination,
            Err(reason) => return Outcome::refused(reason),
        };
        let body = self.task_for(errand, order).to_string();
        let key = format!("{}:{}", errand.dispatch, errand.fence);
        let limit = terms.limit(self.settings.limit);
        let sent = self.send(&destination, errand, &key, body, limit).await;
        let (answer, then) = match sent {
            Err(Cooling { wait, why }) => return Outcome::later(wait, why),
            Ok((answer, response)) => {
                let then = match (&answer, response) {
                    (Answer::Taken(_), Some(response)) => {
                        self.heard(errand, terms, &destination, &response).await
                    }
                    _ => Ok(Vec::new()),
                };
                (answer, then)
            }
        };
        match then {
            Ok(then) => Outcome::Answer { answer, then },
            // What it said is not kept: then it counts as not heard.
            Err(error) => Outcome::answer(Answer::Lost(error.to_string())),
        }
    }

    /// Sends a body under a key through the breaker. An error says that nothing was sent.
    pub(in crate::durable) async fn send(
        &self,
        destination: &Destination,
        errand: &Errand,
        key: &str,
        body: String,
        limit: Duration,
    ) -> Result<(Answer, Option<Response>), Cooling> {
        let permit = self.breakers.admit(&destination.origin)?;
        let mut headers = vec![("idempotency-key", key.to_owned())];
        if let Some(receiver) = &self.settings.receiver
            && !receiver.secret.is_empty()
        {
            let secret = &receiver.secret;
            let signed = signature::sign(secret, errand.dispatch, errand.fence, body.as_bytes());
            headers.push((signature::HEADER, signed));
        }
        let request = Request {
            method: Method::Post,
            url: destination.url.clone(),
            authorization: None,
            headers,
            body: Some(body.into_bytes()),
            timeout: limit,
            // A connection that was idle may be closing, and nobody would know whether it arrived.
            repeat: Repeat::FreshOnly,
        };
        let sent = self.server.transport().send(request).await;
        let (mut answer, health) = answer_of(&sent, destination, errand.row.sends > 1);
        let mut said = "";
        if let Answer::NotTaken(_, why) | Answer::Lost(why) | Answer::Refused(why) = &mut answer {
            *why = self.server.redact(why);
            said = why;
        }
        let cooling = permit.report(health, said);
        if let Answer::NotTaken(..) = answer {
            answer = Answer::NotTaken(cooling.wait, cooling.why);
        }
        Ok((answer, sent.ok()))
    }

    fn task_for(&self, errand: &Errand, order: &Order) -> Value {
        let mut task = json!({
            "title": order.title,
            "description": order.description,
            "acceptance_criteria": order.acceptance_criteria,
            "issue_number": order.issue,
            "agent": errand.agent,
            "task_type": order.kind().as_str(),
            "dispatch_id": errand.dispatch.to_string(),
            "fence": errand.fence,
        });
        if let (Some(receiver), Some(task)) = (&self.settings.receiver, task.as_object_mut()) {
            let url = receiver.url.trim_end_matches('/');
            let url = format!("{url}/callbacks/{}", errand.dispatch);
            task.insert("callback".to_owned(), url.into());
        }
        task
    }

    /// What an agent's answer tells. Where it named a place to ask, that is kept before the answer
    /// counts.
    async fn heard(
        &self,
        errand: &Errand,
        terms: &Terms,
        destination: &Destination,
        response: &Response,
    ) -> Result<Vec<(Event, Value)>, crate::ledger::LedgerError> {
        let body = response.json().unwrap_or(Value::Null);
        if let Some(url) = body.get("status_url").and_then(Value::as_str) {
            let mut said = Map::new();
            match status_url(destination, &terms.status_hosts, url) {
                // What is kept is kept for years, and shown: without the endpoint's password.
                Ok(url) => said.insert("status_url".to_owned(), url.into()),
                Err(reason) => said.insert("status_url_refused".to_owned(), reason.into()),
            };
            let (id, fence) = (errand.dispatch, errand.fence);
            self.ledger.note(id, fence, ACCEPTED, said.into()).await?;
        }
        let said = match (response.status, Said::read(&body)) {
            (200, said @ (Said::Completed | Said::Failed { .. })) => said,
            _ => return Ok(Vec::new()),
        };
        let said = match said {
            Said::Failed { transient, reason } => Said::Failed {
                transient,
                reason: self.server.redact(&destination.redact(&reason)),
            },
            said => said,
        };
        let event = said.event(errand.fence);
        Ok(event
            .into_iter()
            .map(|event| (event, kept(&body)))
            .collect())
    }
}

/// The place to ask, joined to the endpoint: on the same host, or on one that is configured. A user
/// and password in it are not taken.
fn status_url(destination: &Destination, hosts: &[String], url: &str) -> Result<String, String> {
    if url.len() > LONGEST_URL {
        return Err(format!("longer than {LONGEST_URL} bytes"));
    }
    let unusable = |_| format!("no URL: {}", bounded(&destination.redact(url)));
    let endpoint = reqwest::Url::parse(&destination.url).map_err(unusable)?;
    let mut joined = endpoint.join(url).map_err(unusable)?;
    let _ = joined.set_username("");
    let _ = joined.set_password(None);
    joined.set_fragment(None);
    if !matches!(joined.scheme(), "http" | "https") {
        return Err(format!(
            "the scheme {} cannot be asked",
            bounded(joined.scheme())
        ));
    }
    let host = joined.host_str().unwrap_or_default();
    let allowed = hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
    if joined.origin() != endpoint.origin() && !allowed {
        return Err(format!(
            "{} is another host than the endpoint's: name it in status_hosts to allow it",
            bounded(&joined.origin().ascii_serialization())
        ));
    }
    Ok(joined.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_url_stays_on_the_host() {
        let endpoint = Destination::new("x", "http://me:secret@agent:8080/tasks").unwrap();
        let read = |url: &str| status_url(&endpoint, &["other.example".to_owned()], url);
        assert_eq!(read("/jobs/7").unwrap(), "http://agent:8080/jobs/7");
        assert_eq!(read("7?a=b#c").unwrap(), "http://agent:8080/7?a=b");
        assert_eq!(
            read("http://eve:x@agent:8080/7").unwrap(),
            "http://agent:8080/7"
        );
        assert_eq!(
            read("https://other.example/7").unwrap(),
            "https://other.example/7"
        );
        for wrong in [
            "http://evil.example/7",
            "https://agent:8080/7",
            "http://agent:9/7",
            "//evil.example/7",
            "http://agent:8080@evil.example/",
            "http:\\\\evil.example/7",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http://[::1",
            &"x".repeat(5000),
        ] {
            let refused = read(wrong).unwrap_err();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
