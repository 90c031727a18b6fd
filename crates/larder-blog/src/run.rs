//! Run: brings the parts up in order, says where they are, and takes them down in order.

use std::{
    io::{Write, stdout},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{
    backend::{Backend, settings::BackendSettings, stage::Props},
    error::BlogError,
    page::{self, PageSettings},
    posts::{self, Delay, Store},
    server::{Listener, Server},
    settings::{BaseUrl, CONSOLE_ADDRESS, Settings},
    signals::Signals,
};

/// Four servers stop within a second, the last one's database included.
const DRAIN: Duration = Duration::from_millis(150);

/// A crowd takes up to four files for each of its users, which is more than a login usually has.
const OPEN_FILES: u64 = 1 << 14;

/// Which parts this process is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) posts: bool,
    pub(crate) backend: bool,
    pub(crate) page: bool,
}

impl Parts {
    pub(crate) const ALL: Parts = Parts { posts: true, backend: true, page: true };
    pub(crate) const NONE: Parts = Parts { posts: false, backend: false, page: false };
}

/// The ports of this process, all taken before anything starts.
struct Listeners {
    posts: Option<Listener>,
    backend: Option<(Listener, Listener)>,
    page: Option<Listener>,
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) async fn run(settings: Settings, parts: Parts) -> Result<(), BlogError> {
    if let Err(error) = rlimit::increase_nofile_limit(OPEN_FILES) {
        tracing::debug!("keeping the usual limit of open files: {error}");
    }
    let mut signals = Signals::listen().map_err(BlogError::Signals)?;
    let listeners = Listeners::bind(&settings, parts)?;
    let mut told_to_stop = pin!(signals.told_to_stop());
    let store = match listeners.posts {
        Some(_) => {
            let opening = Store::open(&settings.database, settings.database_wait);
            tokio::select! {
                opened = opening => Some(opened?),
                // Half of it is nothing to take down.
                () = &mut told_to_stop => return Ok(()),
            }
        }
        None => None,
    };
    let (servers, backend) = start(settings, listeners, store.clone());
    told_to_stop.await;
    // The asking part first, so that each still has the part that it asks.
    for server in servers.into_iter().rev() {
        server.stop(DRAIN).await;
    }
    if let Some(backend) = backend {
        backend.shut_down(DRAIN).await;
    }
    if let Some(store) = store
        && tokio::time::timeout(DRAIN, store.close()).await.is_err()
    {
        tracing::info!("the database had queries under way");
    }
    Ok(())
}

impl Listeners {
    fn bind(settings: &Settings, parts: Parts) -> Result<Listeners, BlogError> {
        let ip = settings.bind_address;
        check_apart(&wanted(settings, parts))?;
        let mut listeners = Listeners { posts: None, backend: None, page: None };
        if parts.posts {
            let port = settings.posts_service_port;
            listeners.posts = Some(Listener::bind(ip, port, "POSTS_SERVICE_PORT")?);
        }
        if parts.backend {
            let backend = Listener::bind(ip, settings.backend_port, "BACKEND_PORT")?;
            let port = settings.console_port;
            let console = Listener::bind(CONSOLE_ADDRESS, port, "CONSOLE_PORT")?;
            listeners.backend = Some((backend, console));
        }
        if parts.page {
            let port = settings.frontend_port;
            listeners.page = Some(Listener::bind(ip, port, "FRONTEND_PORT")?);
        }
        Ok(listeners)
    }
}

/// Where the parts are to listen, each with its variable.
fn wanted(settings: &Settings, parts: Parts) -> Vec<(&'static str, SocketAddr)> {
    let ip = settings.bind_address;
    let addresses = [
        (parts.posts, "POSTS_SERVICE_PORT", ip, settings.posts_service_port),
        (parts.backend, "BACKEND_PORT", ip, settings.backend_port),
        (parts.backend, "CONSOLE_PORT", CONSOLE_ADDRESS, settings.console_port),
        (parts.page, "FRONTEND_PORT", ip, settings.frontend_port),
    ];
    let wanted = addresses.into_iter().filter(|(is_part, ..)| *is_part);
    wanted.map(|(_, variable, ip, port)| (variable, SocketAddr::new(ip, port))).collect()
}

