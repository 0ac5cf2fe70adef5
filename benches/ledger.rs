//! The ledger on both databases, and bare SQL of the same tables beside it: `make bench`.
//!
//! `bench-ledger [DISPATCHES] [OPEN] [sqlite|postgresql]`: a recorded dispatch is a submission and a claim with its
//! attempt, slot, event and two effects, durable; a whole life goes on until it is completed. Every
//! database is on the disk under the temporary folder, with `fsync`.

#[path = "ledger/bare.rs"]
mod bare;
#[path = "ledger/queue.rs"]
mod queue;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use timmy_dispatcher::ledger::machine::{Channel, Closer, Effect, Event, Plan};
use timmy_dispatcher::ledger::{Agent, Answer, Errand, Ledger, Options, Submission};
use tokio::task::JoinSet;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// So many are in one transaction of the bare SQL, and so many callers wait at once.
const AT_ONCE: usize = 200;

fn submission() -> Submission {
    let task = json!({
        "title": "Fix the button", "description": "It jumps when users click twice.",
        "repo": "timmy/swarm", "issue_number": 1072, "task_type": "debugging",
    });
    Submission::new(task, Plan::new(["kimi"]))
}

async fn open(at: &str, slots: usize) -> Result<Ledger, Failed> {
    let kimi = Agent {
        max_concurrent: slots.try_into()?,
        ..Agent::new("kimi", Channel::Label)
    };
    Ok(Ledger::open(at, vec![kimi], Options::default()).await?)
}

