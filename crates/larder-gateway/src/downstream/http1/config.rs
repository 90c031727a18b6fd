//! What one HTTP/1.1 connection of a reader may take, in bytes and in time.

use std::{sync::Arc, time::Duration};

use http::uri::Authority;
use larder::http::policy::scheme::Scheme;
use tokio_util::sync::CancellationToken;

use crate::access::AccessLog;
use crate::downstream::{
    counters::Counters, farewell::Farewell, pace::MinRate, tls::ServedNames, under_way::UnderWay,
};
use crate::own_answers::OwnAnswers;

/// The most header fields that [`Http1Config::max_fields`] can allow.
pub(crate) const FIELDS_LIMIT: usize = 256;

/// Limits of a reader's connection. Every field has a default: `Http1Config { idle_timeout, ..Default::default() }`.
#[derive(Clone, Debug)]
pub struct Http1Config {
    /// The most bytes of a request's head, its blank line included; larger is answered 431. Also how
    /// far the connection reads ahead while it works. Default 64 KiB: browsers with many cookies stay
    /// below a quarter of it.
    pub max_head_bytes: usize,
    /// The most bytes of a request line; longer is answered 414. Default 16 KiB.
    pub max_request_line_bytes: usize,
    /// The most header fields of a request; more is answered 431. Default 128, and never more than 256.
    pub max_fields: usize,
    /// From the first byte of a request to the end of its head; slower is answered 408. Default 30 s. Once
    /// the connection is to make room, or the server to stop, what is left of the head has
    /// `linger_timeout`.
    pub head_timeout: Duration,
    /// How long a connection may stay without a request before it is closed without a word. Default
    /// 75 s, longer than the 60 s after which common load balancers close theirs: the side that sends
    /// requests should be the one that closes.
    pub idle_timeout: Duration,
    /// How long the service may wait for the next bytes of a request's body; slower is answered 408
    /// where the answer has not begun. Default 3 minutes: `min_rate` lets nobody wait for longer, as it is by default.
    pub body_timeout: Duration,
    /// How long a reader may take nothing of an answer that waits for it. Default 3 minutes, as above.
    pub write_timeout: Duration,
    /// How fast heads and uploads have to come, and answers to be taken. [`MinRate`] has a table of what bounds
    /// what. Default 1 KiB a second over 30 s.
    pub min_rate: MinRate,
    /// The most of `body_timeout` and `write_timeout` that is left once the connection is to make room, or the
    /// server to stop: a reader that sends or takes nothing for so long, or goes below `min_rate` over that time, is
    /// cut off, and one that did so before is at once. Over HTTP/2: one for which all streams wait. Default 3 s;
    /// the system says only every 64 KiB that a reader has taken something, which 22 kB/s make of it.
    pub stalled_timeout: Duration,
    /// How long the head of an answer is waited for after its reader has closed its side (RFC 9112 §9.6).
    /// That may say that it sends no more, or that it has left: the two look the same until something is
    /// written. Where others wait in vain for room, not at all ([`FastPath::is_crowded`](super::FastPath::is_crowded)).
    /// Default 10 s.
    pub half_closed_timeout: Duration,
    /// How long, after the last answer, a connection is read on and what comes thrown away: closing
    /// at once would reset it, and the answer might be lost with that (RFC 9112 §9.6). TLS's own farewell
    /// may take as long. Default 2 s.
    pub linger_timeout: Duration,
    /// How many bytes of a request's body that is not wanted are thrown away to keep the connection;
    /// beyond, it is closed. Default 64 KiB.
    pub max_discarded_bytes: u64,
    /// The most bytes of a request's content; more is answered 413: at once where its length is said, and otherwise once
    /// it is exceeded, when it goes no further. Default no bound: content passes to the service as it comes, and takes no
    /// memory here.
    pub max_request_body: Option<u64>,
    /// How many streams a reader may have open at once on a connection of HTTP/2. Default 100, which is the
    /// most as well: the number that RFC 9113 §6.5.2 names as the least that does not hold a reader back.
    pub max_streams: u32,
    /// After so many requests a connection ends with the answer. Default no bound.
    pub max_requests_per_connection: Option<u64>,
    /// A connection ends with the first answer after about so long, a tenth more or less. Default no bound.
    pub max_connection_age: Option<Duration>,
    /// Who an HTTP/1.0 request without `Host` is for. Default `localhost`.
    pub default_authority: Authority,
    /// How requests come on this connection; one for a target of another scheme is answered 421.
    /// Default in the open; that is also what to change where TLS ends before this listener.
    /// On a [`Server`](crate::Server) with a certificate it is always over TLS.
    pub scheme: Scheme,
    /// Whether a target of the other scheme is taken all the same, as one of the connection's: gateways that end TLS
    /// before this listener name what their readers asked for (RFC 9110 §7.4). Default false.
    pub takes_other_scheme: bool,
    /// Which hosts a connection may be asked for, where its reader was shown one certificate of several; one for
    /// another is answered 421. Default all.
    pub served: Option<ServedNames>,
    /// Fields of what is answered here, instead of by the service. Default none but its own.
    pub own_answers: OwnAnswers,
    /// Where each request has a line. Default nowhere.
    pub access_log: Option<AccessLog>,
    /// Where is said which answers are under way. Default nowhere.
    pub under_way: Option<UnderWay>,
    /// Cancelled when connections that have switched protocols are to end: at their first pause, and within
    /// `stalled_timeout`. They do not make room for others. On a [`Server`](crate::Server) that is `stalled_timeout`
    /// before the end of its grace. Default never.
    pub drain: CancellationToken,
    /// Said when connections are to end with their next answers. Default never.
    pub farewell: Farewell,
    /// Where is counted what happens on the connections. Default counters of its own; clones of this share
    /// them.
    pub counters: Arc<Counters>,
}

impl Http1Config {
    /// Whether a request may have content of so many bytes.
    pub(crate) fn takes_content(&self, bytes: u64) -> bool {
        self.max_request_body.is_none_or(|most| bytes <= most)
    }
}

impl Default for Http1Config {
    fn default() -> Self {
        Http1Config {
            max_head_bytes: 64 << 10,
            max_request_line_bytes: 16 << 10,
            max_fields: 128,
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(180),
            write_timeout: Duration::from_secs(180),
            min_rate: MinRate::default(),
            stalled_timeout: Duration::from_secs(3),
            half_closed_timeout: Duration::from_secs(10),
            linger_timeout: Duration::from_secs(2),
            max_discarded_bytes: 64 << 10,
            max_request_body: None,
            max_streams: 100,
            max_requests_per_connection: None,
            max_connection_age: None,
            default_authority: Authority::from_static("localhost"),
            scheme: Scheme::Http,
            takes_other_scheme: false,
            served: None,
            own_answers: OwnAnswers::default(),
            access_log: None,
            under_way: None,
            drain: CancellationToken::new(),
            farewell: Farewell::default(),
            counters: Arc::default(),
        }
    }
}
