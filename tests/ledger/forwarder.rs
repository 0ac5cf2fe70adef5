//! An address before a server, such as a proxy gives it, or a network that fails.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of the connections.
#[derive(Clone, PartialEq)]
struct Way {
    /// Where they lead; those to somewhere else end.
    to: String,
    /// Whether anything gets through.
    open: bool,
    /// So often the clients were cut off, with the server none the wiser.
    cut: u32,
}

pub(crate) struct Forwarder {
    at: SocketAddr,
    way: watch::Sender<Way>,
}

/// The host and port in a URL.
fn authority(url: &str) -> &str {
    let (_, rest) = url.split_once('@').unwrap();
    rest.split('/').next().unwrap()
}

impl Forwarder {
    /// One that leads to the server of a URL, for as long as the runtime lives.
    pub(crate) async fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let way = watch::Sender::new(Way {
            to: authority(url).to_owned(),
            open: true,
            cut: 0,
        });
        let follows = way.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, follows.clone()));
            }
        });
        Self { at, way }
    }

    /// The same URL, by this way.
    pub(crate) fn before(&self, url: &str) -> String {
        url.replacen(authority(url), &self.at.to_string(), 1)
    }

    /// Whether anything gets through; no connection ends by it.
    pub(crate) fn open(&self, open: bool) {
        self.way.send_modify(|way| way.open = open);
    }

    /// Leads to the server of that URL from now on.
    pub(crate) fn turn_to(&self, url: &str) {
        self.way
            .send_modify(|way| authority(url).clone_into(&mut way.to));
    }

    /// Ends all connections, and tells the server of none.
    pub(crate) fn cut(&self) {
        self.way.send_modify(|way| way.cut += 1);
    }
}

async fn pass(mut client: TcpStream, mut way: watch::Receiver<Way>) {
    let began = way.borrow_and_update().clone();
    // One that is refused ends the client's too.
    let Ok(mut server) = TcpStream::connect(&began.to).await else {
        return;
    };
    let open = way.clone();
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let cut = tokio::select! {
        () = forward(from_client, to_server, &open) => false,
        () = forward(from_server, to_client, &open) => false,
        way = way.wait_for(|way| way.to != began.to || way.cut != began.cut) => {
            way.is_ok_and(|way| way.cut != began.cut)
        }
    };
    if cut {
        drop(client);
        std::future::pending::<()>().await;
    }
}

async fn forward(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, way: &watch::Receiver<Way>) {
    let mut way = way.clone();
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if way.wait_for(|way| way.open).await.is_err()
            || to.write_all(&bytes[..count]).await.is_err()
        {
            return;
        }
    }
}
