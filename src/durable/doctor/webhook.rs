//! Whether the server tells us of changes, and whether it may.

use std::net::IpAddr;

use super::super::settings::Policy;
use super::Finding;
use crate::gitea::{Hook, Repository};
use crate::http::{Transport, redact_url};

/// Where the receiver takes them.
const PATH: &str = "/webhooks/gitea";
/// What it wants to be told of.
const EVENTS: [&str; 2] = ["issues", "issue_comment"];

pub(super) async fn examine<T: Transport>(
    repository: &Repository<T>,
    policy: &Policy,
    findings: &mut Vec<Finding>,
) {
    let check = "webhook";
    let Some(receive) = &policy.receive else {
        let every = policy.timing.poll.as_secs_f64();
        let found = format!("none is received; issues are looked at every {every} s");
        findings.push(Finding::ok(check, found));
        return;
    };
    let public = receive.public_url.as_deref();
    let ours = match public {
        Some(url) => format!("{}{PATH}", url.trim_end_matches('/')),
        None => format!("http://{}{PATH}", receive.address),
    };
    let shown = redact_url(&ours);
    let hooks = match repository.hooks().await {
        Ok(hooks) => hooks,
        Err(error) => {
            let found = format!("the repository's cannot be looked at ({error})");
            let advice = format!(
                "see in the repository's settings that one leads to {shown} with the events \
                 {} as JSON; or let the account administer the repository",
                EVENTS.join(" and ")
            );
            findings.push(Finding::warning(check, found, advice));
            return;
        }
    };
    let make = format!(
        "make one in the repository's settings: {shown}, POST, application/json, the secret of \
         the receiver, the events {}",
        EVENTS.join(" and ")
    );
    let leads_here = |hook: &&Hook| match public {
        Some(_) => hook.config.url.trim_end_matches('/') == ours,
        // By which name the server knows this machine is not known.
        None => hook.config.url.trim_end_matches('/').ends_with(PATH),
    };
    let Some(hook) = hooks.iter().find(leads_here) else {
        let found = format!("none of {} leads to {shown}", hooks.len());
        findings.push(Finding::warning(check, found, make));
        return;
    };
    findings.push(shape(hook));
    findings.extend(target(&hook.config.url).await);
}

fn shape(hook: &Hook) -> Finding {
    let check = "webhook";
    let name = format!("number {} to {}", hook.id, redact_url(&hook.config.url));
    let has = |wanted: &&str| hook.events.iter().any(|event| event == wanted);
    let missing: Vec<&str> = EVENTS.into_iter().filter(|event| !has(event)).collect();
    if !hook.active {
        let advice = "switch it on in the repository's settings";
        return Finding::warning(check, format!("{name} is switched off"), advice);
    }
    if hook.config.content_type != "json" {
        let found = format!("{name} sends {:?}", hook.config.content_type);
        return Finding::warning(check, found, "have it send application/json");
    }
    if !missing.is_empty() {
        let missing = missing.join(" and ");
        let found = format!("{name} does not tell of {missing}");
        return Finding::warning(check, found, "add the events in the repository's settings");
    }
    Finding::ok(check, name)
}

/// What Gitea sends nothing to unless it is told that it may.
async fn target(url: &str) -> Option<Finding> {
    let parsed = reqwest::Url::parse(url).ok()?;
    let host = parsed.host_str()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = parsed.port_or_known_default().unwrap_or(80);
    let addresses: Vec<IpAddr> = match bare.parse() {
        Ok(address) => vec![address],
        Err(_) => tokio::net::lookup_host((bare, port))
            .await
            .map(|found| found.map(|found| found.ip()).collect())
            .unwrap_or_default(),
    };
    let word = addresses.into_iter().find_map(closed)?;
    Some(Finding::warning(
        "webhook",
        format!("{host} is a {word} address, to which Gitea sends nothing by itself"),
        format!(
            "see that ALLOWED_HOST_LIST in the section [webhook] of Gitea's app.ini holds {word} \
             or {bare} (beside external), and restart Gitea"
        ),
    ))
}

/// The word for it in `ALLOWED_HOST_LIST`, where the default does not hold it.
fn closed(address: IpAddr) -> Option<&'static str> {
    let private = match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    match address.is_loopback() {
        true => Some("loopback"),
        false => private.then_some("private"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_need_a_word() {
        for (address, word) in [
            ("127.0.0.1", Some("loopback")),
            ("::1", Some("loopback")),
            ("10.1.2.3", Some("private")),
            ("192.168.0.7", Some("private")),
            ("fd00::1", Some("private")),
            ("9.9.9.9", None),
            ("2620:fe::fe", None),
        ] {
            assert_eq!(closed(address.parse().unwrap()), word, "{address}");
        }
    }
}
