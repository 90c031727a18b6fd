//! Link: one connection of HTTP/1.1 to the origin, driven by the request that uses it.
//!
//! hyper's connection is a future beside the request's. It is polled here from within the request and
//! then from within the answer's body, so no task stands between reader and origin, a reader that does
//! not read stops the origin, and dropping the body closes the connection: there is no other way to
//! tell an HTTP/1.1 origin to stop.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Request;
use hyper::client::conn::http1::{Builder, Connection, Parts, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    runtime::{self, Handle},
    time::Instant,
};

use super::{
    again,
    config::UpstreamConfig,
    outgoing::{Outgoing, Progress},
    plain::Plain,
    socket::{Notes, Socket},
};
use crate::timer::Timer;

/// What hyper holds of an answer that is not asked for yet, at most.
const READ_AHEAD: usize = 128 << 10;

/// What hyper reads at most unless it is told otherwise.
const HYPER_MAX_FIELDS: usize = 100;

/// A connection. Dropping it closes it.
pub(super) struct Link {
    pub(super) sender: SendRequest<Outgoing>,
    /// On the heap, because the link moves: from the pool to its user, and with the answer's body.
    driver: Box<Connection<TokioIo<Socket>, Outgoing>>,
    is_over: bool,
    is_distrusted: bool,
    plain: Plain,
    notes: Arc<Notes>,
    /// Whom it leads to; nothing for a Unix socket.
    pub(super) address: Option<SocketAddr>,
    /// Counts what the present user waits for.
    pub(super) timer: Timer,
    pub(super) idle_since: Instant,
    /// The runtime that hears of its socket. Used on another, every byte would wake that one first.
    pub(super) home: runtime::Id,
}

impl Link {
    pub(super) async fn new(
        socket: Socket,
        address: Option<SocketAddr>,
        config: &UpstreamConfig,
    ) -> Result<Link, hyper::Error> {
        let (plain, notes) = (socket.plain(), socket.notes());
        let mut builder = Builder::new();
        builder
            // RFC 9112 §5.1 and §5.2 tell proxies to repair these two in answers.
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .max_buf_size(READ_AHEAD.max(config.max_head_bytes))
            .max_header_size(config.max_head_bytes);
        // Up to its own bound hyper reads fields without taking memory for that.
        if config.max_fields != HYPER_MAX_FIELDS {
            builder.max_headers(config.max_fields);
        }
        let (sender, driver) = builder.handshake(TokioIo::new(socket)).await?;
        Ok(Link {
            sender,
            driver: Box::new(driver),
            is_over: false,
            is_distrusted: false,
            plain,
            notes,
            address,
            timer: Timer::default(),
            idle_since: Instant::now(),
            home: Handle::current().id(),
        })
    }

    /// Moves bytes as far as the socket allows. What goes wrong is told to the request or the body
    /// that is under way, so nothing is told here.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.is_over {
            self.is_over = Pin::new(&mut *self.driver).poll(cx).is_ready();
        }
    }

    /// Drives until there is what `look` looks for. Only the second turn, after which the task waits, is told
    /// whom to wake: otherwise the task would be polled once more for what its own poll has done.
    pub(super) fn drive_until<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match self.drive_and_look(&mut Context::from_waker(Waker::noop()), &mut look) {
            Poll::Pending => self.drive_and_look(cx, look),
            found => found,
        }
    }

    /// The same in one turn. No task is woken for what is looked for: only the driver brings it, and each look
    /// follows a turn of it.
    pub(super) fn drive_and_look<T>(
        &mut self,
        cx: &mut Context<'_>,
        look: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.drive(cx);
        look(&mut Context::from_waker(Waker::noop()))
    }

    /// The stream, and what was read of it beyond the last answer.
    pub(super) fn into_stream(self) -> (Socket, Bytes) {
        let Parts { io, read_buf, .. } = self.driver.into_parts();
        (io.into_inner(), read_buf)
    }

    /// A request comes: what was exchanged until now is forgotten. `may_repeat`: it may be sent twice.
    /// `progress` hears what becomes of its content, if it has any.
    pub(super) fn listen(&self, may_repeat: bool, progress: Option<Arc<Progress>>) {
        self.notes.listen(may_repeat, progress);
    }

    /// The request once more, if it may be sent twice, and no byte of an answer to it has come.
    pub(super) fn unheard_request(&self) -> Option<Request<Outgoing>> {
        if self.notes.has_heard() { None } else { again::read(&self.notes.take_sent()) }
    }

    /// Where the request or the answer under way ends can be read in two ways: what comes after it is
    /// nobody's.
    pub(super) fn distrust(&mut self) {
        self.is_distrusted = true;
    }

    /// Whether everything of the last exchange is over and the origin would take another request.
    pub(super) fn is_reusable(&self) -> bool {
        !self.is_over && !self.is_distrusted && self.sender.is_ready()
    }

    /// Whether nothing has come from the origin since, not even its end.
    pub(super) fn is_quiet(&self) -> bool {
        self.plain.is_quiet()
    }
}
