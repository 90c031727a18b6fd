//! Contestant: `larder serve`, its rivals and the limit, each set up as its authors would for this task:
//! kept connections, files in memory, no logs, one worker.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde::Serialize;
use tempfile::TempDir;

use super::{
    certificate::{Certificate, HOST},
    client::Client,
    limit::Baked,
    origin::Link,
    server::{Server, find_program, free_address},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Who {
    Limit,
    Larder,
    Nginx,
    NginxSendfile,
    /// A plain proxy, which passing requests are compared with.
    NginxUncached,
    Haproxy,
    Varnish,
}

impl Who {
    pub(crate) const ALL: [Who; 7] = [
        Who::Limit,
        Who::Larder,
        Who::Nginx,
        Who::NginxSendfile,
        Who::NginxUncached,
        Who::Haproxy,
        Who::Varnish,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Who::Limit => "bare epoll",
            Who::Larder => "larder",
            Who::Nginx => "nginx",
            Who::NginxSendfile => "nginx, sendfile",
            Who::NginxUncached => "nginx, no cache",
            Who::Haproxy => "HAProxy",
            Who::Varnish => "Varnish",
        }
    }

    pub(crate) fn is_caching_nginx(self) -> bool {
        matches!(self, Who::Nginx | Who::NginxSendfile)
    }

    /// The program and Debian's package of it; None is a part of the bench.
    fn program(self) -> Option<(&'static str, &'static str)> {
        match self {
            Who::Limit | Who::Larder => None,
            Who::Nginx | Who::NginxSendfile | Who::NginxUncached => Some(("nginx", "nginx-light")),
            Who::Haproxy => Some(("haproxy", "haproxy")),
            Who::Varnish => Some(("varnishd", "varnish")),
        }
    }
}

/// What all contestants are started with.
pub(crate) struct Setting {
    pub(crate) larder: PathBuf,
    pub(crate) core: usize,
    pub(crate) origin: SocketAddr,
    /// The same origin over TLS.
    pub(crate) tls_origin: SocketAddr,
    /// The same by HTTP/2, in the open.
    pub(crate) http2_origin: SocketAddr,
    /// The limit's answers.
    pub(crate) answers: Vec<Baked>,
    pub(crate) open_files: u64,
    /// What those show who are started with it, and the origin.
    pub(crate) certificate: Certificate,
}

impl Setting {
    fn origin(&self, link: Link) -> SocketAddr {
        match link {
            Link::Plain => self.origin,
            Link::Tls => self.tls_origin,
            Link::Http2 => self.http2_origin,
        }
    }
}

pub(crate) struct Contestant {
    pub(crate) who: Who,
    pub(crate) server: Server,
    http1: SocketAddr,
    /// HTTP/2 in plain text, where there is such.
    pub(crate) http2: Option<SocketAddr>,
    answers: Vec<(Baked, SocketAddr)>,
    /// HTTP/1.1 is spoken over TLS with it.
    certificate: Option<Certificate>,
    folder: TempDir,
}

/// Where its program lies, or which package brings it.
pub(crate) fn installed(who: Who) -> Result<Option<PathBuf>, &'static str> {
    match who.program() {
        None => Ok(None),
        Some((program, package)) => find_program(program).map(Some).ok_or(package),
    }
}

/// What it calls itself, in a line.
pub(crate) fn version(who: Who, setting: &Setting) -> Option<String> {
    let (program, flag) = match who {
        Who::Limit => return None,
        Who::Larder => (setting.larder.clone(), "--version"),
        Who::Varnish => (installed(who).ok()??, "-V"),
        _ => (installed(who).ok()??, "-v"),
    };
    let said = Command::new(program).arg(flag).output().ok()?;
    let said = if said.stdout.is_empty() { said.stderr } else { said.stdout };
    Some(String::from_utf8_lossy(&said).lines().next()?.trim().to_owned())
}

impl Contestant {
    pub(crate) fn start(who: Who, setting: &Setting) -> anyhow::Result<Contestant> {
        Contestant::start_before(who, setting, Link::Plain)
    }

    /// One that asks the origin in this way.
    pub(crate) fn start_before(
        who: Who,
        setting: &Setting,
        link: Link,
    ) -> anyhow::Result<Contestant> {
        Contestant::set_up(who, setting, link, None)
            .with_context(|| format!("cannot start {}", who.name()))
    }

    pub(crate) fn start_over_tls(who: Who, setting: &Setting) -> anyhow::Result<Contestant> {
        Contestant::set_up(who, setting, Link::Plain, Some(setting.certificate.clone()))
            .with_context(|| format!("cannot start {} with a certificate", who.name()))
    }

