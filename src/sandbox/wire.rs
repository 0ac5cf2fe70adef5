//! The connection below HTTP: what hyper does not tell of a request, and does not do to an answer.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A head longer than this is not kept; hyper refuses it soon after.
const LONGEST_HEAD: usize = 512 * 1024;

/// What a request's handler and its connection share.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Ends the connection by a reset when it is closed.
    reset: AtomicBool,
    /// The bytes of the request that is being read, up to the end of its head.
    head: Mutex<Vec<u8>>,
}

impl Wire {
    pub(super) fn reset_when_closed(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    /// The next bytes to be read belong to another request.
    pub(super) fn next_request(&self) {
        self.head().clear();
    }

    fn head(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, bytes: &[u8]) {
        let mut head = self.head();
        if head.len() < LONGEST_HEAD && head_length(&head).is_none() {
            head.extend_from_slice(bytes);
        }
    }

    /// The headers of `request` in the order and letter case in which they came (hyper sorts by
    /// name and writes names small). Where the bytes are another request's, hyper's view.
    pub(super) fn headers(&self, request: &Parts) -> Vec<(String, String)> {
        self.sent_headers(request).unwrap_or_else(|| {
            let headers = request.headers.iter();
            headers
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    (name.to_string(), value.into_owned())
                })
                .collect()
        })
    }

    fn sent_headers(&self, request: &Parts) -> Option<Vec<(String, String)>> {
        let head = self.head();
        let text = String::from_utf8_lossy(head.get(..head_length(&head)?)?);
        let mut lines = text.split("\r\n");
        let asked = format!("{} {} ", request.method, request.uri);
        if !lines.next()?.starts_with(&asked) {
            return None;
        }
        lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.to_owned(), value.trim().to_owned()))
            })
            .collect()
    }
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n")
}

/// A socket that keeps the head of what it reads, and can end by a reset.
#[derive(Debug)]
pub(super) struct Tap {
    stream: TcpStream,
    wire: Arc<Wire>,
}

impl Tap {
    pub(super) fn new(stream: TcpStream, wire: Arc<Wire>) -> Self {
        Self { stream, wire }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if self.wire.reset.load(Ordering::Relaxed) {
            // Closing with unsent data thrown away is what sends RST in place of FIN. Should it
            // fail, the connection ends in order, which is a dropped connection as well.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.wire
            .keep(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wire.reset.load(Ordering::Relaxed) {
            // A shutdown would send the FIN that the reset is to replace.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The connection is to be closed, with what was sent until now and no more.
#[derive(Debug, thiserror::Error)]
#[error("the connection was dropped on order")]
pub(super) struct Dropped;

/// A body, as faulty as ordered.
#[derive(Debug)]
pub(super) enum Payload {
    Whole(Bytes),
    /// What is sent, and then the end of the connection.
    Truncated(Bytes, Ending),
    /// How many bytes are still to come.
    Huge {
        left: u64,
        begun: bool,
    },
    /// What is still to come, one byte per interval.
    Dripping {
        left: Bytes,
        interval: Duration,
        timer: Pin<Box<Sleep>>,
    },
}

/// How far a truncated body is.
#[derive(Debug)]
pub(super) enum Ending {
    Unsent,
    /// hyper is asked back once, because it writes out what it holds before it asks again.
    Flushing,
    Sent,
}

impl Payload {
    pub(super) fn dripping(body: Bytes, interval: Duration) -> Self {
        Self::Dripping {
            left: body,
            interval,
            timer: Box::pin(sleep(interval)),
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        const CHUNK: usize = 64 * 1024;
        static FILLING: [u8; CHUNK] = [b'x'; CHUNK];
        let frame = |bytes: Bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        match &mut *self {
            Self::Whole(bytes) => match std::mem::take(bytes) {
                bytes if bytes.is_empty() => Poll::Ready(None),
                bytes => frame(bytes),
            },
            Self::Truncated(bytes, ending) => match ending {
                Ending::Unsent => {
                    *ending = Ending::Flushing;
                    frame(std::mem::take(bytes))
                }
                Ending::Flushing => {
                    *ending = Ending::Sent;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                Ending::Sent => Poll::Ready(Some(Err(Dropped))),
            },
            Self::Huge { left: 0, .. } => Poll::Ready(None),
            Self::Huge { left, begun } => {
                if !*begun {
                    *begun = true;
                    *left -= 1;
                    return frame(Bytes::from_static(b"\""));
                }
                let length = usize::try_from(*left).map_or(CHUNK, |left| left.min(CHUNK));
                *left -= u64::try_from(length).unwrap_or(*left);
                frame(Bytes::from_static(
                    FILLING.get(..length).unwrap_or(&FILLING),
                ))
            }
            Self::Dripping {
                left,
                interval,
                timer,
            } => {
                if left.is_empty() {
                    return Poll::Ready(None);
                }
                ready!(timer.as_mut().poll(context));
                timer.set(sleep(*interval));
                frame(left.split_to(1))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) | Self::Dripping { left: bytes, .. } => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            // The announced length is the answer's header, and a huge body is chunked.
            Self::Truncated(..) | Self::Huge { .. } => SizeHint::default(),
        }
    }
}
