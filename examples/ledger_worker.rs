//! A worker that carries tasks through a ledger to their end, against a "server" that is a file: an
//! effect is a line in it. The tests of the ledger kill it.
//!
//! `ledger_worker LEDGER SERVER TASKS [SEED] [POINT]`: it submits the tasks, works until none is
//! left, and ends with 0; with 3 where others took over from it. `POINT` (`before claim`, `after
//! answered`, `before request`, …) is where it dies, the first time that it comes by; at `asleep` it
//! stops itself after a request until it is told to go on. With `TIMMY_WITHOUT_FENCE` set it does what
//! it must not.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde_json::json;
use timmy_dispatcher::ledger::machine::{Channel, Closer, Event, Phase, Plan};
use timmy_dispatcher::ledger::{
    Agent, Answer, Errand, Ledger, LedgerError, Moment, Options, Submission,
};

const AGENT: &str = "kimi";
/// No effect takes longer.
const EFFECT: Duration = Duration::from_millis(200);

fn die_at(point: Option<&str>, here: &str) {
    if point == Some(here) {
        std::process::abort();
    }
}

struct Server {
    path: String,
    file: File,
    random: u64,
    point: Option<String>,
}

impl Server {
    fn random(&mut self, below: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn request(&mut self, errand: &Errand) -> std::io::Result<Answer> {
        die_at(self.point.as_deref(), "before request");
        let fate = self.random(10);
        if fate == 0 {
            return Ok(Answer::NotTaken(Duration::from_millis(1), String::new()));
        }
        if fate == 1 {
            return Ok(Answer::Lost(String::new())); // It never arrived.
        }
        let (dispatch, fence) = (errand.dispatch, errand.fence);
        let line = format!("{dispatch} {fence} {} {}\n", errand.effect, errand.nonce);
        self.file.write_all(line.as_bytes())?;
        die_at(self.point.as_deref(), "after request");
        if self.point.take_if(|point| point == "asleep").is_some() {
            let id = std::process::id().to_string();
            Command::new("kill").args(["-STOP", &id]).status()?;
        }
        Ok(match fate {
            2 => Answer::Lost(String::new()), // It did.
            _ => Answer::Taken(None),
        })
    }

    fn look(&self, errand: &Errand) -> std::io::Result<Answer> {
        let nonce = errand.nonce.to_string();
        let there = std::fs::read_to_string(&self.path)?.matches(&nonce).count();
        Ok(Answer::Found(
            u32::try_from(there).unwrap_or(u32::MAX),
            None,
        ))
    }
}

async fn work(
    ledger: &Ledger,
    server: &mut Server,
    tasks: u32,
) -> Result<(), Box<dyn std::error::Error>> {
    for number in 0..tasks {
        let mut submission = Submission::new(json!({ "number": number }), Plan::new([AGENT]));
        submission.idempotency_key = Some(format!("task-{number}"));
        ledger.submit(submission).await?;
    }
    loop {
        ledger.take_over().await?;
        ledger.claim(vec![AGENT.to_owned()], 8).await?;
        for errand in ledger.send(16).await? {
            // Whoever was asleep since may not begin anything: others look after it by now.
            while ledger.lease_left() < EFFECT {
                ledger.heartbeat().await?;
            }
            let answer = server.request(&errand)?;
            ledger.answered(&errand, answer).await?;
        }
        for errand in ledger.doubtful(16).await? {
            let answer = server.look(&errand)?;
            ledger.answered(&errand, answer).await?;
        }
        let open = ledger.list(false, 1000).await?;
        if open.is_empty() {
            return Ok(());
        }
        for dispatch in open {
            let fence = dispatch.state.fence;
            let event = match dispatch.state.phase {
                Phase::HandedOver => Event::SignOfLife { fence },
                Phase::Working => Event::Finished {
                    fence,
                    by: Closer::Agent,
                },
                _ => continue,
            };
            ledger.record(dispatch.id, event).await?;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [place, path, tasks, rest @ ..] = arguments.as_slice() else {
        return Err("ledger_worker LEDGER SERVER TASKS [SEED] [POINT]".into());
    };
    let point = rest.get(1).cloned();
    let at = point.clone();
    let mut options = Options::default()
        .lease(Duration::from_millis(600))
        .quarantine(Duration::from_millis(40))
        .observed(move |moment, names| {
            let when = match moment {
                Moment::BeforeCommit => "before",
                Moment::AfterCommit => "after",
            };
            for name in names {
                die_at(at.as_deref(), &format!("{when} {name}"));
            }
        });
    if std::env::var_os("TIMMY_WITHOUT_FENCE").is_some() {
        options = options.without_fence();
    }
    let agent = Agent {
        max_concurrent: 4,
        ..Agent::new(AGENT, Channel::Label)
    };
    let ledger = Ledger::open(place, vec![agent], options).await?;
    let mut server = Server {
        path: path.clone(),
        file: OpenOptions::new().create(true).append(true).open(path)?,
        random: rest.first().map_or(Ok(1), |seed| seed.parse())?,
        point,
    };
    match work(&ledger, &mut server, tasks.parse()?).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref() {
            Some(LedgerError::LeaseLost) => Ok(ExitCode::from(3)),
            _ => Err(error),
        },
    }
}