    fn set_up(
        who: Who,
        setting: &Setting,
        link: Link,
        certificate: Option<Certificate>,
    ) -> anyhow::Result<Contestant> {
        // In memory, where the system has such a place.
        let shared = Path::new("/dev/shm");
        let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let folder = TempDir::with_prefix_in("larder-bench-", parent)?;
        let path = folder.path();
        let program = match installed(who) {
            Ok(program) => program.unwrap_or(setting.larder.clone()),
            Err(package) => anyhow::bail!("Debian's package {package} is missing"),
        };
        let start = |arguments: &[&str]| Server::start(setting.core, path, &program, arguments);
        let (http1, second) = (free_address()?, free_address()?);
        let origin = setting.origin(link);
        let tls = certificate.as_ref();
        let (mut server, http2) = match who {
            Who::Limit | Who::Varnish if tls.is_some() => anyhow::bail!("knows no TLS"),
            Who::Limit => return Contestant::limit(setting, folder),
            Who::Larder => {
                let file = path.join("larder.toml");
                fs::write(&file, larder(origin, link, setting))?;
                let listen = http1.to_string();
                let config = file.to_string_lossy();
                let mut arguments =
                    vec!["serve", "--log", "warn", "--memory", "1GiB", "--config", &config];
                arguments.extend(["--listen", &listen]);
                let files = tls.map(|tls| [&tls.file, &tls.key].map(|file| file.to_string_lossy()));
                if let Some([file, key]) = &files {
                    arguments.extend(["--tls-certificate", file, "--tls-key", key]);
                }
                (start(&arguments)?, Some(http1))
            }
            Who::Nginx | Who::NginxSendfile | Who::NginxUncached => {
                let file = path.join("nginx.conf");
                fs::write(&file, nginx(who, path, [http1, second], tls, link, setting))?;
                let [file, prefix] = [&file, path].map(|path| path.to_string_lossy().into_owned());
                (start(&["-c", &file, "-p", &prefix, "-e", "stderr"])?, Some(second))
            }
            Who::Haproxy => {
                let file = path.join("haproxy.cfg");
                fs::write(&file, haproxy([http1, second], tls, link, setting))?;
                (start(&["-f", &file.to_string_lossy()])?, Some(second))
            }
            Who::Varnish => {
                let file = path.join("default.vcl");
                let (host, port) = (origin.ip(), origin.port());
                fs::write(
                    &file,
                    format!(
                        "vcl 4.1;\nbackend default {{ .host = \"{host}\"; .port = \"{port}\"; }}\n"
                    ),
                )?;
                let [file, state] =
                    [file, path.join("state")].map(|path| path.to_string_lossy().into_owned());
                let arguments = ["-F", "-j", "none", "-f", &file, "-n", &state, "-s", "malloc,1G"];
                // One pool on one core; connections that idle are kept as elsewhere.
                let parameters =
                    ["-p", "thread_pools=1", "-p", "timeout_idle=300", "-p", "feature=+http2"];
                let listen = ["-a", &http1.to_string()];
                (start(&[&arguments[..], &parameters, &listen].concat())?, Some(http1))
            }
        };
        server.wait_until_up(&[http1, http2.unwrap_or(http1)])?;
        Ok(Contestant { who, server, http1, http2, answers: Vec::new(), certificate, folder })
    }

    fn limit(setting: &Setting, folder: TempDir) -> anyhow::Result<Contestant> {
        let mut arguments = vec!["limit".to_owned()];
        arguments.extend(setting.answers.iter().map(Baked::to_string));
        let program = std::env::current_exe()?;
        let mut server = Server::start(setting.core, folder.path(), &program, &arguments)?;
        let lines = server.lines(setting.answers.len())?;
        let addresses = lines
            .iter()
            .map(|line| Ok(line.parse()?))
            .collect::<anyhow::Result<Vec<SocketAddr>>>()?;
        let answers = setting.answers.iter().copied().zip(addresses.iter().copied()).collect();
        Ok(Contestant {
            who: Who::Limit,
            server,
            http1: addresses.first().copied().context("a limit without answers")?,
            http2: None,
            answers,
            certificate: None,
            folder,
        })
    }

    /// Where this answer is given: the limit has an address for each, everybody else one for all.
    pub(crate) fn address(&self, answer: Baked) -> SocketAddr {
        let own = self.answers.iter().find(|(known, _)| *known == answer);
        own.map_or(self.http1, |(_, address)| *address)
    }