/// Does something so many times, as many at once as there are callers.
async fn each<F>(items: Vec<F>) -> Result<(), Failed>
where
    F: Future<Output = Result<(), Failed>> + Send + 'static,
{
    let mut callers = JoinSet::new();
    for item in items {
        if callers.len() == AT_ONCE
            && let Some(done) = callers.join_next().await
        {
            done??;
        }
        callers.spawn(item);
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    Ok(())
}

async fn submit(ledger: &Ledger, count: usize) -> Result<(), Failed> {
    let submit = |_| {
        let ledger = ledger.clone();
        async move {
            ledger.submit(submission()).await?;
            Ok(())
        }
    };
    each((0..count).map(submit).collect()).await
}

async fn claim(ledger: &Ledger, count: usize) -> Result<(), Failed> {
    let mut left = count;
    while left > 0 {
        let claims = ledger.claim(vec!["kimi".to_owned()], AT_ONCE).await?;
        left = left.saturating_sub(claims.len());
        if claims.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

fn rate(count: usize, began: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let count = count as f64;
    count / began.elapsed().as_secs_f64()
}

/// Submitted and claimed a second, both at the same time.
async fn recorded(ledger: &Ledger, count: usize) -> Result<f64, Failed> {
    let began = Instant::now();
    tokio::try_join!(submit(ledger, count), claim(ledger, count))?;
    Ok(rate(count, began))
}

/// What follows an effect: its answer, and after a label what the agent does.
async fn follow(ledger: Ledger, errand: Errand) -> Result<Effect, Failed> {
    ledger.answered(&errand, Answer::Taken(Some(1))).await?;
    if errand.effect == Effect::Label {
        let (id, fence) = (errand.dispatch, errand.fence);
        ledger.record(id, Event::SignOfLife { fence }).await?;
        let by = Closer::Agent;
        ledger.record(id, Event::Finished { fence, by }).await?;
    }
    Ok(errand.effect)
}

/// Whole lives a second: comment, label, sign of life, end, label off; all at the same time.
async fn lives(ledger: &Ledger, count: usize) -> Result<f64, Failed> {
    let began = Instant::now();
    let effects = async {
        let mut left = count;
        let mut callers = JoinSet::new();
        while left > 0 {
            for errand in ledger.send(AT_ONCE).await? {
                callers.spawn(follow(ledger.clone(), errand));
            }
            while let Some(done) = match callers.len() {
                0..AT_ONCE => callers.try_join_next(),
                _ => callers.join_next().await,
            } {
                left -= usize::from(done?? == Effect::Unlabel);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    };
    tokio::try_join!(submit(ledger, count), claim(ledger, count), effects)?;
    let left = ledger.list(false, 1).await?;
    assert!(left.is_empty(), "not over: {left:?}");
    Ok(rate(count, began))
}

/// The 50th and the 99th of a hundred acknowledgements, at that many submissions a second, while
/// claims go on.
async fn latency(ledger: &Ledger, rate: f64, count: usize) -> Result<(Duration, Duration), Failed> {
    let began = tokio::time::Instant::now();
    let mut callers = JoinSet::new();
    let claims = claim(ledger, count);
    let submissions = async {
        for number in 0..count {
            let due = began + Duration::from_secs_f64(f64::from(u32::try_from(number)?) / rate);
            tokio::time::sleep_until(due).await;
            let ledger = ledger.clone();
            callers.spawn(async move {
                ledger.submit(submission()).await?;
                // From when it was due, so that a backlog counts.
                Ok::<_, Failed>(due.elapsed())
            });
        }
        Ok::<_, Failed>(())
    };
    tokio::try_join!(claims, submissions)?;
    let mut took = Vec::with_capacity(count);
    for each in callers.join_all().await {
        took.push(each?);
    }
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied();
    Ok((at(50).unwrap_or_default(), at(99).unwrap_or_default()))
}

/// From the proof that a process is dead to its first dispatch with another, and to its last.
async fn reclaimed(at: &str, open_rows: usize) -> Result<(Duration, Duration), Failed> {
    let dead = open(at, open_rows).await?;
    tokio::try_join!(submit(&dead, open_rows), claim(&dead, open_rows))?;
    let heir = open(at, open_rows).await?;
    assert_eq!(heir.take_over().await?, 0);
    dead.leave().await?;
    let began = Instant::now();
    let mut first = None;
    while heir.take_over().await? > 0 {
        first.get_or_insert_with(|| began.elapsed());
    }
    assert_eq!(heir.watched().await?.len(), open_rows);
    Ok((first.unwrap_or_default(), began.elapsed()))
}

/// A PostgreSQL of its own, while this is kept.
struct Server {
    script: Child,
    url: String,
    /// Or the script could not say the rest.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start() -> Result<Self, Failed> {
        let mut script = Command::new("scripts/postgres")
            .arg("fsync=on")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut url = String::new();
        let mut output = BufReader::new(script.stdout.take().ok_or("no output")?);
        output.read_line(&mut url)?;
        Ok(Self {
            script,
            url: url.trim_end().to_owned(),
            _output: output,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

async fn measure(
    name: &str,
    place: impl Fn(&str) -> String,
    count: usize,
    open_rows: usize,
) -> Result<(), Failed> {
    println!("{name}");
    let line = |what: &str, ours: f64, bare: f64| {
        let of = ours / bare;
        println!("  {what:<34} {ours:>8.0}/s   bare SQL {bare:>8.0}/s   {of:.2} of it");
    };
    // In turns, so that a machine that is busy for a while is so for both.
    let (mut ours, mut bare): (Vec<f64>, Vec<f64>) = Default::default();
    for turn in 0..3 {
        let at = place(&format!("bare{turn}"));
        drop(open(&at, count).await?);
        bare.push(bare::recorded(&at, count).await?);
        let ledger = open(&place(&format!("recorded{turn}")), count).await?;
        ours.push(recorded(&ledger, count).await?);
    }
    let recorded = median(ours);
    line("recorded dispatches", recorded, median(bare));
    let (mut ours, mut bare, mut four): (Vec<f64>, Vec<f64>, Vec<f64>) = Default::default();
    for turn in 0..3 {
        let at = place(&format!("barelives{turn}"));
        drop(open(&at, AT_ONCE * 10).await?);
        bare.push(bare::lives(&at, count).await?);
        let at = place(&format!("four{turn}"));
        drop(open(&at, AT_ONCE * 10).await?);
        four.push(bare::four(&at, count).await?);
        let ledger = open(&place(&format!("lives{turn}")), AT_ONCE * 10).await?;
        ours.push(lives(&ledger, count).await?);
    }
    let ours = median(ours);
    line("whole lives", ours, median(bare));
    line("  of four transactions", ours, median(four));
    let ledger = open(&place("latency"), count).await?;
    let (half, most) = latency(&ledger, recorded / 2.0, count.min(10_000)).await?;
    println!("  submit at half that rate           p50 {half:.1?}   p99 {most:.1?}");
    let (first, last) = reclaimed(&place("reclaim"), open_rows).await?;
    println!(
        "  taken over from, {open_rows} open rows   first after {first:.1?}, all after {last:.1?}"
    );
    Ok(())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse());
    let (count, open_rows): (usize, usize) = (number(10_000)?, number(100_000)?);
    let folder = std::env::temp_dir().join(format!("bench-ledger-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let file = |name: &str| folder.join(name).display().to_string();
    let only = std::env::args().nth(3);
    let wants = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let done = match wants("sqlite") {
        true => measure("SQLite", file, count, open_rows).await,
        false => Ok(()),
    };
    std::fs::remove_dir_all(&folder)?;
    done?;
    if !wants("postgresql") {
        return Ok(());
    }
    let server = Server::start()?;
    let schema = |name: &str| format!("{}?schema={name}", server.url);
    measure("PostgreSQL", schema, count, open_rows).await?;
    let queue = queue::rate(&server.url, count).await?;
    println!(
        "  a queue of one table, one SKIP LOCKED job at a time over 16 connections: {queue:.0}/s"
    );
    Ok(())
}
