//! Flags: what can be said of a gateway on the command line and in the environment, and how it goes before a file.

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "these texts are what --help prints"
)]

use std::{fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{ArgMatches, Args, ValueEnum, parser::ValueSource};
use http::HeaderName;
use larder::http::policy::cookies::IgnoredCookies;
use larder_admin::log::Levels;
use larder_gateway::{
    config::{
        Config, CookieName, Count, Field, Listen, ListenAt, Mistake, Peer, Place, Places,
        PolicyWord, Secrets, Service, SetCookieWord, Size, Time, UnsureWord, address, amount,
    },
    downstream::{ListenAddress, TrustedPeer},
    upstream::Origin,
};

/// Each flag's key in a file. That of `--upstream` has the service's name in it.
pub(crate) const NAMES: &[(&str, &str)] = &[
    ("server.listen", "--listen"),
    ("server.tls.certificate", "--tls-certificate"),
    ("server.tls.key", "--tls-key"),
    ("admin.listen", "--admin"),
    ("memory.size", "--memory"),
    ("server.threads", "--threads"),
    ("server.max_connections", "--max-connections"),
    ("server.max_connections_per_address", "--max-connections-per-address"),
    ("server.drain", "--drain"),
    ("server.min_rate", "--min-rate"),
    ("server.min_rate_period", "--min-rate-period"),
    ("defaults.ttl", "--ttl"),
    ("defaults.policy", "--policy"),
    ("defaults.ignore_cookies", "--ignore-cookies"),
    ("defaults.set_cookie", "--set-cookie"),
    ("defaults.key_fields", "--key-fields"),
    ("server.trusted_peers", "--trusted-peers"),
    ("purge.allow", "--purge-allow"),
    ("shared.url", "--shared"),
    ("shared.namespace", "--shared-namespace"),
    ("shared.user", "--shared-user"),
    ("shared.password_file", "--shared-password-file"),
    ("shared.sentinel_user", "--shared-sentinel-user"),
    ("shared.sentinel_password_file", "--shared-sentinel-password-file"),
    ("shared.outbox", "--shared-outbox"),
    ("shared.key_file", "--shared-key-file"),
    ("shared.ca_file", "--shared-ca-file"),
    ("shared.max_incoherence", "--max-incoherence"),
    ("shared.unsure", "--unsure"),
    ("log.levels", "--log"),
    (ONLY_UPSTREAM, "--upstream"),
];

/// The key of the service's address where a flag says it and no file has a name for it.
const ONLY_UPSTREAM: &str = "upstream.service.url";

/// What can be said on the command line, or in the environment. Whatever is said goes before the file.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Example:
  larder serve --upstream http://127.0.0.1:8001
  curl -i http://127.0.0.1:8080/posts/1

Over TLS, here with a certificate that is made for a try:
  openssl req -x509 -newkey rsa:2048 -noenc -subj /CN=localhost \\
    -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
  larder serve --upstream http://127.0.0.1:8001 --tls-certificate cert.pem --tls-key key.pem
  curl -i --cacert cert.pem https://localhost:8080/posts/1

To purge, with --admin 127.0.0.1:9191:
  curl http://127.0.0.1:9191/v1/purge -H 'content-type: application/json' \\
    -d '{\"keys\":[\"http://127.0.0.1:8080/posts/1\"]}'
or {\"prefix\":\"http://127.0.0.1:8080/posts/\"}, {\"tags\":[\"posts\"]}, {\"all\":true}; with
\"mode\":\"hard\" nothing is left, otherwise it is stale: served once more while it is refreshed, or if the origin fails.

SIGTERM and Ctrl-C let what is under way end, for as long as --drain says; once more, and it ends at once. Until then
the admin listener answers, /readyz with 503. SIGUSR2 starts the program anew, as it lies there now; the new process
takes over all sockets, and this one ends as if it was told to: no connection is lost. SIGHUP reads the file of settings again: rules, routes and services change
at once, and nothing that is stored or under way is lost; a file with mistakes is refused, and the settings stay.

With --shared redis://127.0.0.1 several gateways share what they have, and a purge at one reaches all:
with \"wait\":\"shared\" its answer says for how many it holds.

Every answer says in Cache-Status what the cache did, and why (detail=hit: from memory, detail=shared: from the
shared tier); in Proxy-Status, why the service gave none.")]
pub(crate) struct ServeFlags {
    /// Read settings from this file. Flags and variables go before it. Without it, and without a service to put the
    /// cache before, larder.toml of the working directory is read (`larder init > larder.toml`)
    #[arg(long, value_name = "FILE", env = "LARDER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The service to put the cache before: http://127.0.0.1:8001, https://app.internal, unix:/run/app.sock,
    /// localhost:8001, or a port of this machine
    #[arg(long, value_name = "URL", env = "LARDER_UPSTREAM", value_parser = address::upstream)]
    pub(crate) upstream: Option<Origin>,
    /// Where to answer requests: 127.0.0.1:8080, or a port of 127.0.0.1; 0.0.0.0:8080 for all addresses;
    /// unix:/run/larder.sock for a Unix socket
    /// [default: 127.0.0.1:8080]
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "LARDER_LISTEN",
        value_parser = address::place
    )]
    listen: Option<ListenAddress>,
    /// Answer over TLS (https) with this certificate, and not in the open: a PEM file with the server's
    /// own certificate first, then those that vouch for it (often called fullchain.pem). It is read again when it or
    /// its key has changed
    #[arg(long, value_name = "FILE", env = "LARDER_TLS_CERTIFICATE")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key: a PEM file without a passphrase, that only this user can read
    #[arg(long, value_name = "FILE", env = "LARDER_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Where to answer questions about the cache, and purges; beyond loopback only as [admin] of a file says
    #[arg(long, value_name = "ADDRESS", env = "LARDER_ADMIN", value_parser = address::listen)]
    admin: Option<SocketAddr>,
    /// How much memory the cache may fill [default: 256MiB]
    #[arg(long, value_name = "SIZE", env = "LARDER_MEMORY", value_parser = amount::size)]
    memory: Option<ByteSize>,
    /// How many event loops serve connections, each on a thread of its own; usually one a core that
    /// this process may use
    #[arg(long, value_name = "NUMBER", env = "LARDER_THREADS", value_parser = amount::count)]
    threads: Option<NonZeroUsize>,
    /// How many connections may be open to those who ask. Where there are as many, kept ones are closed and
    /// new ones wait. Usually 16384, or as many as the limit of open files allows beside those to the
    /// upstream
    #[arg(long, value_name = "NUMBER", env = "LARDER_MAX_CONNECTIONS", value_parser = amount::count)]
    max_connections: Option<NonZeroUsize>,
    /// How many of them one address may have (with IPv6, one /64); more are closed at once. Usually a quarter
    /// of them, and all for a proxy on this machine (127.0.0.1, ::1)
    #[arg(long, value_name = "NUMBER", env = "LARDER_MAX_CONNECTIONS_PER_ADDRESS", value_parser = amount::count)]
    max_connections_per_address: Option<NonZeroUsize>,
    /// How long what is under way may take once it is told to stop, or another process has taken over; then it is cut
    /// off [default: 10s]
    #[arg(long, value_name = "DURATION", env = "LARDER_DRAIN", value_parser = amount::duration)]
    drain: Option<Duration>,
    /// How much of a request or of an answer has to move each second while those who ask are waited for, on
    /// average. Who sends or takes less is cut off: nobody holds memory and connections by a byte now and then.
    /// What waits for the service does not count, as an event stream without events or an upload that it does
    /// not take. 0 asks for no rate. Counted in larder_below_min_rate_total
    /// [default: 1KiB]
    #[arg(long, value_name = "SIZE", env = "LARDER_MIN_RATE", value_parser = amount::size)]
    min_rate: Option<ByteSize>,
    /// How long nothing at all may move before that counts as too slow. Shorter is stricter: a line that
    /// stalls for as long is cut, too [default: 30s]
    #[arg(
        long,
        value_name = "DURATION",
        env = "LARDER_MIN_RATE_PERIOD",
        value_parser = amount::period
    )]
    min_rate_period: Option<Duration>,
    /// How long answers are fresh that do not say so themselves: 90s, 5m, 1h. Those with content (200, 203,
    /// 206) and permanent redirects (301, 308) only, and what is not found (404, 410) for a minute at most
    #[arg(long, value_name = "DURATION", env = "LARDER_TTL", value_parser = amount::duration)]
    ttl: Option<Duration>,
    /// Which rules to go by [default: guarded]
    #[arg(long, value_enum, env = "LARDER_POLICY")]
    policy: Option<Preset>,
    /// Cookies that change nothing in an answer, so that requests which carry no others share theirs, by
    /// name, with commas: 'theme,ab_*'. The word analytics stands for those of the usual visitor counters.
    /// The service does not see them on requests whose answer may be stored
    #[arg(long, value_name = "NAMES", env = "LARDER_IGNORE_COOKIES", value_parser = cookies)]
    ignore_cookies: Option<Cookies>,
    /// What becomes of answers that set a cookie and could be stored but for that; guarded refuses them,
    /// standard stores them as they are
    #[arg(long, value_enum, value_name = "WHAT", env = "LARDER_SET_COOKIE")]
    set_cookie: Option<SetCookies>,
    /// Request fields that tell answers apart, as if all varied by them: X-Original-URL,X-Tenant. What
    /// guarded would keep from the service (fields that stand for the method, the host or the URI) reaches
    /// it if it is among them
    #[arg(long, value_name = "NAMES", env = "LARDER_KEY_FIELDS", value_delimiter = ',')]
    key_fields: Vec<HeaderName>,
    /// Proxies in front, by address or network, that are believed in whom they ask for (X-Forwarded-For), how
    /// it came (X-Forwarded-Proto) and for which host (X-Forwarded-Host). Without it all of a balancer's readers
    /// count as one client
    #[arg(long, value_name = "ADDRESSES", env = "LARDER_TRUSTED_PEERS", value_delimiter = ',')]
    trusted_peers: Vec<TrustedPeer>,
    /// Who sends this in the field Larder-Explain is told the keys of answers (as is this machine)
    #[arg(long, value_name = "TOKEN", env = "LARDER_EXPLAIN_TOKEN", hide_env_values = true)]
    explain_token: Option<String>,
    /// Which clients may purge with the methods PURGE and BAN where requests come, by address or network. Without it, and
    /// without --purge-token, these methods pass to the service; with both, both must be right
    #[arg(long, value_name = "ADDRESSES", env = "LARDER_PURGE_ALLOW", value_delimiter = ',')]
    purge_allow: Vec<TrustedPeer>,
    /// Who sends this in Authorization: Bearer may purge with the methods PURGE and BAN where requests come
    #[arg(long, value_name = "TOKEN", env = "LARDER_PURGE_TOKEN", hide_env_values = true)]
    purge_token: Option<String>,
    /// Who sends this in Authorization: Bearer may read in the admin API
    #[arg(long, value_name = "TOKEN", env = "LARDER_ADMIN_READ_TOKEN", hide_env_values = true)]
    admin_read_token: Option<String>,
    /// Who sends this in Authorization: Bearer may purge in the admin API
    #[arg(long, value_name = "TOKEN", env = "LARDER_ADMIN_WRITE_TOKEN", hide_env_values = true)]
    admin_write_token: Option<String>,
    #[command(flatten)]
    shared: SharedFlags,
    /// What to log: error, warn, info, debug or off, and levels by module (info,h2=debug): modules that are
    /// not Larder's are off unless they are named. Lines that are not read in time are lost, and of one kind
    /// ten are logged at once and then one a second: what was left out is counted [default: info]
    #[arg(long, value_name = "LEVELS", env = "LARDER_LOG", value_parser = levels)]
    log: Option<String>,
}

