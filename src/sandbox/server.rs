//! HTTP over the state: takes connections, records requests, applies faults, answers.

use std::convert::Infallible;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};

use super::answer::Answer;
use super::ask::Ask;
use super::deliveries::{self, Post};
use super::faults::{Effect, Fault, Faults, Kind};
use super::record::{Log, RecordedRequest};
use super::routes;
use super::state::Gitea;
use super::wire::{Dropped, Ending, Payload, Tap, Wire};

/// Everything that the sandbox's owner and its server share.
#[derive(Debug)]
pub(super) struct Shared {
    world: Mutex<World>,
    /// Told of every request that arrives, webhook that is done with and effect that came late.
    pub(super) changed: Condvar,
    /// Told of webhooks to be sent.
    posted: Notify,
    /// Counts the releases of what is held.
    pub(super) releases: watch::Sender<u64>,
}

/// All that changes, behind one lock, so that a request is counted, matched and answered without
/// another in between.
#[derive(Debug)]
pub(super) struct World {
    pub(super) gitea: Gitea,
    pub(super) faults: Faults,
    pub(super) log: Log,
    pub(super) post: Post,
    /// How many effects are still to come, of requests that are done with.
    pub(super) late: usize,
}

/// So many effects wait to come late; on top of them they come at once.
const MOST_LATE: usize = 10_000;

impl Shared {
    pub(super) fn new(gitea: Gitea, post: Post) -> Self {
        let world = World {
            gitea,
            faults: Faults::default(),
            log: Log::default(),
            post,
            late: 0,
        };
        Self {
            world: Mutex::new(world),
            changed: Condvar::new(),
            posted: Notify::new(),
            releases: watch::Sender::new(0),
        }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is held, and sends the webhooks that come of it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world();
        let result = change(&mut world);
        self.post(&mut world);
        result
    }

    fn post(&self, world: &mut World) {
        for delivery in world.gitea.take_deliveries() {
            world.post.push(delivery);
        }
        if world.post.waits() {
            self.posted.notify_one();
        }
        self.changed.notify_all();
    }

    /// Sends webhooks, one after the other, for ever.
    async fn deliver(&self) {
        loop {
            let (next, allowed) = {
                let mut world = self.world();
                (world.post.next(), world.post.allowed.clone())
            };
            let Some((id, delivery)) = next else {
                self.posted.notified().await;
                continue;
            };
            let outcome = deliveries::send(&id, &delivery, &allowed).await;
            self.world().post.finish(id, delivery, outcome);
            self.changed.notify_all();
        }
    }
}

/// Serves until `stop` is told or dropped.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    stop: oneshot::Receiver<Infallible>,
) {
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Small answers must not wait for the peer's delayed acknowledgement.
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(connection(stream, Arc::clone(&shared)));
                }
                // Too many open files, most likely: others must close some first.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::select! {
        _ = stop => {}
        () = accept => {}
        () = shared.deliver() => {}
    }
}

async fn connection(stream: tokio::net::TcpStream, shared: Arc<Shared>) {
    let wire = Arc::new(Wire::default());
    let socket = TokioIo::new(Tap::new(stream, Arc::clone(&wire)));
    let service =
        service_fn(move |request| respond(Arc::clone(&shared), Arc::clone(&wire), request));
    // An error here is a dropped connection, ours or the client's.
    let _ = http1::Builder::new()
        .title_case_headers(true)
        .serve_connection(socket, service)
        .await;
}

