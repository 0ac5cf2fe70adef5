//! What `benches/dispatch.py` sets beside Python: the core without Python, and bare reqwest.
//!
//! `dispatch bare|core URL TOKEN REPO ALONE TOGETHER CONCURRENCY` hands over so many tasks one
//! after another, then so many with that many at once, and prints one line of JSON: seconds of
//! each alone (median), CPU seconds of each alone, hand-overs a second together, CPU seconds of
//! each together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;
use timmy_dispatcher::dispatch::{Settings, Swarm, Task};

const TITLE: &str = "Fix the button";
const DESCRIPTION: &str = "It jumps when users click twice.";
const LABEL: &str = "kimi-ready";

type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Hands one task over on an issue.
#[derive(Clone)]
enum Way {
    Bare(Bare),
    Core(Swarm),
}

#[derive(Clone)]
struct Bare {
    client: reqwest::Client,
    repo: String,
    authorization: String,
}

impl Bare {
    async fn post(&self, path: String, body: String) -> reqwest::Result<reqwest::Response> {
        self.client
            .post(format!("{}{path}", self.repo))
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/json")
            .body(body)
            .send()
            .await
    }

    /// The same three requests, with answers read and nothing looked at but the label's id.
    async fn hand_over(&self, issue: usize) -> Done {
        let list = self.client.get(format!("{}/labels", self.repo));
        let list = list.header("Authorization", &self.authorization);
        let labels = list.send().await?.bytes().await?;
        let labels: Vec<serde_json::Value> = serde_json::from_slice(&labels)?;
        let label = labels.iter().find(|label| label["name"] == LABEL);
        let id = label.ok_or("no label")?["id"].clone();
        let added = json!({ "labels": [id] }).to_string();
        let answer = self.post(format!("/issues/{issue}/labels"), added);
        answer.await?.error_for_status()?.bytes().await?;
        let body = format!("## Assigned to Kimi Code\n\n{TITLE}\n\n{DESCRIPTION}");
        let comment = json!({ "body": body }).to_string();
        let answer = self.post(format!("/issues/{issue}/comments"), comment);
        answer.await?.error_for_status()?.bytes().await?;
        Ok(())
    }
}

impl Way {
    async fn hand_over(&self, issue: usize) -> Done {
        match self {
            Self::Bare(bare) => bare.hand_over(issue).await,
            Self::Core(swarm) => {
                let task = Task::new(TITLE)
                    .description(DESCRIPTION)
                    .issue(issue as u64);
                let result = swarm.dispatch(&task).await;
                match (result.comment_id, result.label_applied) {
                    (Some(_), Some(_)) => Ok(()),
                    _ => Err(result.error.unwrap_or_default().into()),
                }
            }
        }
    }
}

/// Seconds that this process has been on a CPU, all threads together.
fn cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let nanoseconds = tasks.flatten().map(|task| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let first = stat.split(' ').next().unwrap_or_default();
        first.parse::<f64>().unwrap_or_default()
    });
    nanoseconds.sum::<f64>() / 1e9
}

async fn measure(way: Way, counts: [usize; 4]) -> Done {
    let [issues, alone, together, at_once] = counts;
    for number in 0..20 {
        way.hand_over(1 + number % issues).await?;
    }
    let mut times = Vec::with_capacity(alone);
    let begin = cpu();
    for number in 0..alone {
        let begin = Instant::now();
        way.hand_over(1 + number % issues).await?;
        times.push(begin.elapsed().as_secs_f64());
    }
    let cpu_alone = (cpu() - begin) / alone as f64;
    times.sort_by(f64::total_cmp);

    let (next, begin, clock) = (Arc::new(AtomicUsize::new(0)), cpu(), Instant::now());
    let workers = (0..at_once).map(|_| {
        let (way, next) = (way.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= together {
                    return Done::Ok(());
                }
                way.hand_over(1 + number % issues).await?;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await??;
    }
    let figures = json!({
        "alone": times[alone / 2],
        "cpu_alone": cpu_alone,
        "a_second": together as f64 / clock.elapsed().as_secs_f64(),
        "cpu": (cpu() - begin) / together as f64,
    });
    println!("{figures}");
    Ok(())
}

fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [way, url, token, repo, counts @ ..] = arguments.as_slice() else {
        return Err("`make bench` runs this beside Python".into());
    };
    let counts: Vec<usize> = counts
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    let counts = <[usize; 4]>::try_from(counts).map_err(|_| "four counts are needed")?;
    let way = if way == "bare" {
        // A client that no https request is made with wants a provider all the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Way::Bare(Bare {
            client: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .tcp_nodelay(true)
                .build()?,
            repo: format!("{url}/api/v1/repos/{repo}"),
            authorization: format!("token {token}"),
        })
    } else {
        Way::Core(Swarm::new(Settings {
            gitea_url: url.clone(),
            gitea_token: token.clone(),
            gitea_repo: repo.clone(),
            gitea_enabled: true,
        }))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(way, counts))
}