/// The rules.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preset {
    /// The standard, and refusals where an answer looks personal: cookies, credentials
    Guarded,
    /// RFC 9111 to the letter
    Standard,
}

/// What becomes of a cookie.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SetCookies {
    /// The answer is not stored
    Refuse,
    /// It is stored without the cookie, which only the reader gets who was asked for
    StoreWithout,
    /// It is stored with it, and all readers get the same cookie
    Store,
}

/// What there is to say of the shared tier.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sharing with other gateways")]
struct SharedFlags {
    /// Share answers and purges with other gateways over this server of Redis 7 or Valkey, or several:
    /// redis://host:6379, rediss:// over TLS, redis+sentinel://host,host/NAME, redis+cluster://host,host.
    /// Without a password: that is read from a file or from LARDER_SHARED_PASSWORD. While the server is away
    /// nothing fails
    #[arg(long, value_name = "URL", env = "LARDER_SHARED", hide_env_values = true)]
    shared: Option<ServerUrl>,
    /// Which gateways share: those with one name on one server. Their --policy and --key-fields have to agree
    /// [default: larder]
    #[arg(long, value_name = "NAME", env = "LARDER_SHARED_NAMESPACE")]
    shared_namespace: Option<String>,
    /// The server's user, if it has users
    #[arg(long, value_name = "NAME", env = "LARDER_SHARED_USER")]
    shared_user: Option<String>,
    /// A file with the password in its first line; or the variable LARDER_SHARED_PASSWORD
    #[arg(long, value_name = "FILE", env = "LARDER_SHARED_PASSWORD_FILE")]
    shared_password_file: Option<PathBuf>,
    /// The user of the sentinels, if they have users
    #[arg(long, value_name = "NAME", env = "LARDER_SHARED_SENTINEL_USER")]
    shared_sentinel_user: Option<String>,
    /// A file with the password of the sentinels in its first line; or the variable LARDER_SHARED_SENTINEL_PASSWORD
    #[arg(long, value_name = "FILE", env = "LARDER_SHARED_SENTINEL_PASSWORD_FILE")]
    shared_sentinel_password_file: Option<PathBuf>,
    /// A file for purges that the server does not have yet: one that says it is queued outlives this process, and is
    /// sent by the next. Of one gateway alone [default: they are in memory]
    #[arg(long, value_name = "FILE", env = "LARDER_SHARED_OUTBOX")]
    shared_outbox: Option<PathBuf>,
    /// A file with 64 hexadecimal digits, one for all gateways (openssl rand -hex 32): what is not signed with this
    /// key is not served, whoever has written it to the server
    #[arg(long, value_name = "FILE", env = "LARDER_SHARED_KEY_FILE")]
    shared_key_file: Option<PathBuf>,
    /// For rediss:// with certificates of one's own: a PEM file with those that vouch for the server's
    #[arg(long, value_name = "FILE", env = "LARDER_SHARED_CA_FILE")]
    shared_ca_file: Option<PathBuf>,
    /// For how long what is in memory is served without hearing of the server: no purge that another gateway has
    /// made is missed for longer. One value for all gateways [default: 10s]
    #[arg(
        long,
        value_name = "DURATION",
        env = "LARDER_MAX_INCOHERENCE",
        value_parser = amount::duration
    )]
    max_incoherence: Option<Duration>,
    /// What becomes of what is in memory after that [default: fetch]
    #[arg(long, value_enum, value_name = "WHAT", env = "LARDER_UNSURE")]
    unsure: Option<Doubt>,
}

