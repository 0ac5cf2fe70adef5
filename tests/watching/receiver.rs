//! Webhooks and callbacks over real sockets.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use proptest::prelude::*;
use ring::hmac;
use serde_json::{Value, json};
use timmy_dispatcher::durable::watch::{
    Callback, CallbackAnswer, Received, Receiver, ReceiverError, Reception, callback,
    callback_path, payload, repository,
};
use timmy_dispatcher::sandbox::DeliveryFault;
use uuid::Uuid;

use crate::scene::{Scene, at_once, events, number, scenes};

const SECRET: &str = "s3cret";
/// Long enough for any machine; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn reception() -> Reception {
    Reception {
        gap: Duration::ZERO,
        patience: PATIENCE,
        ..Reception::new(SocketAddr::from(([127, 0, 0, 1], 0)), SECRET)
    }
}

async fn receiver(reception: Reception) -> (SocketAddr, Received) {
    let (receiver, received) = Receiver::bind(reception).await.unwrap();
    let address = receiver.address();
    tokio::spawn(receiver.serve());
    (address, received)
}

fn hexadecimal(secret: &str, signed: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, signed);
    tag.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn callback_signature(secret: &str, id: Uuid, fence: u64, body: &str) -> String {
    let signed = format!("{id}:{fence}:{body}");
    format!(
        "x-timmy-signature: sha256={}",
        hexadecimal(secret, signed.as_bytes())
    )
}

/// Sends these bytes, and gives the status and the rest of the answer.
fn exchange(address: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // Who refuses early need not read it all.
    let _ = socket.write_all(request);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or(0), answer)
}

async fn ask(address: SocketAddr, request: Vec<u8>) -> (u16, String) {
    tokio::task::spawn_blocking(move || exchange(address, &request))
        .await
        .unwrap()
}

async fn post(address: SocketAddr, path: &str, headers: &[String], body: &str) -> u16 {
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: here\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    ask(address, request.into_bytes()).await.0
}

async fn webhook(address: SocketAddr, more: &[&str], body: &str) -> u16 {
    let mut headers = vec!["Content-Type: application/json".to_owned()];
    headers.extend(more.iter().map(|&header| header.to_owned()));
    post(address, "/webhooks/gitea", &headers, body).await
}

fn signed(body: &str) -> String {
    format!(
        "X-Gitea-Signature: {}",
        hexadecimal(SECRET, body.as_bytes())
    )
}

fn told(repo: &str) -> String {
    json!({ "action": "closed", "repository": { "full_name": repo } }).to_string()
}

async fn hint(received: &mut Received) -> HashSet<String> {
    tokio::time::timeout(PATIENCE, received.hints.next())
        .await
        .unwrap()
}

fn named(repo: &str) -> HashSet<String> {
    HashSet::from([repo.to_owned()])
}

/// That no hint came: another one, which comes later, is the only one.
async fn no_hint(address: SocketAddr, received: &mut Received) {
    let body = told("the/last");
    assert_eq!(webhook(address, &[&signed(&body)], &body).await, 204);
    assert_eq!(hint(received).await, named("the/last"));
}

#[tokio::test]
async fn without_a_secret_nothing_is_received() {
    for secret in ["", "  "] {
        let reception = Reception {
            secret: secret.to_owned(),
            ..reception()
        };
        let refused = Receiver::bind(reception).await.unwrap_err();
        assert!(matches!(refused, ReceiverError::NoSecret), "{refused}");
    }
    let (address, _received) = receiver(reception()).await;
    let taken = Reception {
        address,
        ..reception()
    };
    let refused = Receiver::bind(taken).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with(&format!("cannot listen at {address}: "))
    );
    assert!(!format!("{:?}", reception()).contains(SECRET));
}

