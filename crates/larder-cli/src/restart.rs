//! Restart: which keys of a file that has changed a running gateway cannot follow.
//!
//! `[upstream.NAME]`, `[[route]]`, `[defaults]` and `[purge]` hold at once, whole. Of the other tables the keys below do.

use std::collections::BTreeSet;

use larder_gateway::config::Config;
use serde_json::Value;

/// Looked at with each request, or each handshake. A list's elements have no numbers here.
const AT_ONCE: [&str; 26] = [
    "admin.read_token_file",
    "admin.write_token_file",
    "listener.forwarded",
    "listener.max_request_body",
    "listener.redirect_to_https",
    "listener.requests_burst",
    "listener.requests_per_address",
    "listener.tls.unknown_names",
    "listener.trusted_peers",
    "server.explain_token_file",
    "server.forwarded",
    "server.max_request_body",
    "server.max_upgrades",
    "server.max_upgrades_per_client",
    "server.name",
    "server.read_your_writes.for",
    "server.read_your_writes.secret_file",
    "server.redirect_to_https",
    "server.reload",
    "server.request_ids",
    "server.requests_burst",
    "server.requests_per_address",
    "server.sampled_hits",
    "server.tls.unknown_names",
    "server.trusted_peers",
    "server.trusted_readers",
];

/// Shown from the next handshake on, where there were any before.
const CERTIFICATES: [&str; 6] = [
    "admin.tls.certificate",
    "admin.tls.key",
    "listener.tls.certificate",
    "listener.tls.key",
    "server.tls.certificate",
    "server.tls.key",
];

/// More of them, beside the first.
const MORE_CERTIFICATES: [&str; 2] = ["listener.tls.more", "server.tls.more"];

/// The keys that differ and that a gateway which was started with `running` cannot change.
pub(crate) fn needed_for(running: &Config, now: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    for ((name, before), (_, after)) in parts(running).into_iter().zip(parts(now)) {
        differing(name, &before, &after, &mut keys);
    }
    keys
}

/// All tables in which something needs a restart.
fn parts(config: &Config) -> [(&'static str, Value); 10] {
    [
        ("server", serde_json::to_value(&config.server)),
        ("listener", serde_json::to_value(&config.listener)),
        ("admin", serde_json::to_value(&config.admin)),
        ("memory", serde_json::to_value(&config.memory)),
        ("shared", serde_json::to_value(&config.shared)),
        ("cdn", serde_json::to_value(&config.cdn)),
        ("outbox", serde_json::to_value(&config.outbox)),
        ("log", serde_json::to_value(&config.log)),
        ("access_log", serde_json::to_value(&config.access_log)),
        ("tracing", serde_json::to_value(&config.tracing)),
    ]
    .map(|(name, part)| (name, part.unwrap_or_default()))
}

fn differing(path: &str, before: &Value, after: &Value, keys: &mut Vec<String>) {
    if before == after || holds_at_once(&without_numbers(path), before, after) {
        return;
    }
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let of_both = before.keys().chain(after.keys()).collect::<BTreeSet<_>>();
            for key in of_both {
                let [before, after] = [before, after].map(|table| table.get(key));
                let [before, after] = [before, after].map(|value| value.unwrap_or(&Value::Null));
                differing(&format!("{path}.{key}"), before, after, keys);
            }
        }
        (Value::Array(before), Value::Array(after))
            if before.len() == after.len() && before.iter().all(Value::is_object) =>
        {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                differing(&format!("{path}[{}]", index + 1), before, after, keys);
            }
        }
        _ => keys.push(path.to_owned()),
    }
}

fn holds_at_once(key: &str, before: &Value, after: &Value) -> bool {
    let are_both_there = !before.is_null() && !after.is_null();
    AT_ONCE.contains(&key)
        || MORE_CERTIFICATES.contains(&key)
        || (CERTIFICATES.contains(&key) && are_both_there)
}