/// What becomes of what is in memory without hearing of the server.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Doubt {
    /// It is fetched anew, and used for as long
    Fetch,
    /// It is served as far as stale answers may be. A purge at another gateway then may go unnoticed for as long
    ServeStale,
}

/// The URL of a server, which may hold a password: nothing shows it as it is.
#[derive(Clone)]
struct ServerUrl(String);

impl From<&str> for ServerUrl {
    fn from(url: &str) -> Self {
        ServerUrl(url.to_owned())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerUrl(…)")
    }
}

/// The names of cookies, with commas between them.
#[derive(Clone, Debug)]
struct Cookies(Vec<CookieName>);

fn cookies(text: &str) -> Result<Cookies, String> {
    text.parse::<IgnoredCookies>().map_err(|error| error.to_string())?;
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    Ok(Cookies(names.map(|name| CookieName(name.to_owned())).collect()))
}

fn levels(text: &str) -> Result<String, String> {
    let levels: Result<Levels, _> = text.parse();
    levels.map(|_| text.to_owned()).map_err(|error| error.to_string())
}

impl ServeFlags {
    /// Writes what was said into `config`, and where it was said into `places`.
    pub(crate) fn lay_over(
        self,
        config: &mut Config,
        places: &mut Places,
        matches: &ArgMatches,
    ) -> (Secrets, Vec<Mistake>) {
        let ServeFlags {
            config: _,
            upstream,
            listen,
            tls_certificate,
            tls_key,
            admin,
            memory,
            threads,
            max_connections,
            max_connections_per_address,
            drain,
            min_rate,
            min_rate_period,
            ttl,
            policy,
            ignore_cookies,
            set_cookie,
            key_fields,
            trusted_peers,
            explain_token,
            purge_allow,
            purge_token,
            admin_read_token,
            admin_write_token,
            shared,
            log,
        } = self;
        for (key, flag) in NAMES {
            if let Some(place) = said(matches, flag) {
                places.set(key, place);
            }
        }
        let mut mistakes = Vec::new();
        if let Some(origin) = upstream {
            let place = said(matches, "--upstream");
            match config.upstream.len() {
                0 | 1 => {
                    let name = config.upstream.keys().next().cloned();
                    let name = name.unwrap_or_else(|| "service".to_owned());
                    let part = config.upstream.entry(name.clone()).or_default();
                    part.url = Some(Service(origin));
                    (part.urls, part.server) = (None, None);
                    if let Some(place) = place {
                        places.set(&format!("upstream.{name}.url"), place);
                    }
                }
                count => {
                    let what = format!(
                        "--upstream names one service, and the file has {count}: change their url there"
                    );
                    mistakes.push(Mistake::new(place, what).about("upstream"));
                }
            }
        }
        let server = &mut config.server;
        set(&mut server.listen, listen.map(ListenAt));
        set(&mut server.tls.certificate, tls_certificate);
        set(&mut server.tls.key, tls_key);
        set(&mut config.admin.listen, admin.map(Listen));
        set(&mut config.memory.size, memory.map(Size));
        set(&mut server.threads, threads.map(Count));
        set(&mut server.max_connections, max_connections.map(Count));
        set(&mut server.max_connections_per_address, max_connections_per_address.map(Count));
        set(&mut server.drain, drain.map(Time));
        set(&mut server.min_rate, min_rate.map(Size));
        set(&mut server.min_rate_period, min_rate_period.map(Time));
        if !purge_allow.is_empty() {
            config.purge.allow = Some(purge_allow.into_iter().map(Peer).collect());
        }
        if !trusted_peers.is_empty() {
            server.trusted_peers = trusted_peers.into_iter().map(Peer).collect();
        }
        let defaults = &mut config.defaults;
        set(&mut defaults.ttl, ttl.map(Time));
        set(&mut defaults.policy, policy.map(PolicyWord::from));
        set(&mut defaults.ignore_cookies, ignore_cookies.map(|Cookies(names)| names));
        set(&mut defaults.set_cookie, set_cookie.map(SetCookieWord::from));
        let key_fields = key_fields.into_iter().map(Field).collect::<Vec<_>>();
        set(&mut defaults.key_fields, (!key_fields.is_empty()).then_some(key_fields));
        let SharedFlags {
            shared: url,
            shared_namespace,
            shared_user,
            shared_password_file,
            shared_sentinel_user,
            shared_sentinel_password_file,
            shared_outbox,
            shared_key_file,
            shared_ca_file,
            max_incoherence,
            unsure,
        } = shared;
        let shared = &mut config.shared;
        set(&mut shared.url, url.map(|ServerUrl(url)| url));
        set(&mut shared.namespace, shared_namespace);
        set(&mut shared.user, shared_user);
        set(&mut shared.password_file, shared_password_file);
        set(&mut shared.sentinel_user, shared_sentinel_user);
        set(&mut shared.sentinel_password_file, shared_sentinel_password_file);
        set(&mut shared.outbox, shared_outbox);
        set(&mut shared.key_file, shared_key_file);
        set(&mut shared.ca_file, shared_ca_file);
        set(&mut shared.max_incoherence, max_incoherence.map(Time));
        set(&mut shared.unsure, unsure.map(UnsureWord::from));
        set(&mut config.log.levels, log);
        let secrets = Secrets { explain_token, purge_token, admin_read_token, admin_write_token };
        (secrets, mistakes)
    }
}

fn set<T>(key: &mut Option<T>, said: Option<T>) {
    if said.is_some() {
        *key = said;
    }
}

/// Where the flag has its value from, if it has one.
fn said(matches: &ArgMatches, flag: &'static str) -> Option<Place> {
    let id = flag.trim_start_matches('-').replace('-', "_");
    match matches.value_source(&id)? {
        ValueSource::CommandLine => Some(Place::Flag(flag)),
        // What a variable says is called by its flag as well: its owner looks for it in `--help`.
        ValueSource::EnvVariable => Some(Place::Variable(flag)),
        _ => None,
    }
}

impl From<Preset> for PolicyWord {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::Guarded => PolicyWord::Guarded,
            Preset::Standard => PolicyWord::Standard,
        }
    }
}

impl From<SetCookies> for SetCookieWord {
    fn from(treatment: SetCookies) -> Self {
        match treatment {
            SetCookies::Refuse => SetCookieWord::Refuse,
            SetCookies::StoreWithout => SetCookieWord::StoreWithout,
            SetCookies::Store => SetCookieWord::Store,
        }
    }
}

impl From<Doubt> for UnsureWord {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Fetch => UnsureWord::Fetch,
            Doubt::ServeStale => UnsureWord::ServeStale,
        }
    }
}