#[tokio::test]
async fn a_signed_webhook_is_a_hint() {
    let (address, mut received) = receiver(reception()).await;
    let body = told("timmy/swarm");
    assert_eq!(webhook(address, &[&signed(&body)], &body).await, 204);
    assert_eq!(hint(&mut received).await, named("timmy/swarm"));

    let hub = hexadecimal(SECRET, body.as_bytes());
    let hub = format!("X-Hub-Signature-256: sha256={hub}");
    assert_eq!(webhook(address, &[&hub], &body).await, 204);
    assert_eq!(hint(&mut received).await, named("timmy/swarm"));

    let form: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &body)
        .finish();
    let headers = [
        "Content-Type: application/x-www-form-urlencoded".to_owned(),
        signed(&body), // of the payload, not of the form
    ];
    assert_eq!(post(address, "/webhooks/gitea", &headers, &form).await, 204);
    assert_eq!(hint(&mut received).await, named("timmy/swarm"));

    // Of no repository, or of what is none: signed, and no hint.
    for body in [
        "{}",
        "[]",
        "null",
        "x",
        &told("no repo"),
        &told("a/b/c"),
        &told("../.."),
    ] {
        assert_eq!(
            webhook(address, &[&signed(body)], body).await,
            204,
            "{body}"
        );
    }
    no_hint(address, &mut received).await;
}

#[tokio::test]
async fn what_is_not_signed_as_it_should_be_is_refused() {
    let (address, mut received) = receiver(reception()).await;
    let body = told("timmy/swarm");
    let right = hexadecimal(SECRET, body.as_bytes());
    for headers in [
        &[][..],
        &["X-Gitea-Signature: "],
        &["X-Gitea-Signature: nonsense"],
        &[&format!("X-Gitea-Signature: {}", &right[1..])],
        &[&format!("X-Gitea-Signature: {right}00")],
        &[&format!(
            "X-Gitea-Signature: {}",
            hexadecimal("other", body.as_bytes())
        )],
        &[&format!(
            "X-Gitea-Signature: {}",
            hexadecimal("", body.as_bytes())
        )],
        &[&format!(
            "X-Gitea-Signature: {}",
            hexadecimal(SECRET, b"{}")
        )],
        &[&format!("X-Hub-Signature-256: {right}")],
        &[&format!("X-Hub-Signature-256: sha1={right}")],
        // Two of them: which?
        &[
            &format!("X-Gitea-Signature: {right}"),
            &format!("X-Gitea-Signature: {right}"),
        ],
    ] {
        assert_eq!(webhook(address, headers, &body).await, 401, "{headers:?}");
    }
    let headers = ["Content-Type: text/plain".to_owned(), signed(&body)];
    assert_eq!(post(address, "/webhooks/gitea", &headers, &body).await, 415);
    assert_eq!(
        post(address, "/webhooks/gitea", &[signed(&body)], &body).await,
        415
    );
    assert_eq!(post(address, "/webhooks/gitea/x", &[], "").await, 404);
    assert_eq!(post(address, "/", &[], "").await, 404);
    let (status, answer) = ask(
        address,
        b"GET /webhooks/gitea HTTP/1.1\r\nHost: here\r\n\r\n".to_vec(),
    )
    .await;
    assert_eq!(status, 405);
    assert!(answer.to_lowercase().contains("allow: post"), "{answer}");
    no_hint(address, &mut received).await;
}

#[tokio::test]
async fn a_repeated_delivery_is_no_second_hint() {
    let (address, mut received) = receiver(reception()).await;
    let body = told("timmy/swarm");
    let delivery = format!("X-Gitea-Delivery: {}", Uuid::new_v4());
    // Unsigned, it is not remembered.
    assert_eq!(webhook(address, &[&delivery], &body).await, 401);
    assert_eq!(
        webhook(address, &[&delivery, &signed(&body)], &body).await,
        204
    );
    assert_eq!(hint(&mut received).await, named("timmy/swarm"));
    assert_eq!(
        webhook(address, &[&delivery, &signed(&body)], &body).await,
        204
    );
    no_hint(address, &mut received).await;
}

#[tokio::test]
async fn bodies_are_bounded() {
    let small = Reception {
        body: 1000,
        ..reception()
    };
    let (address, mut received) = receiver(small).await;
    let head = "POST /webhooks/gitea HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n";
    // Refused by what it announces, before it comes.
    let announced = format!("{head}Content-Length: 1001\r\n\r\n");
    assert_eq!(ask(address, announced.into_bytes()).await.0, 413);
    let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
    assert_eq!(ask(address, chunked.into_bytes()).await.0, 413);
    let fits = format!("{}{}", " ".repeat(900), told("a/b"));
    assert_eq!(webhook(address, &[&signed(&fits)], &fits).await, 204);
    assert_eq!(hint(&mut received).await, named("a/b"));
    // A head without an end.
    let endless = format!("POST / HTTP/1.1\r\nX: {}", "x".repeat(1_000_000));
    let (status, _) = ask(address, endless.into_bytes()).await;
    assert!([0, 431].contains(&status), "{status}");
    no_hint(address, &mut received).await;
}

