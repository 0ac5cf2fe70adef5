//! Hands a task over to a Gitea stand-in, and shows what came of it.
//!
//! `cargo run --example dispatch --features sandbox`

use timmy_dispatcher::dispatch::{Settings, Swarm, Task};
use timmy_dispatcher::infer::explain_task_type;
use timmy_dispatcher::sandbox::Sandbox;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gitea = Sandbox::builder().start()?;
    let repo = gitea.create_repo("swarm")?;
    let issue = gitea.create_issue(&repo, "Design the LLM router", "")?;

    let explanation = explain_task_type("Design the LLM router", "");
    println!(
        "{} because of {:?}",
        explanation.task_type, explanation.matches[0].keyword
    );

    let swarm = Swarm::new(Settings {
        gitea_url: gitea.url().to_owned(),
        gitea_token: gitea.token().to_owned(),
        gitea_repo: repo,
        gitea_enabled: true,
    });
    let result = swarm
        .dispatch(&Task::new("Design the LLM router").issue(issue))
        .await;
    println!(
        "{} → {} (label {:?}, comment {:?})",
        result.agent, result.status, result.label_applied, result.comment_id
    );
    Ok(())
}