/// The system would only say of the second that its port is in use, and not by whom.
fn check_apart(wanted: &[(&'static str, SocketAddr)]) -> Result<(), BlogError> {
    for (place, (other, address)) in wanted.iter().enumerate() {
        let meets = |(_, earlier): &&(&'static str, SocketAddr)| {
            let is_one_ip = earlier.ip() == address.ip()
                || earlier.ip().is_unspecified()
                || address.ip().is_unspecified();
            // Port 0 is another one each time.
            address.port() != 0 && earlier.port() == address.port() && is_one_ip
        };
        if let Some((one, _)) = wanted[..place].iter().find(meets) {
            return Err(BlogError::SamePort { one, other, port: address.port() });
        }
    }
    Ok(())
}

/// Starts what has a listener, the posts service first, and prints one line for each.
fn start(
    settings: Settings,
    listeners: Listeners,
    store: Option<Store>,
) -> (Vec<Server>, Option<Arc<Backend>>) {
    let ip = reachable(settings.bind_address);
    let port = |bound: Option<&Listener>, set: u16| bound.map_or(set, Listener::port);
    let posts_port = port(listeners.posts.as_ref(), settings.posts_service_port);
    let (backend, console) = listeners.backend.unzip();
    let backend_port = port(backend.as_ref(), settings.backend_port);
    let console_port = port(console.as_ref(), settings.console_port);
    let page_address = SocketAddr::new(ip, port(listeners.page.as_ref(), settings.frontend_port));
    let page_origins = page_origins(page_address, &settings.frontend_origins);

    let posts_delay = Delay::new(settings.posts_delay);
    // Where the backend asks another one, that one's pace is not for this process to change.
    let is_asked_here = listeners.posts.is_some() && settings.posts_service_url.is_none();

    let mut servers = Vec::new();
    let mut serve = |name, listener: Listener, router, stop, talks_to: String| {
        say(&format!("{name:<9} {:<23} {talks_to}", listener.url()));
        servers.push(Server::start(name, listener, router, stop));
    };
    if let Some((listener, store)) = listeners.posts.zip(store) {
        let talks_to = format!(
            "reads {}, takes {} ms for each query",
            settings.database,
            settings.posts_delay.as_millis()
        );
        let router = posts::router(store, posts_delay.clone());
        serve("posts", listener, router, CancellationToken::new(), talks_to);
    }
    let mut running = None;
    if let Some((listener, console)) = backend.zip(console) {
        let here = BaseUrl::of(SocketAddr::new(ip, posts_port));
        let posts_service = settings.posts_service_url.unwrap_or(here);
        let backend = Backend::new(BackendSettings {
            posts_service,
            cache_enabled: settings.cache_enabled,
            cache_ttl: settings.cache_ttl,
            cache_negative_ttl: settings.cache_negative_ttl,
            cache_stale_while_revalidate: settings.cache_stale_while_revalidate,
            cache_stale_if_error: settings.cache_stale_if_error,
            cache_max_bytes: settings.cache_max_bytes,
            shared: settings.shared,
        });
        let stop = CancellationToken::new();
        let props = Props {
            backend: BaseUrl::of(SocketAddr::new(ip, backend_port)),
            posts_delay: is_asked_here.then(|| posts_delay.clone()),
        };
        let admin = backend.admin(&page_origins, props, stop.clone());
        let router = backend.router(&page_origins);
        serve("backend", listener, router, CancellationToken::new(), backend.summary());
        serve("console", console, admin, stop, "shows and purges the backend's cache".to_owned());
        running = Some(backend);
    }
    if let Some(listener) = listeners.page {
        let here = BaseUrl::of(SocketAddr::new(ip, backend_port));
        let backend = settings.backend_url.unwrap_or(here);
        let talks_to = format!("shows the posts of {}", backend.as_str());
        let router = page::router(PageSettings {
            backend,
            backend_port,
            console_port,
            posts_delay,
            cache_enabled: settings.cache_enabled,
            origins: page_origins,
        });
        serve("page", listener, router, CancellationToken::new(), talks_to);
        say(&format!("open http://{}:{}", host_to_open(page_address), page_address.port()));
    }
    (servers, running)
}

/// That the output is not read (`blog run | head -1`) is no reason not to serve.
fn say(line: &str) {
    if let Err(error) = writeln!(stdout(), "{line}") {
        tracing::debug!("cannot print where to find what: {error}");
    }
}

/// A part that listens on every address is reached from this machine at the loopback one.
pub(crate) fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// `localhost` means 127.0.0.1 everywhere, and any other address only here and there.
fn host_to_open(page: SocketAddr) -> String {
    if page.ip() == Ipv4Addr::LOCALHOST { "localhost".to_owned() } else { host(page.ip()) }
}

/// An address as the host of a URL.
fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// What a browser may call the page.
fn page_origins(page: SocketAddr, further: &[String]) -> Vec<String> {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    if page.ip() != Ipv4Addr::LOCALHOST {
        hosts.push(host(page.ip()));
    }
    let local = hosts.into_iter().map(|host| match page.port() {
        80 => format!("http://{host}"),
        port => format!("http://{host}:{port}"),
    });
    local.chain(further.iter().cloned()).collect()
}
