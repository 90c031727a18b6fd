//! The check of what all listeners and their connections have in common.

use std::time::Duration;

use super::{
    Listener, Running, Secrets,
    check::{Check, bytes, first_line},
};
use crate::{
    GatewayConfig, RateLimit, ServerConfig,
    config::{
        parts::{ReadYourWritesPart, Server},
        value::{Count, Time},
    },
    downstream::{
        MinRate,
        http1::{FIELDS_LIMIT, Http1Config},
        http2::limits::MAX_STREAMS,
    },
    gateway::{ReadYourWrites, UpgradeLimits},
};

/// More than any machine has processors.
const MOST_THREADS: usize = 1024;

fn number(count: Count) -> u32 {
    u32::try_from(count.0.get()).unwrap_or(u32::MAX)
}

impl Check<'_> {
    pub(super) fn server(&mut self, server: &Server) -> ServerConfig {
        let usual = Http1Config::default();
        let time = |check: &mut Self, key, said: &Option<Time>, usual| {
            check.time(&format!("server.{key}"), said.as_ref()).unwrap_or(usual)
        };
        let usual_rate = MinRate::default();
        let min_rate = MinRate {
            bytes_per_second: server
                .min_rate
                .as_ref()
                .map_or(usual_rate.bytes_per_second, |size| size.0.as_u64()),
            period: time(self, "min_rate_period", &server.min_rate_period, usual_rate.period),
        };
        if min_rate.period < Duration::from_secs(1) && !min_rate.period.is_zero() {
            self.note("server.min_rate_period", "say 1s or more");
        }
        let max_head_bytes =
            self.head("server.max_head", server.max_head.as_ref(), usual.max_head_bytes);
        let max_request_line_bytes = server.max_request_line.as_ref().map(bytes);
        let max_request_line_bytes =
            max_request_line_bytes.unwrap_or(usual.max_request_line_bytes.min(max_head_bytes));
        let is_said = server.max_request_line.is_some();
        if is_said && max_request_line_bytes > max_head_bytes {
            let what =
                "a request's first line is a part of its head: max_request_line is above max_head";
            self.note("server.max_request_line", what);
        }
        if is_said && max_request_line_bytes < 64 {
            self.note("server.max_request_line", "that is too little for any address");
        }
        if server.threads.is_some_and(|count| count.0.get() > MOST_THREADS) {
            self.note(
                "server.threads",
                format!("the most is {MOST_THREADS}: one for each processor is enough"),
            );
        }
        let max_fields = server.max_fields.map_or(usual.max_fields, |count| count.0.get());
        if max_fields > FIELDS_LIMIT {
            self.note("server.max_fields", format!("the most is {FIELDS_LIMIT}"));
        }
        if let (Some(of_one), Some(of_all)) =
            (server.max_connections_per_address, server.max_connections)
            && of_one.0 > of_all.0
        {
            let (of_one_name, of_all_name) = (
                self.places.name("server.max_connections_per_address").to_owned(),
                self.places.name("server.max_connections").to_owned(),
            );
            let what = format!("{of_one_name} {} is above {of_all_name} {}", of_one.0, of_all.0);
            self.note("server.max_connections_per_address", what);
        }
        let http1 = Http1Config {
            max_head_bytes,
            max_request_line_bytes,
            max_fields,
            head_timeout: time(self, "head_timeout", &server.head_timeout, usual.head_timeout),
            idle_timeout: time(self, "idle_timeout", &server.idle_timeout, usual.idle_timeout),
            body_timeout: time(self, "body_timeout", &server.body_timeout, usual.body_timeout),
            write_timeout: time(self, "write_timeout", &server.write_timeout, usual.write_timeout),
            min_rate,
            max_streams: server.max_streams.map_or(usual.max_streams, number),
            max_requests_per_connection: server
                .max_requests_per_connection
                .map(|count| count.0.get() as u64),
            max_connection_age: self
                .time("server.max_connection_age", server.max_connection_age.as_ref()),
            stalled_timeout: time(
                self,
                "stalled_timeout",
                &server.stalled_timeout,
                usual.stalled_timeout,
            ),
            half_closed_timeout: time(
                self,
                "half_closed_timeout",
                &server.half_closed_timeout,
                usual.half_closed_timeout,
            ),
            linger_timeout: time(
                self,
                "linger_timeout",
                &server.linger_timeout,
                usual.linger_timeout,
            ),
            ..usual
        };
        if http1.max_streams > MAX_STREAMS {
            self.note("server.max_streams", format!("the most is {MAX_STREAMS}"));
        }
        if server.requests_burst.is_some() && server.requests_per_address.is_none() {
            let what = "there is no bound until requests_per_address says one";
            self.note("server.requests_burst", what);
        }
        let usual = ServerConfig::default();
        let of_handshake = &server.tls.handshake_timeout;
        ServerConfig {
            max_connections_per_address: server.max_connections_per_address.map(|of| of.0.get()),
            backlog: server.backlog.map_or(usual.backlog, number),
            grace: self.time_or_none("server.drain", server.drain.as_ref()).unwrap_or(usual.grace),
            max_handshakes: server
                .tls
                .max_handshakes
                .map_or(usual.max_handshakes, |max| max.0.get()),
            handshake_timeout: time(
                self,
                "tls.handshake_timeout",
                of_handshake,
                usual.handshake_timeout,
            ),
            http1,
            ..usual
        }
    }

    pub(super) fn running(&mut self, server: &Server) -> Running {
        let usual = Running::default();
        let delay = self.time_or_none("server.drain_delay", server.drain_delay.as_ref());
        let upgrade = self.time("server.upgrade_timeout", server.upgrade_timeout.as_ref());
        Running {
            drain_delay: delay.unwrap_or(usual.drain_delay),
            upgrade_timeout: upgrade.unwrap_or(usual.upgrade_timeout),
        }
    }

    pub(super) fn gateway(
        &mut self,
        server: &Server,
        listeners: &[Listener],
        secrets: Secrets,
    ) -> GatewayConfig {
        const PATH: &str = "server.explain_token_file";
        let of_file = server.explain_token_file.as_ref().and_then(|file| {
            let read = first_line(&self.places.resolve(PATH, file));
            read.map_err(|what| self.note(PATH, what)).ok()
        });
        // An empty one would be everybody's.
        let explain_token = secrets.explain_token.filter(|token| !token.is_empty()).or(of_file);
        self.doubt_of_token(PATH, explain_token.as_deref());
        let listeners = listeners.iter().map(|listener| listener.rules.clone()).collect();
        let usual = GatewayConfig::default();
        let name = server.name.as_ref().map_or_else(|| usual.name.clone(), |name| name.0.clone());
        let rate = server.requests_per_address.map(|per_second| {
            let burst = server.requests_burst.unwrap_or(per_second);
            RateLimit { per_second: number(per_second), burst: number(burst) }
        });
        if let (Some(of_one), Some(of_all)) = (server.max_upgrades_per_client, server.max_upgrades)
            && of_one.0 > of_all.0
        {
            let what =
                format!("max_upgrades_per_client {} is above max_upgrades {}", of_one.0, of_all.0);
            self.note("server.max_upgrades_per_client", what);
        }
        let of_upgrades = UpgradeLimits::default();
        let upgrades = UpgradeLimits {
            max: server.max_upgrades.map_or(of_upgrades.max, |count| count.0.get()),
            max_per_client: server.max_upgrades_per_client.map(|count| count.0.get()),
        };
        let trusted_readers = server.trusted_readers.iter().flatten().map(|peer| peer.0);
        let trusted_readers = trusted_readers.collect();
        let read_your_writes = self.read_your_writes(&server.read_your_writes);
        let sampled_hits =
            self.share("server.sampled_hits", server.sampled_hits, usual.sampled_hits);
        GatewayConfig {
            name,
            explain_token,
            request_ids: server.request_ids.unwrap_or(usual.request_ids),
            sampled_hits,
            listeners,
            trusted_readers,
            rate,
            upgrades,
            read_your_writes,
            ..usual
        }
    }

    fn read_your_writes(&mut self, part: &ReadYourWritesPart) -> Option<ReadYourWrites> {
        const FILE: &str = "server.read_your_writes.secret_file";
        const FOR: &str = "server.read_your_writes.for";
        let longest = ReadYourWrites::LONGEST;
        let lifetime = part.lifetime.as_ref().map_or(longest, |time| time.0);
        if lifetime.subsec_nanos() != 0 || lifetime.is_zero() || lifetime > longest {
            self.note(FOR, "cookies go by whole seconds: say 1s to 10s");
        }
        let file = part.secret_file.as_ref()?;
        let secret = first_line(&self.places.resolve(FILE, file));
        let secret = secret.map_err(|what| self.note(FILE, what)).ok()?;
        self.doubt_of_token(FILE, Some(&secret));
        Some(ReadYourWrites::new(&secret, lifetime))
    }
}