    /// A connection to there, which trusts its certificate if it has one.
    pub(crate) async fn connect(&self, answer: Baked) -> anyhow::Result<Client> {
        let address = self.address(answer);
        match &self.certificate {
            None => Client::connect(address).await,
            Some(certificate) => Client::connect_over_tls(address, certificate).await,
        }
    }

    /// What it holds in memory, files in memory included.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.server.resident_bytes() + file_bytes(&self.folder.path().join("cache"))
    }
}

/// What the files in a folder take, in whole blocks.
fn file_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => file_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    bytes.sum()
}

fn larder(origin: SocketAddr, link: Link, setting: &Setting) -> String {
    let scheme = match link {
        Link::Plain => "http",
        Link::Tls => "https",
        Link::Http2 => "h2c",
    };
    let tls = match link {
        Link::Tls => format!(
            "[upstream.origin.tls]\nca_file = {:?}\nserver_name = \"{HOST}\"\n",
            setting.certificate.file
        ),
        _ => String::new(),
    };
    format!("[upstream.origin]\nurl = \"{scheme}://{origin}\"\n{tls}")
}

fn nginx(
    who: Who,
    folder: &Path,
    [http1, http2]: [SocketAddr; 2],
    tls: Option<&Certificate>,
    link: Link,
    setting: &Setting,
) -> String {
    let folder = folder.display();
    let (ssl, certificate) = match tls {
        None => ("", String::new()),
        Some(Certificate { file, key, .. }) => (
            " ssl",
            format!(
                "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3;",
                file.display(),
                key.display()
            ),
        ),
    };
    let origin = setting.origin(link);
    let (scheme, verify) = match link {
        Link::Tls => (
            "https",
            format!(
                "proxy_ssl_verify on; proxy_ssl_trusted_certificate {}; proxy_ssl_name {HOST}; \
                 proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.2 TLSv1.3;",
                setting.certificate.file.display()
            ),
        ),
        Link::Plain | Link::Http2 => ("http", String::new()),
    };
    let connections = setting.open_files;
    let sendfile = if who == Who::NginxSendfile { "on" } else { "off" };
    // Its worker would give up root's rights, and then not read its own folder.
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let (path, cache) = match who {
        Who::NginxUncached => (String::new(), ""),
        _ => (
            format!(
                "proxy_cache_path {folder}/cache levels=1:2 keys_zone=bench:128m max_size=4g \
                 inactive=1d use_temp_path=off;"
            ),
            "proxy_cache bench; proxy_cache_lock on; proxy_force_ranges on;",
        ),
    };
    format!(
        "daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    sendfile {sendfile};
    tcp_nopush on;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    open_file_cache max=10000 inactive=1h;
    {path}
    upstream origin {{ server {origin}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen {http1}{ssl} backlog=4096;
        {certificate}
        listen {http2} http2;
        client_max_body_size 0;
        proxy_http_version 1.1;
        {verify}
        location / {{
            proxy_pass {scheme}://origin;
            proxy_set_header Connection \"\";
            {cache}
        }}
        location /upload/ {{
            proxy_pass {scheme}://origin;
            proxy_set_header Connection \"\";
            proxy_request_buffering off;
        }}
        location /echo/ {{
            proxy_pass {scheme}://origin;
            proxy_set_header Connection upgrade;
            proxy_set_header Upgrade $http_upgrade;
        }}
    }}
}}
"
    )
}

fn haproxy(
    [http1, http2]: [SocketAddr; 2],
    tls: Option<&Certificate>,
    link: Link,
    setting: &Setting,
) -> String {
    let origin = setting.origin(link);
    let how = match link {
        Link::Plain => String::new(),
        Link::Tls => format!(
            " ssl ca-file {} verify required sni str({HOST}) verifyhost {HOST}",
            setting.certificate.file.display()
        ),
        Link::Http2 => " proto h2".to_owned(),
    };
    let ssl = tls.map(|tls| format!(" ssl crt {}", tls.both.display())).unwrap_or_default();
    format!(
        "global
    nbthread 1
    maxconn 10500
    no strict-limits
defaults
    mode http
    no log
    timeout connect 5s
    timeout client 300s
    timeout server 60s
    timeout http-keep-alive 300s
    http-reuse always
cache objects
    total-max-size 1024
    max-object-size 2000000
    max-age 86400
    process-vary on
frontend readers
    bind {http1}{ssl} backlog 4096
    bind {http2} proto h2
    default_backend origin
backend origin
    http-request cache-use objects
    http-response cache-store objects
    server origin {origin}{how}
"
    )
}
