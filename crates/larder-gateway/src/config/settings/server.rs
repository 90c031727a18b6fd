//! The check of what all listeners and their connections have in common.

use super::{
    Listener, Running, Secrets,
    check::{Check, first_line},
    connection::number,
};
use crate::{
    GatewayConfig, ServerConfig,
    config::parts::{ReadYourWritesPart, Server},
    downstream::http1::Http1Config,
    gateway::{ReadYourWrites, UpgradeLimits},
};

/// More than any machine has processors.
const MOST_THREADS: usize = 1024;

impl Check<'_> {
    pub(super) fn server(&mut self, server: &Server) -> ServerConfig {
        if server.threads.is_some_and(|count| count.0.get() > MOST_THREADS) {
            self.note(
                "server.threads",
                format!("the most is {MOST_THREADS}: one for each processor is enough"),
            );
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
        let http1 = self.connection("server", server.into(), &Http1Config::default());
        // Each route has it, or one of its own.
        let http1 = Http1Config { max_request_body: None, ..http1 };
        let usual = ServerConfig::default();
        let of_handshake = server.tls.handshake_timeout.as_ref();
        let handshake_timeout = self.time("server.tls.handshake_timeout", of_handshake);
        ServerConfig {
            max_connections_per_address: server.max_connections_per_address.map(|of| of.0.get()),
            backlog: server.backlog.map_or(usual.backlog, number),
            grace: self.time_or_none("server.drain", server.drain.as_ref()).unwrap_or(usual.grace),
            max_handshakes: server
                .tls
                .max_handshakes
                .map_or(usual.max_handshakes, |max| max.0.get()),
            handshake_timeout: handshake_timeout.unwrap_or(usual.handshake_timeout),
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
        let rate = self.rate("server", server.requests_per_address, server.requests_burst);
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