/// `listener[2].name` is `listener.name`.
fn without_numbers(path: &str) -> String {
    let parts = path.split('.').map(|part| part.split('[').next().unwrap_or(part));
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use larder_gateway::config::{keys, read_on};

    use super::*;

    /// Tables of which all holds at once.
    const WHOLE: [&str; 4] = ["defaults", "purge", "route", "upstream"];
    /// Tables of which nothing does.
    const NOTHING: [&str; 7] =
        ["access_log", "cdn", "log", "memory", "outbox", "shared", "tracing"];
    /// What a key of the others is for is decided at the start.
    const WITH_A_RESTART: &[&str] = &[
        "admin.allowed_hosts",
        "admin.insecure",
        "admin.listen",
        "admin.stage",
        "listener.body_timeout",
        "listener.half_closed_timeout",
        "listener.head_timeout",
        "listener.idle_timeout",
        "listener.linger_timeout",
        "listener.listen",
        "listener.max_connection_age",
        "listener.max_fields",
        "listener.max_head",
        "listener.max_request_line",
        "listener.max_requests_per_connection",
        "listener.max_streams",
        "listener.min_rate",
        "listener.min_rate_period",
        "listener.name",
        "listener.proxy_protocol",
        "listener.socket_mode",
        "listener.stalled_timeout",
        "listener.tls.handshake_timeout",
        "listener.tls.max_handshakes",
        "listener.tls.min_version",
        "listener.write_timeout",
        "server.backlog",
        "server.body_timeout",
        "server.drain",
        "server.drain_delay",
        "server.half_closed_timeout",
        "server.head_timeout",
        "server.idle_timeout",
        "server.linger_timeout",
        "server.listen",
        "server.max_connection_age",
        "server.max_connections",
        "server.max_connections_per_address",
        "server.max_fields",
        "server.max_head",
        "server.max_request_line",
        "server.max_requests_per_connection",
        "server.max_streams",
        "server.min_rate",
        "server.min_rate_period",
        "server.proxy_protocol",
        "server.socket_mode",
        "server.stalled_timeout",
        "server.threads",
        "server.tls.handshake_timeout",
        "server.tls.max_handshakes",
        "server.tls.min_version",
        "server.turn_wait",
        "server.upgrade_timeout",
        "server.write_timeout",
    ];

    /// As the lists have it: `[upstream.NAME.tls]` and `ca_file` are `upstream.NAME.tls.ca_file`.
    fn path(key: &larder_gateway::config::Key) -> String {
        let table = key.table.trim_matches(['[', ']']);
        if table.is_empty() { key.name.clone() } else { format!("{table}.{}", key.name) }
    }

    #[test]
    fn each_key_is_in_one_list() {
        for key in keys().iter().map(path).filter(|key| key != "include") {
            let table = key.split('.').next().unwrap();
            let is_more = MORE_CERTIFICATES.iter().any(|more| key.starts_with(more));
            let lists = [
                WHOLE.contains(&table),
                NOTHING.contains(&table),
                AT_ONCE.contains(&&*key),
                CERTIFICATES.contains(&&*key) || is_more,
                WITH_A_RESTART.contains(&&*key),
            ];
            assert_eq!(lists.iter().filter(|is_in| **is_in).count(), 1, "{key}: {lists:?}");
        }
        let known: Vec<_> = keys().iter().map(path).collect();
        for key in AT_ONCE.iter().chain(&CERTIFICATES).chain(WITH_A_RESTART) {
            assert!(known.iter().any(|known| known == key), "there is no key {key}");
        }
    }

    /// The key with another value, and the keys that wait for a restart then.
    fn waiting_for(key: &larder_gateway::config::Key) -> Vec<String> {
        let table = match key.table.contains("listener.") {
            true => format!("[[listener]]\n{}", key.table),
            false => key.table.clone(),
        };
        let (with, _, wrong) = read_on("a".as_ref(), &format!("{table}\n{}\n", key.example));
        assert!(wrong.is_empty(), "{wrong:?}");
        // What is a list is as long in both.
        let without = table.lines().filter(|line| line.starts_with("[[")).collect::<Vec<_>>();
        let (without, ..) = read_on("a".as_ref(), &without.join("\n"));
        needed_for(&without, &with)
    }

    #[test]
    fn a_change_of_each_key_is_told_by_the_list_that_it_is_in() {
        for key in keys().iter().filter(|key| !key.table.is_empty()) {
            let name = path(key);
            let table = name.split('.').next().unwrap();
            let waiting =
                waiting_for(key).iter().map(|key| without_numbers(key)).collect::<Vec<_>>();
            let is_at_once = WHOLE.contains(&table) || AT_ONCE.contains(&&*name);
            let of_list = MORE_CERTIFICATES.iter().any(|more| name.starts_with(more));
            match is_at_once || of_list {
                true => assert_eq!(waiting, Vec::<String>::new(), "{name}"),
                // So it is for a certificate where there was none: the listener is spoken to in another way.
                false => {
                    assert!(waiting.iter().all(|key| key.starts_with(&name)), "{name}: {waiting:?}")
                }
            }
            assert!(is_at_once || of_list || !waiting.is_empty(), "{name}");
        }
    }

    /// Such as headers that are sent: their names are no keys of ours.
    #[test]
    fn what_has_come_to_a_table_is_told_as_well_as_what_has_gone() {
        let with = |headers: &str| {
            let text = format!(
                "[[cdn]]\n[cdn.template.everything]\nurl = \"http://192.0.2.7/\"\nheaders = {{ {headers} }}\n"
            );
            let (config, _, wrong) = read_on("a".as_ref(), &text);
            assert!(wrong.is_empty(), "{wrong:?}");
            config
        };
        let (few, more) = (with("A = \"1\""), with("A = \"1\", B = \"2\""));
        let key = "cdn[1].template.everything.headers.B";
        assert_eq!(needed_for(&few, &more), [key]);
        assert_eq!(needed_for(&more, &few), [key]);
        assert_eq!(needed_for(&few, &few), [""; 0]);
    }

    #[test]
    fn the_table_of_the_reference_names_what_holds_at_once_and_what_does_not() {
        let text = include_str!("../../../docs/config.md");
        let (_, table) = text.split_once("| | when it holds |\n").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let (last, at_once) = table.lines().next_back().zip(table.lines().nth(1)).unwrap();
        for key in AT_ONCE {
            let name = key.rsplit('.').next().unwrap();
            let part = key.rsplit_once('.').unwrap().0;
            let is_named = [format!("`{name}`"), format!("`{key}`"), format!("`[{part}]`")]
                .iter()
                .any(|words| table.contains(words.as_str()));
            assert!(is_named, "{key}");
        }
        for name in WHOLE {
            assert!(at_once.contains(&format!("[{name}")), "{name}");
        }
        for name in NOTHING {
            // A list has two brackets, which this is within.
            assert!(last.contains(&format!("[{name}]")), "{name}");
        }
    }
}
