//! Access log: one line for each request, written behind the backs of all who wait.
//!
//! ```text
//! exchange ─▶ [entry: what came of it, on every way out] ─▶ [line: as text] ─▶ [queue, bounded] ─▶ thread ─▶ file
//! ```
//!
//! Neither a request nor an event loop ever waits for the log: a full disk, or a pipe that is not read, loses lines,
//! which are counted. No field of a request is told but those that a `Line` has: no cookies, no
//! credentials.

mod config;
mod entry;
mod escape;
mod line;
mod note;
mod sample;
mod writer;

use std::{
    cell::RefCell,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use http::StatusCode;
use larder::http::{HitResponse, policy::fields::FieldLine};

pub use self::config::{AccessLogConfig, Addresses, Destination, Format, Query};
pub(crate) use self::{
    entry::{Entry, Head},
    note::{Note, Verdict},
};
use self::{
    line::{Asked, Ended, Line},
    sample::is_chosen,
    writer::{Out, Queue},
};
use crate::downstream::{Peer, TlsFacts};

/// The access log of a process, as one of its listeners has it. Clones are the same log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    /// The name of the listener whose lines it is given.
    listener: Arc<str>,
}

#[derive(Debug)]
struct Shared {
    config: AccessLogConfig,
    queue: Queue,
    left_out: AtomicU64,
}

/// What became of lines so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessLogCounts {
    /// Written.
    pub written: u64,
    /// Lost: they were not written fast enough, or not at all.
    pub lost: u64,
    /// Left out by the sample.
    pub left_out: u64,
}

thread_local! {
    /// Where a line is put together: one for all requests of a thread, since each is done with it before it waits.
    static DESK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl AccessLog {
    /// Opens the file, and starts the thread that writes to it.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or the system gives no thread.
    pub fn start(config: AccessLogConfig) -> io::Result<AccessLog> {
        let out = Out::open(config.to.clone())?;
        let queue = Queue::new(config.buffer_bytes);
        let shared = Arc::new(Shared { config, queue, left_out: AtomicU64::new(0) });
        let writer = Arc::clone(&shared);
        let thread = thread::Builder::new().name("larder-access".to_owned());
        thread.spawn(move || writer.queue.write_to(out))?;
        Ok(AccessLog { shared, listener: "".into() })
    }

    /// The same log, for the listener with this name: its lines tell it.
    pub fn at(&self, listener: &str) -> AccessLog {
        AccessLog { shared: Arc::clone(&self.shared), listener: listener.into() }
    }

    pub(crate) fn listener(&self) -> &str {
        &self.listener
    }

    /// Has the file opened anew under its name, for whoever has moved the one before away. No line is lost by that.
    pub fn reopen(&self) {
        self.shared.queue.reopen();
    }

    /// Waits until all lines are written, or `within` is over.
    pub fn flush(&self, within: Duration) {
        self.shared.queue.wait_until_written(within);
    }

    /// The counts now.
    pub fn counts(&self) -> AccessLogCounts {
        let Shared { queue, left_out, .. } = &*self.shared;
        AccessLogCounts {
            written: queue.written.load(Relaxed),
            lost: queue.lost.load(Relaxed),
            left_out: left_out.load(Relaxed),
        }
    }

    /// A plain hit that was answered where it lay.
    pub(crate) fn hit(&self, hit: Hit<'_, '_>, served: &HitResponse) {
        let status = served.status().as_u16();
        if !self.wants(status, Ended::Whole) {
            return;
        }
        let total = hit.began.elapsed();
        self.write(&Line {
            at: SystemTime::now(),
            client: hit.client,
            listener: &self.listener,
            tls: hit.tls,
            asked: hit.asked(),
            status,
            bytes: served.content().len() as u64,
            cache: Verdict::HIT,
            age: Some(served.age().as_secs()),
            upstream: None,
            total,
            first_byte: Some(total),
            origin: None,
            ended: Ended::Whole,
        });
    }

    /// A request that was refused before it was understood, by an answer with so many bytes of content.
    pub(crate) fn refused(
        &self,
        peer: &Peer,
        (status, bytes): (StatusCode, usize),
        why: &'static str,
    ) {
        self.write(&Line {
            at: SystemTime::now(),
            client: peer.ip(),
            listener: &self.listener,
            tls: peer.tls,
            asked: Asked::default(),
            status: status.as_u16(),
            bytes: bytes as u64,
            cache: Verdict::default(),
            age: None,
            upstream: None,
            total: Duration::ZERO,
            first_byte: None,
            origin: None,
            ended: Ended::Refused(why),
        });
    }

    /// Whether the sample has this one. What went wrong is told in any case.
    fn wants(&self, status: u16, ended: Ended) -> bool {
        let is_told =
            status >= 400 || ended != Ended::Whole || is_chosen(self.shared.config.sample);
        if !is_told {
            self.shared.left_out.fetch_add(1, Relaxed);
        }
        is_told
    }

    fn write(&self, line: &Line<'_>) {
        DESK.with_borrow_mut(|desk| {
            desk.clear();
            line::write(line, &self.shared.config, desk);
            self.shared.queue.push(desk);
        });
    }
}

/// A plain hit, as it lies in its connection's buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit<'r, 'l> {
    pub(crate) client: Option<IpAddr>,
    pub(crate) tls: Option<TlsFacts>,
    pub(crate) began: Instant,
    pub(crate) scheme: &'static str,
    pub(crate) method: &'r str,
    pub(crate) host: &'r [u8],
    pub(crate) target: &'r [u8],
    pub(crate) lines: &'l [FieldLine<'r>],
}

impl Hit<'_, '_> {
    fn asked(&self) -> Asked<'_> {
        let mut asked = Asked {
            method: self.method.as_bytes(),
            scheme: self.scheme,
            host: self.host,
            target: self.target,
            protocol: "HTTP/1.1",
            ..Asked::default()
        };
        for line in self.lines {
            match line.name.len() {
                7 if line.name.eq_ignore_ascii_case(b"referer") => asked.referer = line.value,
                10 if line.name.eq_ignore_ascii_case(b"user-agent") => {
                    asked.user_agent = line.value
                }
                _ => {}
            }
        }
        asked
    }
}
