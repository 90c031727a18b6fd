//! Parts: the tables of a `larder.toml` that are about the gateway as a whole, one file for each.

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::private_intra_doc_links,
    reason = "these texts are for readers of a larder.toml: [server] is a table there"
)]

mod access_log;
mod admin;
mod cdn;
mod listener;
mod log;
mod memory;
mod origins;
mod purge;
mod server;
mod shared;
mod tracing;
mod upstream;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::{
    access_log::{AccessLogPart, AddressesWord, FormatWord, QueryWord},
    admin::AdminPart,
    cdn::{CdnPart, OutboxPart, SchemeWord},
    listener::ListenerPart,
    log::LogPart,
    memory::Memory,
    origins::{BalanceWord, BreakerPart, CauseWord, HealthPart, RetryPart, ServerPart},
    purge::{ModeWord, PurgePart},
    server::{
        ForwardedWord, PairPart, ReadYourWritesPart, ReloadWord, Server, TlsPart, UnknownNamesWord,
        VersionWord,
    },
    shared::{SharedPart, UnsureWord},
    tracing::{ParentsWord, TracingPart},
    upstream::{ProtocolWord, TlsVersionWord, UpstreamPart, UpstreamTlsPart},
};
use super::{route::Route, rules::Rules};

/// The configuration of `larder serve`: what a file says. Every key has a default but the service's address.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "larder.toml")]
pub struct Config {
    /// Files with more routes and services, below the folder of this one; * stands for any characters in a file's name.
    /// Their routes come behind those of this file, by the files' names. Default none
    #[schemars(example = ["routes/*.toml"])]
    pub include: Vec<String>,
    /// How requests come: where to listen, and what their connections may take
    #[schemars(example = &"[server]\nlisten = \"127.0.0.1:8080\"")]
    pub server: Server,
    /// More places where requests come, each with settings of its own; what it does not say holds as [server] says it. The
    /// numbers of connections, handshakes and switched protocols are for all together
    #[schemars(example = &"[[listener]]\nlisten = \"0.0.0.0:443\"")]
    pub listener: Vec<ListenerPart>,
    /// Where questions about the cache are answered, and purges taken
    #[schemars(example = &"[admin]\nlisten = \"127.0.0.1:9191\"")]
    pub admin: AdminPart,
    /// Purges where requests come, for applications that are set up for other caches
    #[schemars(example = &"[purge]\nallow = [\"192.0.2.7\"]")]
    pub purge: PurgePart,
    /// What the cache may hold
    #[schemars(example = &"[memory]\nsize = \"256MiB\"")]
    pub memory: Memory,
    /// What several gateways share
    #[schemars(example = &"[shared]\nurl = \"redis://127.0.0.1\"")]
    pub shared: SharedPart,
    /// Caches outside, of others or of your own, that are told of each purge. The table below one says whose it is
    #[schemars(example = &"[[cdn]]\n[cdn.varnish]\napi = \"http://192.0.2.7:6081\"")]
    pub cdn: Vec<CdnPart>,
    /// What they have still to be told
    #[schemars(example = &"[outbox]\njournal = \"/var/lib/larder/cdn\"")]
    pub outbox: OutboxPart,
    /// What is logged
    #[schemars(example = &"[log]\nlevels = \"info\"")]
    pub log: LogPart,
    /// A line for each request
    #[schemars(example = &"[access_log]\nto = \"stdout\"")]
    pub access_log: AccessLogPart,
    /// Spans of single requests, for a collector of OpenTelemetry
    #[schemars(example = &"[tracing]\nendpoint = \"http://127.0.0.1:4318\"")]
    pub tracing: TracingPart,
    /// The services to put the cache before, each by a name of your choice
    #[schemars(example = &"[upstream.blog]\nurl = \"http://127.0.0.1:8001\"")]
    pub upstream: BTreeMap<String, UpstreamPart>,
    /// The rules that hold where no route says otherwise
    #[schemars(example = &"[defaults]\nttl = \"5m\"")]
    pub defaults: Rules,
    /// Requests that have rules of their own, or a service of their own. The first one counts that a request fits, in
    /// the order of the file
    #[schemars(example = &"[[route]]\npath = \"/static/**\"\nttl = \"1h\"")]
    pub route: Vec<Route>,
}
