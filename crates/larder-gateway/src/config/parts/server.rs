//! `[server]`: how requests come, and what their connections may take.

use std::path::PathBuf;

use larder::http::policy::forward::ForwardedFields;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::{Count, HopWord, ListenAt, Mode, Peer, Port, Size, Time};

/// `[server]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where to answer requests: an address and a port, a port of 127.0.0.1, or unix: and the path of a socket. Default
    /// 127.0.0.1:8080, which other machines cannot reach (0.0.0.0:8080 is for all); nowhere if there is a [[listener]]
    #[schemars(example = &"127.0.0.1:8080")]
    pub listen: Option<ListenAt>,
    /// What this gateway is called in Via and CDN-Loop. Gateways that stand behind each other need no names, but what has
    /// passed one of a name may not pass another of the same. Default larder, with a number that no other process has
    #[schemars(example = &"edge-1")]
    pub name: Option<HopWord>,
    /// Who may open a Unix socket that is listened at, as chmod writes it. Default "0660": its user and its group
    #[schemars(example = &"0660")]
    pub socket_mode: Option<Mode>,
    /// Require a header of the PROXY protocol (version 1 or 2) at the front of each connection, from trusted_peers only:
    /// others are closed. Default false
    #[schemars(example = true)]
    pub proxy_protocol: bool,
    /// Answer 308 to who asks in the open: over https, at this port of the same host. Default answer the request
    #[schemars(example = 443)]
    pub redirect_to_https: Option<Port>,
    /// How many event loops serve connections, each on a thread of its own. Default one for each core that this
    /// process may use
    #[schemars(example = 2)]
    pub threads: Option<Count>,
    /// How many connections may be open to those who ask. Where there are as many, kept ones are closed and new ones
    /// wait. Default 16384, or as many as the limit of open files allows beside those to the services
    #[schemars(example = 16384)]
    pub max_connections: Option<Count>,
    /// How many connections one address may have (with IPv6, one /64); more are closed at once. Default a quarter of
    /// max_connections, and all for a proxy on this machine
    #[schemars(example = 4096)]
    pub max_connections_per_address: Option<Count>,
    /// How many connections may go on in another protocol at once (WebSocket), in all. One more is answered 503. Default
    /// 4096
    #[schemars(example = 4096)]
    pub max_upgrades: Option<Count>,
    /// How many of those one client may have (with IPv6, one /64). Default a quarter of max_upgrades, and all for this
    /// machine
    #[schemars(example = 1024)]
    pub max_upgrades_per_client: Option<Count>,
    /// How much of a request or of an answer has to move each second while those who ask are waited for, on average;
    /// who sends or takes less is cut off. Default 1KiB; 0 asks for no rate
    #[schemars(example = &"1KiB")]
    pub min_rate: Option<Size>,
    /// How long nothing at all may move before that counts as too slow. Default 30s, at least 1s: a line that stalls
    /// for as long is cut, too
    #[schemars(example = &"30s")]
    pub min_rate_period: Option<Time>,
    /// From the first byte of a request to the end of its head; slower is answered 408. Default 30s
    #[schemars(example = &"30s")]
    pub head_timeout: Option<Time>,
    /// How long a connection may stay without a request. Default 75s, longer than the 60s after which common load
    /// balancers close theirs: the side that sends requests should be the one that closes
    #[schemars(example = &"75s")]
    pub idle_timeout: Option<Time>,
    /// How long the next bytes of a request's body are waited for; slower is answered 408. Default 3m: min_rate lets
    /// nobody wait for longer
    #[schemars(example = &"3m")]
    pub body_timeout: Option<Time>,
    /// How long a reader may take nothing of an answer that waits for it. Default 3m: min_rate lets
    /// nobody wait for longer
    #[schemars(example = &"3m")]
    pub write_timeout: Option<Time>,
    /// How long what is under way may take once it is told to stop (SIGTERM), or another process has taken over
    /// (SIGUSR2): then it is cut off. 0s cuts it off at once. Default 10s: supervisors usually wait for some 30
    #[schemars(example = &"30s")]
    pub drain: Option<Time>,
    /// How long it goes on as before once it is told to stop, with 503 at /readyz: a balancer needs some time to see that,
    /// and to send requests elsewhere. Default 0s
    #[schemars(example = &"5s")]
    pub drain_delay: Option<Time>,
    /// How long a new process may take until it is ready to take over (SIGUSR2); then it is ended, and this one goes on.
    /// Default 30s
    #[schemars(example = &"30s")]
    pub upgrade_timeout: Option<Time>,
    /// The most bytes of a request's head; larger is answered 431. Default 64KiB: browsers with many cookies stay below
    /// a quarter of it
    #[schemars(example = &"64KiB")]
    pub max_head: Option<Size>,
    /// The most bytes of a request's first line; longer is answered 414. Default 16KiB
    #[schemars(example = &"16KiB")]
    pub max_request_line: Option<Size>,
    /// The most header fields of a request; more is answered 431. Default 128, and never more than 256
    #[schemars(example = 128)]
    pub max_fields: Option<Count>,
    /// The most bytes of a request's content, where neither its route nor [defaults] say it; more is answered 413, and goes
    /// no further. Default no bound: content is passed on as it comes, and takes no memory. 0 takes none at all
    #[schemars(example = &"16MiB")]
    pub max_request_body: Option<Size>,
    /// How long a request may wait for its turn to ask a service, where as many ask as open files allow, or as many as its
    /// path, host or client may at once; then it is answered 503, or with something stale. Default 5s; 0s: nobody waits
    #[schemars(example = &"5s")]
    pub turn_wait: Option<Time>,
    /// How many requests an address may send each second in the long run (with IPv6, one /64; behind trusted proxies,
    /// whom they ask for); more is answered 429. Default no bound
    #[schemars(example = 50)]
    pub requests_per_address: Option<Count>,
    /// How many requests an address may send at once after a pause. Default as many as requests_per_address
    #[schemars(example = 100)]
    pub requests_burst: Option<Count>,
    /// How many requests a reader may have under way at once on a connection of HTTP/2. Default 100, which is the
    /// most
    #[schemars(example = 100)]
    pub max_streams: Option<Count>,
    /// After so many requests a connection ends with the answer (Connection: close, GOAWAY). Default no bound
    #[schemars(example = 1000)]
    pub max_requests_per_connection: Option<Count>,
    /// A connection ends with the first answer after about so long, a tenth more or less. Default no bound
    #[schemars(example = &"1h")]
    pub max_connection_age: Option<Time>,
    /// How long what is under way may stand still once its connection is to make room, or the server to stop. Default 3s
    #[schemars(example = &"3s")]
    pub stalled_timeout: Option<Time>,
    /// How long the head of an answer is waited for after its reader has closed its side, which may say that it has left.
    /// Default 10s
    #[schemars(example = &"10s")]
    pub half_closed_timeout: Option<Time>,
    /// How long a connection is read on after its last answer, so that the answer is not lost. Default 2s
    #[schemars(example = &"2s")]
    pub linger_timeout: Option<Time>,
    /// How many connections may wait to be accepted; the system may allow fewer. Default 1024
    #[schemars(example = 1024)]
    pub backlog: Option<Count>,
    /// Proxies in front, by address or network, that are believed in whom they ask for, for which host, and how it came
    /// to them (http or https); "unix" is whoever can open a Unix socket. Default none: then all of a balancer's readers
    /// count as one client, and a service that wants https sends them round in circles
    #[schemars(example = ["192.0.2.1", "10.0.0.0/8"])]
    pub trusted_peers: Vec<Peer>,
    /// Readers, by address or network, whose Cache-Control counts where obey_readers has it count: of all others it does
    /// not, so that no stranger has anything fetched that is stored and fresh. Behind trusted proxies, whom they ask for.
    /// Default all readers
    #[schemars(example = ["192.0.2.0/24"])]
    pub trusted_readers: Option<Vec<Peer>>,
    /// Which fields of a trusted proxy are believed; the others are dropped, since it may have passed them on as they
    /// came. Default "x-forwarded" (X-Forwarded-For, -Proto, -Host); "forwarded" is RFC 7239's
    #[schemars(example = &"x-forwarded")]
    pub forwarded: Option<ForwardedWord>,
    /// A file with a secret in its first line: who sends this in the field Larder-Explain is told the keys of answers,
    /// as is this machine. Default none
    #[schemars(example = &"explain-token")]
    pub explain_token_file: Option<PathBuf>,
    /// Whether answers that are no plain hits carry a random id (Larder-Request), by which GET /v1/requests/ID of the admin
    /// API tells what became of the request; of the last few thousand, without fields and query values. Plain hits have one
    /// where the request has Larder-Explain and may see keys, and where chance has it (sampled_hits). Default true
    #[schemars(example = false)]
    pub request_ids: Option<bool>,
    /// Which share of the plain hits, from 0 to 1, carries such an id too, each chosen by chance; it costs those as much as
    /// any answer that is none. Default 0
    #[schemars(range(min = 0, max = 1), example = 0.001)]
    pub sampled_hits: Option<f64>,
    /// Whoever has changed something here sees it at once: the answer to a request that may have changed something carries
    /// a cookie and a field (Larder-Fence), and who sends that back gets nothing older. Default nobody does before what
    /// was changed is purged
    #[schemars(example = &"[server.read_your_writes]\nsecret_file = \"fence-secret\"")]
    pub read_your_writes: ReadYourWritesPart,
    /// When this file is read again: signal, at SIGHUP; on-change, also within a few seconds after this file, one that it
    /// includes, or one that is read with it (tokens, maintenance pages, certificates of services) has changed. Default
    /// signal
    #[schemars(example = &"on-change")]
    pub reload: Option<ReloadWord>,
    /// Answer over TLS (https), and not in the open. Default in the open
    #[schemars(example = &"[server.tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"")]
    pub tls: TlsPart,
}

