//! A client that sends what it is told and says what came, faults of the connection included.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use timmy_dispatcher::sandbox::Sandbox;

/// Long enough for any machine; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// `X-Total-Count`.
    pub(crate) fn total(&self) -> usize {
        self.header("x-total-count")
            .expect("a total")
            .parse()
            .expect("a number")
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let body = self.json();
        let entries = body.as_array().expect("a list").iter();
        entries
            .map(|entry| entry["name"].as_str().expect("a name").to_owned())
            .collect()
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        let body = self.json();
        let entries = body.as_array().expect("a list").iter();
        entries
            .map(|entry| entry["number"].as_u64().expect("a number"))
            .collect()
    }
}

/// A request to the API as the administrator; `path` is what follows `/api/v1`.
pub(crate) fn ask(gitea: &Sandbox, method: &str, path: &str, body: Option<Value>) -> Reply {
    let body = body.map(|body| body.to_string());
    ask_raw(gitea, method, path, body.as_deref()).expect("an answer")
}

pub(crate) fn get(gitea: &Sandbox, path: &str) -> Reply {
    ask(gitea, "GET", path, None)
}

pub(crate) fn post(gitea: &Sandbox, path: &str, body: Value) -> Reply {
    ask(gitea, "POST", path, Some(body))
}

/// As [`ask`], with the body as it stands and the connection's faults as errors.
pub(crate) fn ask_raw(
    gitea: &Sandbox,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> io::Result<Reply> {
    let authorization = format!("token {}", gitea.token());
    send(gitea, method, path, Some(&authorization), body)
}

pub(crate) fn send(
    gitea: &Sandbox,
    method: &str,
    path: &str,
    authorization: Option<&str>,
    body: Option<&str>,
) -> io::Result<Reply> {
    let mut head = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nhOsT: {}\r\n",
        gitea.address()
    );
    if let Some(authorization) = authorization {
        head += &format!("Authorization: {authorization}\r\n");
    }
    if let Some(body) = body {
        let length = body.len();
        head += &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
    }
    head += "Connection: close\r\n\r\n";
    exchange(gitea, &(head + body.unwrap_or_default()))
}

/// Sends these bytes and reads to the end of the connection.
pub(crate) fn exchange(gitea: &Sandbox, request: &str) -> io::Result<Reply> {
    let mut socket = TcpStream::connect(gitea.address())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> io::Result<Reply> {
    let cut_off = |what: &str| io::Error::new(ErrorKind::UnexpectedEof, what.to_owned());
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| cut_off("no answer"))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let mut reply = Reply {
        status: status.expect("a status line"),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: answer[end + 4..].to_vec(),
    };
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.body = dechunked(&reply.body).ok_or_else(|| cut_off("chunks without an end"))?;
    } else if let Some(length) = reply.header("content-length")
        && length.parse() != Ok(reply.body.len())
    {
        return Err(cut_off(&format!("{} of {length} bytes", reply.body.len())));
    }
    Ok(reply)
}

fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        let chunk = rest.get(end + 2..end + 2 + length)?;
        if length == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(chunk);
        rest = rest.get(end + 2 + length + 2..)?;
    }
}
