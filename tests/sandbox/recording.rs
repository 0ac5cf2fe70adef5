use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use timmy_dispatcher::sandbox::{GiteaVersion, Sandbox, SandboxError};

use crate::client::{PATIENCE, exchange, get, post};
use crate::swarm;

#[test]
fn a_request_is_recorded_as_it_came() {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    let request = format!(
        "POST /api/v1/repos/{repo}/labels?a=b HTTP/1.1\r\nhOsT: here\r\nX-B: 1\r\nx-a:  two \r\n\
         X-b: 3\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    assert_eq!(exchange(&gitea, &request).unwrap().status, 401);
    let recorded = &gitea.requests()[0];
    assert_eq!(recorded.method, "POST");
    assert_eq!(recorded.path, format!("/api/v1/repos/{repo}/labels?a=b"));
    let headers: Vec<_> = recorded
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        headers,
        [
            ("hOsT", "here"),
            ("X-B", "1"),
            ("x-a", "two"),
            ("X-b", "3"),
            ("Content-Length", "2"),
            ("Connection", "close")
        ]
    );
    assert_eq!(
        (recorded.body.as_slice(), recorded.status),
        (&b"{}"[..], Some(401))
    );
    assert_eq!(recorded.header("HOST"), Some("here"));
    assert_eq!(recorded.json(), Some(json!({})));
}

#[test]
fn requests_of_one_connection_are_recorded_each_for_itself() {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    let mut socket = TcpStream::connect(gitea.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for number in 1..=3 {
        let body = "x".repeat(number * 10);
        let length = body.len();
        write!(
            socket,
            "POST /agent/{number} HTTP/1.1\r\nHost: {repo}\r\nX-Number: {number}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = [0; 1024];
        let read = socket.read(&mut answer).unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 202"));
    }
    let requests = gitea.requests();
    assert_eq!(requests.len(), 3);
    for (index, request) in requests.iter().enumerate() {
        let number = index + 1;
        assert_eq!(
            request.headers[1],
            ("X-Number".to_owned(), number.to_string())
        );
        assert_eq!(request.body.len(), number * 10);
    }
}

#[test]
fn requests_are_forgotten_when_told() {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    get(&gitea, &format!("/repos/{repo}/labels"));
    gitea.clear_requests();
    assert!(gitea.requests().is_empty());
    get(&gitea, &format!("/repos/{repo}/issues"));
    assert_eq!(gitea.requests().len(), 1);
}

#[test]
fn waiting_for_requests_ends_with_the_request_or_the_time() {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    let path = format!("/repos/{repo}/issues/1/comments");
    gitea.create_issue(&repo, "x", "").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| post(&gitea, &path, json!({"body": "x"})));
        assert!(gitea.wait_for_requests(1, PATIENCE));
        // The arrival is told with the effect.
        assert_eq!(gitea.comments(&repo, 1).unwrap().len(), 1);
    });
    let begun = Instant::now();
    assert!(!gitea.wait_for_requests(2, Duration::from_millis(30)));
    assert!(begun.elapsed() >= Duration::from_millis(30));
}

#[test]
fn the_agent_takes_tasks() {
    let (gitea, _) = swarm(GiteaVersion::V1_26);
    let call = |method: &str, path: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        );
        exchange(&gitea, &request).unwrap()
    };
    let first = call("POST", "/agent");
    assert_eq!(
        (first.status, first.json()),
        (202, json!({"status": "accepted", "id": 1}))
    );
    assert_eq!(call("POST", "/agent/kimi").json()["id"], 2);
    assert_eq!(call("GET", "/agent").status, 405);
    assert_eq!(call("POST", "/elsewhere").status, 404);
    assert_eq!(gitea.requests()[1].path, "/agent/kimi");
}

#[test]
fn a_stopped_sandbox_is_gone_and_can_still_be_read() {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    get(&gitea, &format!("/repos/{repo}/labels"));
    gitea.stop();
    assert!(TcpStream::connect(gitea.address()).is_err());
    assert_eq!(gitea.requests().len(), 1);
    assert!(gitea.labels(&repo).unwrap().is_empty());
    gitea.stop();
}

#[test]
fn dropping_it_ends_open_connections() {
    let (gitea, _) = swarm(GiteaVersion::V1_26);
    let mut socket = TcpStream::connect(gitea.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        socket,
        "POST /agent HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
    )
    .unwrap();
    drop(gitea);
    // The end or a reset, whichever the kernel makes of it, but no waiting.
    match socket.read(&mut [0; 16]) {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[tokio::test]
async fn it_starts_and_stops_inside_a_runtime() {
    let (gitea, repo) = swarm(GiteaVersion::V1_26);
    let labels =
        tokio::task::spawn_blocking(move || get(&gitea, &format!("/repos/{repo}/labels")).status);
    assert_eq!(labels.await.unwrap(), 200);
    drop(swarm(GiteaVersion::V1_25));
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let taken = Sandbox::builder().start().unwrap();
    let again = Sandbox::builder().port(taken.address().port()).start();
    assert!(matches!(again, Err(SandboxError::Start(_))));
    let public = Sandbox::builder().host([0, 0, 0, 0].into()).start();
    assert!(matches!(public, Err(SandboxError::Setup(_))));
    assert!(Sandbox::builder().owner("a/b").start().is_err());
    assert!(Sandbox::builder().token("a b").start().is_err());
    assert_eq!("1.25".parse::<GiteaVersion>().unwrap(), GiteaVersion::V1_25);
    let unknown = "1.27".parse::<GiteaVersion>().unwrap_err();
    assert!(unknown.to_string().contains("known are 1.25, 1.26"));
}

#[test]
fn what_is_not_there_is_named() {
    let gitea = Sandbox::builder()
        .owner("tim")
        .token("secret")
        .start()
        .unwrap();
    assert_eq!((gitea.owner(), gitea.token()), ("tim", "secret"));
    assert_eq!(gitea.url(), format!("http://{}", gitea.address()));
    let repo = gitea.create_repo("swarm").unwrap();
    assert_eq!(repo, "tim/swarm");
    assert!(matches!(
        gitea.create_repo("Swarm"),
        Err(SandboxError::Refused(_))
    ));
    assert!(matches!(
        gitea.create_issue("swarm", "x", ""),
        Err(SandboxError::UnknownRepo(_))
    ));
    let unknown = gitea.issue(&repo, 7).unwrap_err().to_string();
    assert!(unknown.contains("issue 7 in tim/swarm"), "{unknown}");
    assert!(matches!(
        gitea.create_label(&repo, "l", "red"),
        Err(SandboxError::Refused(_))
    ));
}
