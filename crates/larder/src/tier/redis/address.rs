//! Address: which servers a URL names, and how a connection to them is opened.

use std::{fmt, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, TlsCertificates, TlsMode,
    aio::{MultiplexedConnection, PubSub},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::time::timeout;

use super::{ConnectError, RedisOptions, rejected};
#[cfg(all(test, not(shuttle)))]
use crate::simulation::Wire;

/// To open one connection may take so long.
const CONNECT: Duration = Duration::from_secs(1);
/// To find out where to connect to, and to do it.
const FIND: Duration = Duration::from_secs(4);
/// A server that acknowledges no byte for so long is gone, and one that answers nothing. Without this a partition that has healed is followed by a
/// silence as long as it was, until the system sends anew.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// A command that waits at the server waits no longer than this.
const LONGEST_COMMAND: Duration = Duration::from_secs(60);
/// Commands that wait to be sent on one connection. One more waits at its caller.
const QUEUED: usize = 256;

/// Where the servers are, and what is said to them first.
pub(super) struct Address {
    servers: Servers,
    settings: RedisConnectionInfo,
    certificates: Option<TlsCertificates>,
}

enum Servers {
    One(Client),
    Sentinels {
        addresses: Vec<ConnectionAddr>,
        primary: String,
        settings: RedisConnectionInfo,
    },
    Cluster(Box<ClusterClient>, ConnectionInfo),
    #[cfg(all(test, not(shuttle)))]
    Simulated(Wire),
}

/// An open connection: to one server, or to all of a cluster.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
    #[cfg(all(test, not(shuttle)))]
    Simulated(Wire),
}

/// A URL in its parts.
struct Parts {
    kind: Kind,
    is_tls: bool,
    /// With the user, the password, and the database that the URL names.
    first: ConnectionInfo,
    others: Vec<ConnectionInfo>,
    /// The name of what sentinels watch.
    primary: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    One,
    Sentinels,
    Cluster,
}

impl Address {
    /// Checks what was said, and opens nothing.
    pub(super) fn new(options: &RedisOptions) -> Result<Self, ConnectError> {
        let Parts { kind, is_tls, first, others, primary } = parse(&options.url)?;
        if options.ca_certificate.is_some() && !is_tls {
            return Err(ConnectError::Url("a certificate needs rediss://"));
        }
        let mut settings = first.redis_settings().clone();
        if let Some(username) = &options.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &options.password {
            settings = settings.set_password(password);
        }
        if kind == Kind::Cluster && settings.db() != 0 {
            return Err(ConnectError::Url("a cluster has no databases"));
        }
        let certificates = is_tls.then(|| {
            provide_cryptography();
            TlsCertificates { client_tls: None, root_cert: options.ca_certificate.clone() }
        });
        let with_settings = |info: ConnectionInfo| {
            info.set_redis_settings(settings.clone()).set_tcp_settings(tcp_settings())
        };
        let servers = match kind {
            Kind::One => {
                Servers::One(client(with_settings(first), certificates.as_ref()).map_err(rejected)?)
            }
            Kind::Sentinels => {
                let addresses = [first].into_iter().chain(others);
                let mut to_sentinels = RedisConnectionInfo::default();
                if let Some(username) = &options.sentinel_username {
                    to_sentinels = to_sentinels.set_username(username);
                }
                if let Some(password) = &options.sentinel_password {
                    to_sentinels = to_sentinels.set_password(password);
                }
                Servers::Sentinels {
                    addresses: addresses.map(|info| info.addr().clone()).collect(),
                    primary: primary.ok_or(NO_PRIMARY)?,
                    settings: to_sentinels,
                }
            }
            Kind::Cluster => {
                let first = with_settings(first);
                let nodes =
                    [first.clone()].into_iter().chain(others.into_iter().map(with_settings));
                let cluster = cluster(nodes, &settings, certificates.as_ref()).map_err(rejected)?;
                Servers::Cluster(Box::new(cluster), first)
            }
        };
        Ok(Address { servers, settings, certificates })
    }

    /// That of a server that is simulated.
    #[cfg(all(test, not(shuttle)))]
    pub(super) fn simulated(wire: Wire) -> Self {
        let (settings, certificates) = (RedisConnectionInfo::default(), None);
        Address { servers: Servers::Simulated(wire), settings, certificates }
    }