#[tokio::test]
async fn slow_clients_keep_nobody_out_for_long() {
    let hasty = Reception {
        connections: 2,
        patience: Duration::from_millis(200),
        ..reception()
    };
    let (address, mut received) = receiver(hasty).await;
    // In the middle of the head, before the body, and in the middle of it: many more than fit.
    let starts = [
        "",
        "POST /webhooks/gitea HT",
        "POST /webhooks/gitea HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n",
        "POST /webhooks/gitea HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n12345",
    ];
    let slow: Vec<TcpStream> = starts
        .iter()
        .cycle()
        .take(8)
        .map(|start| {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.write_all(start.as_bytes()).unwrap();
            socket
        })
        .collect();
    let body = told("timmy/swarm");
    assert_eq!(webhook(address, &[&signed(&body)], &body).await, 204);
    assert_eq!(hint(&mut received).await, named("timmy/swarm"));
    drop(slow);
}

/// Answers callbacks as they come, and gives them back.
fn answering(mut received: Received, answers: Vec<CallbackAnswer>) -> CallbackLog {
    tokio::spawn(async move {
        let mut log = Vec::new();
        for answer in answers {
            let callback: Callback = received.callbacks.recv().await.unwrap();
            log.push((callback.id, callback.fence, callback.said.clone()));
            callback.answer(answer);
        }
        log
    })
}

type CallbackLog = tokio::task::JoinHandle<Vec<(Uuid, u64, Value)>>;

#[tokio::test]
async fn a_signed_callback_is_answered_by_whoever_decides() {
    let (address, received) = receiver(reception()).await;
    let answers = [
        (CallbackAnswer::Taken, 200),
        (CallbackAnswer::Stale, 409),
        (CallbackAnswer::Unknown, 404),
        (CallbackAnswer::Later, 503),
    ];
    let log = answering(
        received,
        answers.iter().map(|(answer, _)| *answer).collect(),
    );
    let id = Uuid::now_v7();
    let path = format!("/callbacks/{id}");
    let body = json!({ "fence": 3, "status": "completed", "result": { "pull": 9 } }).to_string();
    for (_, status) in answers {
        let signature = callback_signature(SECRET, id, 3, &body);
        assert_eq!(post(address, &path, &[signature], &body).await, status);
    }
    let log = log.await.unwrap();
    let said: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(log, vec![(id, 3, said); 4]);
    // Nobody is there any more to take it.
    let signature = callback_signature(SECRET, id, 3, &body);
    assert_eq!(post(address, &path, &[signature], &body).await, 503);
}

#[tokio::test]
async fn a_callback_that_is_not_signed_as_it_should_be_is_refused() {
    let (address, mut received) = receiver(reception()).await;
    let id = Uuid::now_v7();
    let path = format!("/callbacks/{id}");
    let body = json!({ "fence": 3, "status": "completed" }).to_string();
    for signature in [
        String::new(),
        "x-timmy-signature: ".to_owned(),
        callback_signature("other", id, 3, &body),
        callback_signature("", id, 3, &body),
        callback_signature(SECRET, Uuid::now_v7(), 3, &body),
        callback_signature(SECRET, id, 4, &body),
        callback_signature(SECRET, id, 3, "{}"),
        callback_signature(SECRET, id, 3, &body).replace("sha256=", ""),
    ] {
        let headers: Vec<String> = Some(signature.clone())
            .filter(|s| !s.is_empty())
            .into_iter()
            .collect();
        assert_eq!(
            post(address, &path, &headers, &body).await,
            401,
            "{signature}"
        );
    }
    for body in [
        "",
        "{}",
        "[]",
        r#"{"fence":-1}"#,
        r#"{"fence":"3"}"#,
        r#"{"fence":3"#,
    ] {
        let signature = callback_signature(SECRET, id, 3, body);
        assert_eq!(
            post(address, &path, &[signature], body).await,
            400,
            "{body}"
        );
    }
    for path in [
        format!("/callbacks/{}", id.simple()),
        format!("/callbacks/{}", id.to_string().to_uppercase()),
        format!("/callbacks/{id}/"),
        "/callbacks/".to_owned(),
    ] {
        assert_eq!(post(address, &path, &[], &body).await, 404, "{path}");
    }
    assert!(received.callbacks.try_recv().is_err());
}