/// `[server.read_your_writes]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReadYourWritesPart {
    /// A file with a secret in its first line, the same for all gateways of a site: nobody without it makes a fence. Default
    /// none: answers carry none
    #[schemars(example = &"fence-secret")]
    pub secret_file: Option<PathBuf>,
    /// For how long a reader sends it back: whole seconds, from 1s to 10s. Default 10s
    #[schemars(example = &"10s")]
    #[serde(rename = "for")]
    pub lifetime: Option<Time>,
}

/// In which fields a trusted proxy is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedWord {
    /// `X-Forwarded-For`, `-Proto`, `-Host` and their like.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl From<ForwardedWord> for ForwardedFields {
    fn from(word: ForwardedWord) -> Self {
        match word {
            ForwardedWord::XForwarded => ForwardedFields::XForwarded,
            ForwardedWord::Forwarded => ForwardedFields::Forwarded,
        }
    }
}

/// When the configuration is read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadWord {
    /// At SIGHUP
    #[default]
    Signal,
    /// Also when a file has changed
    OnChange,
}

/// `[server.tls]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsPart {
    /// A PEM file with the server's own certificate first, then those that vouch for it (often called fullchain.pem). It
    /// is read again within seconds after it or its key has changed. Default none
    #[schemars(example = &"cert.pem")]
    pub certificate: Option<PathBuf>,
    /// The certificate's private key: a PEM file without a passphrase, that only this user can read. Default none
    #[schemars(example = &"key.pem")]
    pub key: Option<PathBuf>,
    /// More certificates for other names. A reader is shown the one that is for the host it names (SNI): an exact name
    /// before *.example.org; who names none, or one that none is for, the first
    #[schemars(example = &"[[server.tls.more]]\ncertificate = \"other.pem\"\nkey = \"other-key.pem\"")]
    pub more: Vec<PairPart>,
    /// Whether who names a host that no certificate is for is shown the first one, or refused. Default "first"
    #[schemars(example = &"refuse")]
    pub unknown_names: Option<UnknownNamesWord>,
    /// The oldest version of TLS that is spoken. Default "1.2"
    #[schemars(example = &"1.3")]
    pub min_version: Option<VersionWord>,
    /// From the start of a connection to the end of its handshake, with its PROXY header; slower ones are closed. Only
    /// in [server], for all listeners. Default 10s: several round trips across the world
    #[schemars(example = &"10s")]
    pub handshake_timeout: Option<Time>,
    /// How many handshakes may be under way at once; then the oldest is given up for the next one, unless it is younger
    /// than half a second. Only in [server], for all listeners together. Default 1024
    #[schemars(example = 1024)]
    pub max_handshakes: Option<Count>,
}

/// `[[server.tls.more]]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PairPart {
    /// As certificate of [server.tls]. It has no default
    #[schemars(example = &"other.pem")]
    pub certificate: Option<PathBuf>,
    /// As key of [server.tls]. It has no default
    #[schemars(example = &"other-key.pem")]
    pub key: Option<PathBuf>,
}

/// What a reader is shown that names a host no certificate is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownNamesWord {
    /// The first certificate.
    #[default]
    First,
    /// None: the handshake fails.
    Refuse,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum VersionWord {
    /// 1.2.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}
