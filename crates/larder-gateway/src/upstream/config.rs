//! What an upstream may take, in time and in connections.

use std::time::Duration;

use http::HeaderValue;

use super::tls::OriginTls;

/// Which version of HTTP an origin is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What both sides can do, over TLS; HTTP/1.1 in the open.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which the origin is known to speak.
    Http2,
}

/// Limits towards one origin. Every field has a default: `UpstreamConfig { connect_timeout, ..Default::default() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Name lookup, connecting and the handshakes of TLS and HTTP/2 together. Default 3 s: a second SYN is sent after
    /// one.
    pub connect_timeout: Duration,
    /// From the last of the request that was sent to the head of the final answer, however many interim
    /// answers come before it. Default 60 s.
    pub first_byte_timeout: Duration,
    /// How long the content of a request that asks the origin first (`Expect: 100-continue`) is
    /// held back while the origin says nothing: some never answer that, and it must not be waited for
    /// without end (RFC 9110 §10.1.1). Default 1 s, as long as curl waits itself.
    pub continue_timeout: Duration,
    /// Between two pieces of the answer's body, counted while somebody asks for the next. Default 60 s.
    pub idle_body_timeout: Duration,
    /// From the call to the last byte of the answer, waiting for a connection included; `None`, the
    /// default, for no limit: a large answer to a slow reader may take an hour.
    pub whole_timeout: Option<Duration>,
    /// Connections to the origin on which an answer is waited for, or is so short that it is here with its
    /// head, and idle ones, together. Default 3072: as many as there are turns in `larder serve`, so that
    /// a request that has a turn has a connection, and where an answer turns out to be for one reader each, a crowd
    /// that waited for it goes on in one wave, not in several of its length.
    pub max_connections: usize,
    /// Connections beside those on which an answer's body is under way: streams that stay open, long
    /// downloads. They may take none of those that requests wait for. Default 8192. Where there are so many, a
    /// stream that says that it has no end (`text/event-stream` and its kin) is turned away; what has an end goes on on
    /// the connection that it has.
    pub max_streams: usize,
    /// How long a request may wait for a connection while all are in use. Default 10 s.
    pub wait_timeout: Duration,
    /// How many requests may wait so; one more is turned away at once. Default 4096.
    pub max_waiting: usize,
    /// How many connections are kept for later requests. Default 64.
    pub max_idle: usize,
    /// How long they are kept. Default 4 s: shorter than the 5 s after which Node.js, uvicorn and
    /// Apache httpd close theirs, because a request that meets a closing connection fails.
    pub idle_timeout: Duration,
    /// The most bytes of an answer's head. Default 128 KiB; browsers take 256 KiB.
    pub max_head_bytes: usize,
    /// The most header fields of an answer. Default 256; 100 costs each answer a little less than any
    /// other number.
    pub max_fields: usize,
    /// What `Host` (in HTTP/2 `:authority`) says to the origin. Default what the reader has said.
    pub host: Option<HeaderValue>,
    /// The version of HTTP. Default [`Protocol::Auto`]; an `h2c://` origin is spoken to in HTTP/2 whatever this says.
    pub protocol: Protocol,
    /// What a connection to an `https://` origin needs: without it there is none. Default none.
    pub tls: Option<OriginTls>,
    /// How often an origin's name is looked up again. Default 30 s. The system's resolver, which knows all that the
    /// machine knows of names, tells no TTL.
    pub resolve_every: Duration,
    /// Over HTTP/2: how many requests may be under way on one connection, and no more than the origin allows. Default 100.
    pub max_requests_per_connection: usize,
    /// Over HTTP/2: how much of an answer may come before its reader takes it. Default 128 KiB, as much as is held of an
    /// answer over HTTP/1.1.
    pub stream_window_bytes: u32,
    /// Over HTTP/2: after so long without a sign of life on a connection with requests under way it is asked for one (PING),
    /// and after as long again it is given up. Default 15 s.
    pub ping_every: Duration,
}

/// Put into a request's extensions as an `Arc`: how long it may take, where that is another time than its upstream
/// allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Its answer is a stream that may pause, or a long poll: what no time is said for may take any. Its connection
    /// counts among [`max_streams`](UpstreamConfig::max_streams) from the beginning.
    pub is_stream: bool,
    /// Instead of [`first_byte_timeout`](UpstreamConfig::first_byte_timeout).
    pub first_byte: Option<Duration>,
    /// Instead of [`idle_body_timeout`](UpstreamConfig::idle_body_timeout).
    pub idle_body: Option<Duration>,
    /// Instead of [`whole_timeout`](UpstreamConfig::whole_timeout).
    pub whole: Option<Duration>,
}

/// How long one request may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) is_stream: bool,
    pub(crate) first_byte: Duration,
    pub(crate) idle_body: Duration,
    pub(crate) whole: Option<Duration>,
}

impl UpstreamConfig {
    /// The limits of a request with these times.
    pub(crate) fn limits(&self, times: Option<&Times>) -> Limits {
        let usual = Limits {
            is_stream: false,
            first_byte: self.first_byte_timeout,
            idle_body: self.idle_body_timeout,
            whole: self.whole_timeout,
        };
        let Some(times) = times else { return usual };
        let or_else = |said: Option<Duration>, usual| match times.is_stream {
            true => said.unwrap_or(Duration::MAX),
            false => said.unwrap_or(usual),
        };
        Limits {
            is_stream: times.is_stream,
            first_byte: or_else(times.first_byte, usual.first_byte),
            idle_body: or_else(times.idle_body, usual.idle_body),
            whole: times.whole.or(usual.whole.filter(|_| !times.is_stream)),
        }
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        UpstreamConfig {
            connect_timeout: Duration::from_secs(3),
            first_byte_timeout: Duration::from_secs(60),
            continue_timeout: Duration::from_secs(1),
            idle_body_timeout: Duration::from_secs(60),
            whole_timeout: None,
            max_connections: 3072,
            max_streams: 8192,
            wait_timeout: Duration::from_secs(10),
            max_waiting: 4096,
            max_idle: 64,
            idle_timeout: Duration::from_secs(4),
            max_head_bytes: 128 << 10,
            max_fields: 256,
            host: None,
            protocol: Protocol::Auto,
            tls: None,
            resolve_every: Duration::from_secs(30),
            max_requests_per_connection: 100,
            stream_window_bytes: 128 << 10,
            ping_every: Duration::from_secs(15),
        }
    }
}