#[tokio::test]
async fn a_callback_that_nobody_decides_on_is_to_come_again() {
    let hasty = Reception {
        patience: Duration::from_millis(200),
        ..reception()
    };
    let (address, mut received) = receiver(hasty).await;
    let id = Uuid::now_v7();
    let body = r#"{"fence":1}"#;
    let signature = callback_signature(SECRET, id, 1, body);
    let path = format!("/callbacks/{id}");
    assert_eq!(post(address, &path, &[signature], body).await, 503);
    let late = received.callbacks.recv().await.unwrap();
    late.answer(CallbackAnswer::Taken); // The agent does not know, and will come again.
}

/// The whole way: something happens, a webhook comes, it is looked at.
#[tokio::test]
async fn webhooks_make_it_look_sooner_in_whatever_order_they_come() {
    for scene in scenes() {
        let (address, mut received) = receiver(reception()).await;
        let url = format!("http://{address}/webhooks/gitea");
        let events_of = ["issues", "issue_comment"];
        scene
            .gitea
            .create_hook(&scene.repo, &url, SECRET, &events_of)
            .unwrap();
        scene
            .gitea
            .delivery_fault(DeliveryFault::repeat(3).times(4))
            .unwrap();
        scene
            .gitea
            .delivery_fault(DeliveryFault::overtake().skip(1).times(2))
            .unwrap();
        let watched = [scene.handed_over()];
        let mut watcher = scene.watcher(at_once());
        assert_eq!(events(&watcher.look(&watched).await), []);
        scene.comment("kimi", number(&watched[0]), "on it");
        scene.state("kimi", number(&watched[0]), "closed");
        let mut seen = Vec::new();
        while seen.is_empty() {
            let repos = hint(&mut received).await;
            assert_eq!(repos, named(&scene.repo));
            seen = events(&watcher.look_at(&watched, &repos).await);
        }
        assert!(matches!(
            seen[..],
            [timmy_dispatcher::ledger::machine::Event::Finished { .. }]
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hook_of_a_server_with_another_secret_is_refused() {
    let scene = Scene::new(timmy_dispatcher::sandbox::GiteaVersion::V1_26);
    let (address, mut received) = receiver(reception()).await;
    let url = format!("http://{address}/webhooks/gitea");
    for secret in ["other", ""] {
        scene
            .gitea
            .create_hook(&scene.repo, &url, secret, &["issues"])
            .unwrap();
    }
    scene.gitea.create_issue(&scene.repo, "x", "").unwrap();
    assert!(scene.gitea.wait_for_deliveries(2, PATIENCE));
    let statuses: Vec<_> = scene
        .gitea
        .deliveries()
        .iter()
        .map(|sent| sent.status)
        .collect();
    assert_eq!(statuses, [Some(401), Some(401)]);
    no_hint(address, &mut received).await;
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_is_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        text in ".{0,60}",
    ) {
        for kind in ["application/json", "application/x-www-form-urlencoded", &text] {
            if let Some(payload) = payload(kind, &bytes) {
                let _ = repository(&payload);
            }
        }
        let _ = repository(&bytes);
        let _ = callback(&bytes);
        let _ = callback_path(&text);
        let _ = callback_path(&format!("/callbacks/{text}"));
    }

    #[test]
    fn a_payload_comes_out_of_a_form_as_it_went_in(text in ".{0,200}", other in "[a-z]{0,10}") {
        prop_assume!(other != "payload");
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair(&other, "x")
            .append_pair("payload", &text)
            .append_pair("payload", "second")
            .finish();
        let read = payload("Application/X-WWW-Form-Urlencoded ; charset=utf-8", form.as_bytes());
        prop_assert_eq!(read.as_deref(), Some(text.as_bytes()));
    }

    #[test]
    fn a_repository_is_an_owner_and_a_name(name in "[a-zA-Z0-9._/ \\n-]{0,20}") {
        if let Some(repo) = repository(told(&name).as_bytes()) {
            prop_assert_eq!(&repo, &name);
            prop_assert_eq!(repo.matches('/').count(), 1);
        }
    }

    #[test]
    fn deep_nesting_is_refused(depth in 200..2_000_usize) {
        let deep = format!("{{\"fence\":1,\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        prop_assert_eq!(callback(deep.as_bytes()), None);
    }
}