    /// Opens a connection: to the server, to the one that is the primary now, or to the cluster.
    pub(super) async fn connect(&self) -> Result<Connection, RedisError> {
        let opened = timeout(FIND, async {
            match &self.servers {
                Servers::One(client) => open(client).await,
                Servers::Sentinels { .. } => open(&self.primary().await?).await,
                Servers::Cluster(cluster, _) => {
                    Ok(Connection::Cluster(cluster.get_async_connection().await?))
                }
                #[cfg(all(test, not(shuttle)))]
                Servers::Simulated(wire) => Ok(Connection::Simulated(wire.connect().await?)),
            }
        });
        opened.await.unwrap_or_else(|_| Err(took_too_long()))
    }

    /// Opens a connection for what is published. In a cluster every server tells of it.
    pub(super) async fn subscriber(&self) -> Result<PubSub, RedisError> {
        let opened = timeout(FIND, async {
            match &self.servers {
                Servers::One(client) => client.get_async_pubsub().await,
                Servers::Sentinels { .. } => self.primary().await?.get_async_pubsub().await,
                Servers::Cluster(_, first) => {
                    let client = client(first.clone(), self.certificates.as_ref())?;
                    client.get_async_pubsub().await
                }
                // Nothing is published there: who waits looks by himself.
                #[cfg(all(test, not(shuttle)))]
                Servers::Simulated(_) => std::future::pending().await,
            }
        });
        opened.await.unwrap_or_else(|_| Err(took_too_long()))
    }

    /// Asks the sentinels where the primary is, and that one whether it is.
    async fn primary(&self) -> Result<Client, RedisError> {
        let Servers::Sentinels { addresses, primary, settings } = &self.servers else {
            return Err(took_too_long());
        };
        let mut sentinels = self.sentinels(addresses, primary, settings)?;
        sentinels.async_get_client().await
    }

    fn sentinels(
        &self,
        addresses: &[ConnectionAddr],
        primary: &str,
        to_sentinels: &RedisConnectionInfo,
    ) -> Result<SentinelClient, RedisError> {
        let kind = SentinelServerType::Master;
        let mut builder = SentinelClientBuilder::new(addresses.to_vec(), primary, kind)?
            .set_client_to_redis_db(self.settings.db())
            .set_client_to_redis_tcp_settings(tcp_settings())
            .set_client_to_sentinel_tcp_settings(tcp_settings());
        if let Some(username) = self.settings.username() {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = self.settings.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(username) = to_sentinels.username() {
            builder = builder.set_client_to_sentinel_username(username);
        }
        if let Some(password) = to_sentinels.password() {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if let Some(certificates) = &self.certificates {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates.clone());
        }
        builder.build()
    }
}

/// Says where, and never who with what password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.servers {
            Servers::One(client) => write!(f, "{}", client.get_connection_info().addr()),
            Servers::Sentinels { addresses, primary, .. } => {
                let addresses = addresses.iter().map(ToString::to_string);
                write!(f, "{primary} of {}", addresses.collect::<Vec<_>>().join(","))
            }
            Servers::Cluster(_, first) => write!(f, "cluster of {}", first.addr()),
            #[cfg(all(test, not(shuttle)))]
            Servers::Simulated(_) => f.write_str("simulated"),
        }
    }
}

const NO_PRIMARY: ConnectError = ConnectError::Url(
    "sentinels need the name of what they watch: redis+sentinel://host:port/NAME",
);

