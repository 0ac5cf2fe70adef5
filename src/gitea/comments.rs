//! Comments on issues.

use super::issue_url;
use crate::dispatch::host::{Arg, Body, Failure, GiteaClient, Host, Level, Reply, Step, Value};

/// Posts a comment and yields its id.
pub(crate) async fn post_comment<H: Host, C: GiteaClient<H>>(
    host: &H,
    client: &C,
    base: &str,
    repo: &str,
    issue: &H::Value,
    body: &H::Value,
) -> Step<H::Value, H> {
    let number = issue.text();
    let url = issue_url(base, repo, &number, "/comments");
    let reply = match client.post(&url, Body::Comment { text: body }).await {
        Ok(reply) => reply,
        Err(Failure::Escaped(escaped)) => return Err(escaped),
        Err(Failure::Failed(cause)) => return failed(host, issue, cause),
    };
    if reply.created() {
        return match reply.id() {
            Ok(Some(id)) => Ok(Ok(host.cleaned(&id))),
            Ok(None) => Ok(Err(host.cause("the answer to the comment holds no id"))),
            Err(Failure::Escaped(escaped)) => Err(escaped),
            Err(Failure::Failed(cause)) => failed(host, issue, cause),
        };
    }
    let text = match host.excerpt(&reply, 200) {
        Ok(text) => text,
        Err(Failure::Escaped(escaped)) => return Err(escaped),
        Err(Failure::Failed(cause)) => return failed(host, issue, cause),
    };
    host.log(
        Level::Warning,
        "Comment on #%s returned %s: %s",
        &[
            Arg::Value(issue),
            Arg::Value(&reply.shown_status()),
            Arg::Value(&text),
        ],
    )?;
    Ok(Err(host.refusal(&reply, &format!("issue #{number}"))))
}

fn failed<H: Host>(
    host: &H,
    issue: &H::Value,
    cause: crate::dispatch::host::Cause<H::Value>,
) -> Step<H::Value, H> {
    host.log(
        Level::Warning,
        "Failed to post comment on #%s: %s",
        &[Arg::Value(issue), Arg::Said(&cause.shown)],
    )?;
    Ok(Err(cause))
}
