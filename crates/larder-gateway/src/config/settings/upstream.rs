//! The check of one service.

use super::{Named, check::Check};
use crate::{
    config::{
        parts::UpstreamPart,
        value::{Count, Time},
    },
    upstream::UpstreamConfig,
};

impl Check<'_> {
    pub(super) fn upstream(&mut self, name: &str, part: &UpstreamPart) -> Option<Named> {
        let path = |key: &str| format!("upstream.{name}.{key}");
        let addresses = self.addresses(name, part);
        let origins = self.origins(name, part, addresses.as_ref().map_or(0, Vec::len));
        let usual = UpstreamConfig::default();
        let mut time = |key: &str, said: &Option<Time>| self.time(&path(key), said.as_ref());
        let connect = time("connect_timeout", &part.connect_timeout);
        let first_byte = time("first_byte_timeout", &part.first_byte_timeout);
        let idle_body = time("idle_body_timeout", &part.idle_body_timeout);
        let whole_timeout = time("whole_timeout", &part.whole_timeout);
        let wait = time("wait_timeout", &part.wait_timeout);
        let idle = time("idle_timeout", &part.idle_timeout);
        for (key, part_of_it) in [
            ("connect_timeout", connect),
            ("first_byte_timeout", first_byte),
            ("idle_body_timeout", idle_body),
            ("wait_timeout", wait),
        ] {
            if let (Some(part_of_it), Some(whole)) = (part_of_it, whole_timeout)
                && part_of_it > whole
            {
                let shown = humantime::format_duration;
                let what = format!(
                    "{key} ({}) is above whole_timeout ({}), which ends it before",
                    shown(part_of_it),
                    shown(whole)
                );
                self.note(&path(key), what);
            }
        }
        let count = |said: Option<Count>, usual| said.map_or(usual, |count| count.0.get());
        let max_fields = count(part.max_fields, usual.max_fields);
        if max_fields > 10_000 {
            self.note(&path("max_fields"), "the most is 10000");
        }
        let config = UpstreamConfig {
            connect_timeout: connect.unwrap_or(usual.connect_timeout),
            first_byte_timeout: first_byte.unwrap_or(usual.first_byte_timeout),
            idle_body_timeout: idle_body.unwrap_or(usual.idle_body_timeout),
            whole_timeout: whole_timeout.or(usual.whole_timeout),
            wait_timeout: wait.unwrap_or(usual.wait_timeout),
            max_connections: count(part.max_connections, usual.max_connections),
            max_waiting: count(part.max_waiting, usual.max_waiting),
            max_idle: count(part.max_idle, usual.max_idle),
            idle_timeout: idle.unwrap_or(usual.idle_timeout),
            max_head_bytes: self.head(
                &path("max_head"),
                part.max_head.as_ref(),
                usual.max_head_bytes,
            ),
            max_fields,
            ..usual
        };
        Some(Named { name: name.to_owned(), addresses: addresses?, config, origins })
    }
}