/// `scheme://[user[:password]@]host[:port][,host[:port]]…[/name][/database]`. What the URL holds is in no error: it
/// may be a password.
fn parse(url: &str) -> Result<Parts, ConnectError> {
    let bad = ConnectError::Url;
    let (scheme, rest) = url.split_once("://").ok_or(bad("it has no scheme"))?;
    let (scheme, kind) = match scheme.split_once('+') {
        None => (scheme, Kind::One),
        Some((scheme, "sentinel")) => (scheme, Kind::Sentinels),
        Some((scheme, "cluster")) => (scheme, Kind::Cluster),
        Some(_) => return Err(bad("its scheme is none of redis, +sentinel, +cluster")),
    };
    let is_tls = match scheme {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(bad("its scheme is not redis or rediss")),
    };
    if rest.contains(['?', '#']) {
        return Err(bad("it has a query or a fragment"));
    }
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = match place.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), place),
    };
    let (primary, database) = match kind {
        Kind::Sentinels => {
            let (primary, database) = path.split_once('/').unwrap_or((path, ""));
            (Some(primary).filter(|primary| !primary.is_empty()), database)
        }
        Kind::One | Kind::Cluster => (None, path),
    };
    if kind == Kind::Sentinels && primary.is_none() {
        return Err(NO_PRIMARY);
    }
    let mut hosts = hosts.split(',');
    let first = hosts.next().unwrap_or_default();
    let first = format!("{scheme}://{user}{first}/{database}");
    let first = first.into_connection_info().map_err(rejected)?;
    let others = hosts.map(|host| format!("{scheme}://{host}").into_connection_info());
    let others: Vec<_> = others.collect::<Result<_, _>>().map_err(rejected)?;
    if kind == Kind::One && !others.is_empty() {
        return Err(bad("several servers need +sentinel or +cluster in its scheme"));
    }
    Ok(Parts { kind, is_tls, first, others, primary: primary.map(str::to_owned) })
}

fn client(
    info: ConnectionInfo,
    certificates: Option<&TlsCertificates>,
) -> Result<Client, RedisError> {
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        None => Client::open(info),
    }
}

/// Primaries alone are read: a replica may not know of a purge yet.
fn cluster(
    nodes: impl Iterator<Item = ConnectionInfo>,
    settings: &RedisConnectionInfo,
    certificates: Option<&TlsCertificates>,
) -> Result<ClusterClient, RedisError> {
    let mut builder = ClusterClientBuilder::new(nodes)
        .tcp_settings(tcp_settings())
        .connection_timeout(CONNECT)
        .response_timeout(LONGEST_COMMAND)
        .max_retry_wait(200)
        .retries(4);
    if let Some(username) = settings.username() {
        builder = builder.username(username);
    }
    if let Some(password) = settings.password() {
        builder = builder.password(password);
    }
    if let Some(certificates) = certificates {
        builder = builder.tls(TlsMode::Secure).certs(certificates.clone());
    }
    builder.build()
}

/// Its answers are waited for by callers, each as long as it wants.
async fn open(client: &Client) -> Result<Connection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUED);
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok(Connection::One(connection))
}

fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(SILENCE);
    settings
}

/// The client of Redis takes whichever cryptography the process has chosen; without a choice it would panic.
fn provide_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error says that somebody else has chosen meanwhile.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    }
}

fn took_too_long() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::Redis;

    #[test]
    fn each_kind_of_url_names_its_servers() {
        for (url, says) in [
            ("redis://one", "one:6379"),
            ("redis://user:secret@one:7000/3", "one:7000"),
            ("redis://:secret@[::1]:7000", "::1:7000"),
            ("valkey://one", "one:6379"),
            ("rediss://one", "one:6379"),
            ("redis+sentinel://one:26379,two:26379/main/2", "main of one:26379,two:26379"),
            ("rediss+sentinel://:secret@one:26379/main", "main of one:26379"),
            ("redis+cluster://one:7000,two:7001", "cluster of one:7000"),
            ("rediss+cluster://one:7000", "cluster of one:7000"),
        ] {
            let address = Address::new(&Redis::options(url)).unwrap();
            assert_eq!(format!("{address:?}"), says, "{url}");
        }
    }

    #[test]
    fn what_names_no_servers_is_refused_and_tells_no_password() {
        for url in [
            "one:6379",
            "http://:secret@one",
            "redis+ring://:secret@one",
            "redis://:secret@",
            "redis://:secret@one:port",
            "redis://:secret@one/database",
            "redis://:secret@one,two",
            "redis://:secret@one?protocol=resp3",
            "rediss://:secret@one#insecure",
            "redis+sentinel://:secret@one:26379",
            "redis+sentinel://:secret@one:26379/",
            "redis+cluster://:secret@one/1",
            "redis://:secret@0.0.0.0",
        ] {
            let error = Redis::connect(url).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(!said.contains("secret"), "{url}: {said}");
        }
    }

    #[test]
    fn what_is_said_of_options_tells_no_secret() {
        let options = Redis::options("redis://user:secret@one")
            .password("secret too")
            .sentinel_password("secret again")
            .key([115; 32]);
        let said = format!("{options:?} {:?}", options.clone().connect().unwrap());
        assert!(!said.contains("secret") && !said.contains("115"), "{said}");
    }
}