async fn respond(
    shared: Arc<Shared>,
    wire: Arc<Wire>,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Dropped> {
    let (head, body) = request.into_parts();
    let headers = wire.headers(&head);
    let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
    wire.next_request();
    let (ask, target) = (asked(&head, &body), target(&head));
    let (id, plan, mut real, mut releases, late) = {
        let mut world = shared.world();
        // Releases take the lock too, so each is either before the arrival or behind it.
        let releases = shared.releases.subscribe();
        let id = world.log.push(RecordedRequest {
            method: head.method.to_string(),
            path: target.to_owned(),
            headers,
            body: body.to_vec(),
            status: None,
        });
        let plan = world.faults.plan(head.method.as_str(), target);
        let late = plan.late().filter(|_| world.late < MOST_LATE);
        world.late += usize::from(late.is_some());
        // Under the same lock, so that who waits for the arrival finds the effect.
        let at_once = (plan.before.is_empty() && plan.effect_happens())
            || (plan.late().is_some() && late.is_none());
        let real = at_once.then(|| routes::answer(&mut world.gitea, &ask));
        shared.post(&mut world);
        (id, plan, real, releases, late)
    };
    for fault in &plan.before {
        wait(fault, &mut releases).await;
    }
    if real.is_none() && plan.effect_happens() {
        real = Some(shared.change(|world| routes::answer(&mut world.gitea, &ask)));
    }
    for fault in &plan.after {
        wait(fault, &mut releases).await;
    }

    if let Some(effect) = late {
        let (head, body) = (head.clone(), body.clone());
        let (shared, releases) = (Arc::clone(&shared), releases.clone());
        tokio::spawn(commit_late(shared, head, body, effect, releases));
    }
    if let Some(Kind::Drop { reset }) = plan.decides.as_ref().map(|fault| &fault.kind) {
        if *reset {
            wire.reset_when_closed();
        }
        return Err(Dropped);
    }
    let mut world = shared.world();
    let (answer, kind) = match plan.decides {
        Some(fault) => (fault.answer(&world.gitea.site, real), Some(fault.kind)),
        None => (real.unwrap_or_else(|| Answer::empty(500)), None),
    };
    world.log.answered(id, answer.status);
    drop(world);
    response(answer, kind)
}

/// Has a request's effect when nobody waits for its answer any more.
async fn commit_late(
    shared: Arc<Shared>,
    head: Parts,
    body: Bytes,
    effect: Effect,
    mut releases: watch::Receiver<u64>,
) {
    match effect {
        Effect::Late(time) => tokio::time::sleep(time).await,
        // An error says that the sandbox is gone, and this task with it.
        _ => drop(releases.changed().await),
    }
    let ask = asked(&head, &body);
    shared.change(|world| {
        routes::answer(&mut world.gitea, &ask);
        world.late -= 1;
    });
}

fn target(head: &Parts) -> &str {
    let target = head.uri.path_and_query();
    target.map_or("/", |target| target.as_str())
}

fn asked<'a>(head: &'a Parts, body: &'a [u8]) -> Ask<'a> {
    let mut ask = Ask::new(head.method.as_str(), target(head), body);
    ask.authorization = text(head, "authorization");
    ask.content_type = text(head, "content-type");
    ask
}

fn text<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}

async fn wait(fault: &Fault, releases: &mut watch::Receiver<u64>) {
    match fault.kind {
        Kind::Delay(time) => tokio::time::sleep(time).await,
        // An error says that the sandbox is gone, and this task with it.
        Kind::Hold => drop(releases.changed().await),
        _ => {}
    }
}

fn response(mut answer: Answer, kind: Option<Kind>) -> Result<Response<Payload>, Dropped> {
    let body = answer.body.clone();
    let payload = match kind {
        Some(Kind::Truncated { keep }) => {
            answer.set("Content-Length", body.len().to_string());
            let keep = keep.unwrap_or(body.len() / 2).min(body.len());
            Payload::Truncated(body.slice(..keep), Ending::Unsent)
        }
        Some(Kind::Huge(left)) => Payload::Huge { left, begun: false },
        Some(Kind::Drip(interval)) => Payload::dripping(body, interval),
        _ => Payload::Whole(body),
    };
    let mut builder = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        builder = builder.header(name, value);
    }
    // The parts were checked when the fault was ordered, and Gitea's own are sound.
    builder.body(payload).map_err(|_| Dropped)
}
