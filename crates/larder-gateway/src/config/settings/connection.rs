//! The check of what a connection may take: as `[server]` says it for all, and a `[[listener]]` for its own.

use std::time::Duration;

use super::check::{Check, bytes};
use crate::{
    RateLimit,
    config::{
        parts::{ListenerPart, Server},
        value::{Count, Size, Time},
    },
    downstream::{
        MinRate,
        http1::{FIELDS_LIMIT, Http1Config},
        http2::limits::MAX_STREAMS,
    },
};

/// The keys that both tables have.
pub(super) struct ConnectionKeys<'a> {
    min_rate: Option<&'a Size>,
    min_rate_period: Option<&'a Time>,
    head_timeout: Option<&'a Time>,
    idle_timeout: Option<&'a Time>,
    body_timeout: Option<&'a Time>,
    write_timeout: Option<&'a Time>,
    stalled_timeout: Option<&'a Time>,
    half_closed_timeout: Option<&'a Time>,
    linger_timeout: Option<&'a Time>,
    max_head: Option<&'a Size>,
    max_request_line: Option<&'a Size>,
    max_fields: Option<Count>,
    max_request_body: Option<&'a Size>,
    max_streams: Option<Count>,
    max_requests_per_connection: Option<Count>,
    max_connection_age: Option<&'a Time>,
}

macro_rules! keys_of {
    ($($part:ty),*) => {$(
        impl<'a> From<&'a $part> for ConnectionKeys<'a> {
            fn from(part: &'a $part) -> Self {
                ConnectionKeys {
                    min_rate: part.min_rate.as_ref(),
                    min_rate_period: part.min_rate_period.as_ref(),
                    head_timeout: part.head_timeout.as_ref(),
                    idle_timeout: part.idle_timeout.as_ref(),
                    body_timeout: part.body_timeout.as_ref(),
                    write_timeout: part.write_timeout.as_ref(),
                    stalled_timeout: part.stalled_timeout.as_ref(),
                    half_closed_timeout: part.half_closed_timeout.as_ref(),
                    linger_timeout: part.linger_timeout.as_ref(),
                    max_head: part.max_head.as_ref(),
                    max_request_line: part.max_request_line.as_ref(),
                    max_fields: part.max_fields,
                    max_request_body: part.max_request_body.as_ref(),
                    max_streams: part.max_streams,
                    max_requests_per_connection: part.max_requests_per_connection,
                    max_connection_age: part.max_connection_age.as_ref(),
                }
            }
        }
    )*};
}

keys_of!(Server, ListenerPart);

pub(super) fn number(count: Count) -> u32 {
    u32::try_from(count.0.get()).unwrap_or(u32::MAX)
}

impl Check<'_> {
    /// What a connection may take by the keys of the table at `path`. What they leave out is as `usual` has it.
    pub(super) fn connection(
        &mut self,
        path: &str,
        keys: ConnectionKeys<'_>,
        usual: &Http1Config,
    ) -> Http1Config {
        let at = |key: &str| format!("{path}.{key}");
        let mut time = |key: &str, said: Option<&Time>, usual: Duration| {
            self.time(&at(key), said).unwrap_or(usual)
        };
        let head_timeout = time("head_timeout", keys.head_timeout, usual.head_timeout);
        let idle_timeout = time("idle_timeout", keys.idle_timeout, usual.idle_timeout);
        let body_timeout = time("body_timeout", keys.body_timeout, usual.body_timeout);
        let write_timeout = time("write_timeout", keys.write_timeout, usual.write_timeout);
        let stalled_timeout = time("stalled_timeout", keys.stalled_timeout, usual.stalled_timeout);
        let half_closed_timeout =
            time("half_closed_timeout", keys.half_closed_timeout, usual.half_closed_timeout);
        let linger_timeout = time("linger_timeout", keys.linger_timeout, usual.linger_timeout);
        let period = time("min_rate_period", keys.min_rate_period, usual.min_rate.period);
        if keys.min_rate_period.is_some() && period < Duration::from_secs(1) && !period.is_zero() {
            self.note(&at("min_rate_period"), "say 1s or more");
        }
        let of_rate = keys.min_rate.map(|size| size.0.as_u64());
        let bytes_per_second = of_rate.unwrap_or(usual.min_rate.bytes_per_second);
        let max_head_bytes = self.head(&at("max_head"), keys.max_head, usual.max_head_bytes);
        let max_request_line_bytes =
            self.request_line(path, keys.max_request_line, (max_head_bytes, usual));
        let max_fields = keys.max_fields.map_or(usual.max_fields, |count| count.0.get());
        if keys.max_fields.is_some() && max_fields > FIELDS_LIMIT {
            self.note(&at("max_fields"), format!("the most is {FIELDS_LIMIT}"));
        }
        let max_streams = keys.max_streams.map_or(usual.max_streams, number);
        if keys.max_streams.is_some() && max_streams > MAX_STREAMS {
            self.note(&at("max_streams"), format!("the most is {MAX_STREAMS}"));
        }
        let of_body = keys.max_request_body.map(|size| size.0.as_u64());
        let requests = keys.max_requests_per_connection.map(|count| count.0.get() as u64);
        let age = self.time(&at("max_connection_age"), keys.max_connection_age);
        Http1Config {
            max_head_bytes,
            max_request_line_bytes,
            max_fields,
            head_timeout,
            idle_timeout,
            body_timeout,
            write_timeout,
            min_rate: MinRate { bytes_per_second, period },
            max_request_body: of_body.or(usual.max_request_body),
            max_streams,
            max_requests_per_connection: requests.or(usual.max_requests_per_connection),
            max_connection_age: age.or(usual.max_connection_age),
            stalled_timeout,
            half_closed_timeout,
            linger_timeout,
            ..usual.clone()
        }
    }

    /// It is a part of the head.
    fn request_line(
        &mut self,
        path: &str,
        said: Option<&Size>,
        (max_head_bytes, usual): (usize, &Http1Config),
    ) -> usize {
        let path = format!("{path}.max_request_line");
        let Some(said) = said.map(bytes) else {
            return usual.max_request_line_bytes.min(max_head_bytes);
        };
        if said > max_head_bytes {
            let what =
                "a request's first line is a part of its head: max_request_line is above max_head";
            self.note(&path, what);
        }
        if said < 64 {
            self.note(&path, "that is too little for any address");
        }
        said
    }

    /// How many requests an address may send, by the keys of the table at `path`.
    pub(super) fn rate(
        &mut self,
        path: &str,
        per_second: Option<Count>,
        burst: Option<Count>,
    ) -> Option<RateLimit> {
        if burst.is_some() && per_second.is_none() {
            let what = "there is no bound until requests_per_address says one";
            self.note(&format!("{path}.requests_burst"), what);
        }
        let per_second = per_second?;
        let burst = number(burst.unwrap_or(per_second));
        Some(RateLimit { per_second: number(per_second), burst })
    }
}
