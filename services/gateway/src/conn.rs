//! A connection whose bare protocol errors carry a problem, and that ends when nothing happens on it.
//!
//! When a request cannot even be read (not HTTP, headers too large, too slow), the HTTP library answers with a status line and an empty
//! body, before any handler is asked. No handler of ours ever answers a failure without a body, so an empty one is recognised as the
//! library's and filled in.
//!
//! The library also minds the clock for the first request of a connection only. A later head that never ends, an answer that nobody
//! takes, or a tunnel that was refused would keep a connection for good; [`Pulse`] bounds them.

use std::cell::Cell;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kernel::{Clock, Error, ErrorCode, Ids, Locale};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::problem::{self, About};

/// When something last happened on a connection.
pub struct Pulse {
    clock: Clock,
    last: Cell<Instant>,
    handling: Cell<bool>,
    ended: Cell<bool>,
}

/// A request being handled: meanwhile the connection waits for us, not for the client.
pub struct Handling(Rc<Pulse>);

impl Pulse {
    /// A request has arrived; its handling lasts as long as what is returned.
    pub fn handle(self: &Rc<Self>) -> Handling {
        self.handling.set(true);
        Handling(Rc::clone(self))
    }

    /// The answer at hand is the last one of this connection.
    pub fn end(&self) {
        self.ended.set(true);
    }

    /// Whether the last answer has been given, so that nothing that follows may be done.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    fn beat(&self) {
        self.last.set(self.clock.instant());
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.handling.set(false);
        self.0.beat();
    }
}

/// A socket that fills in bare errors.
pub struct Conn {
    socket: TcpStream,
    ids: Ids,
    filled: Option<Filled>,
    pulse: Rc<Pulse>,
    patience: Duration,
    alarm: Pin<Box<tokio::time::Sleep>>,
}

/// What is written in the place of a bare error.
struct Filled {
    bytes: Vec<u8>,
    written: usize,
    /// How many bytes of the library's answer this stands for.
    stands_for: usize,
}

impl Conn {
    /// Wraps an accepted socket, which ends when for `patience` neither a request is handled nor a byte of an answer taken.
    pub fn new(socket: TcpStream, ids: Ids, clock: Clock, patience: Duration) -> Self {
        let pulse = Pulse {
            last: Cell::new(clock.instant()),
            clock,
            handling: Cell::new(false),
            ended: Cell::new(false),
        };
        Self {
            socket,
            ids,
            filled: None,
            pulse: Rc::new(pulse),
            patience,
            alarm: Box::pin(tokio::time::sleep(patience)),
        }
    }

    /// What the handler of requests tells the connection by.
    pub fn pulse(&self) -> Rc<Pulse> {
        Rc::clone(&self.pulse)
    }

    /// Ready when the client has let too much time pass.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let silence = self
                .pulse
                .clock
                .instant()
                .saturating_duration_since(self.pulse.last.get());
            let rest = self.patience.saturating_sub(silence);
            if rest.is_zero() && !self.pulse.handling.get() {
                return Poll::Ready(());
            }
            // While a request is handled its own deadlines hold; then the whole patience begins anew.
            let pause = if rest.is_zero() { self.patience } else { rest };
            self.alarm.set(tokio::time::sleep(pause));
        }
    }

    fn fill_in(&self, answer: &[u8]) -> Option<Filled> {
        // Successes are the rule: one comparison tells them apart.
        if !answer.starts_with(b"HTTP/1.1 4") {
            return None;
        }
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&answer[..end]).ok()?;
        let is_bare = head
            .lines()
            .any(|line| line.eq_ignore_ascii_case("content-length: 0"));
        if !is_bare || end != answer.len() {
            return None;
        }
        let error = match head.get(9..12)? {
            "408" => Error::new(
                ErrorCode::RequestTimeout,
                "request.body_timeout",
                "the request did not arrive in time",
            ),
            "431" => Error::new(
                ErrorCode::HeadersTooLarge,
                "request.headers_too_large",
                "the headers are larger than what is taken",
            ),
            _ => Error::new(
                ErrorCode::MalformedRequest,
                "request.http_malformed",
                "this is not a valid HTTP request",
            ),
        };
        let request_id = self.ids.next().to_string();
        let about = About {
            request_id: &request_id,
            trace_id: None,
            locale: Locale::En,
            method: None,
        };
        let body = problem::body(&error, &about).to_string();
        let status = problem::status_of(error.error_code());
        tracing::debug!(requestId = %request_id, statusCode = status.as_u16(), "a request could not be read");
        let bytes = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {}\r\ncontent-length: {}\r\nx-request-id: {request_id}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n{body}",
            problem::MEDIA_TYPE,
            body.len(),
        );
        Some(Filled {
            bytes: bytes.into_bytes(),
            written: 0,
            stands_for: answer.len(),
        })
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.socket).poll_read(cx, buffer);
        if outcome.is_pending() && this.poll_alarm(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        outcome
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        answer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.filled.is_none() {
            this.filled = this.fill_in(answer);
        }
        let Some(filled) = &mut this.filled else {
            let outcome = Pin::new(&mut this.socket).poll_write(cx, answer);
            if outcome.is_ready() {
                this.pulse.beat();
            }
            return outcome;
        };
        while filled.written < filled.bytes.len() {
            match Pin::new(&mut this.socket).poll_write(cx, &filled.bytes[filled.written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => filled.written += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        let stands_for = filled.stands_for;
        this.filled = None;
        Poll::Ready(Ok(stands_for))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
