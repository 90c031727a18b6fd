//! `larder health`: one question to a gateway that should be running.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use larder_gateway::upstream::{
    Origin, OriginTls, OriginTlsError, OriginTlsOptions, ParseOriginError, Scheme, Upstream,
    UpstreamConfig, UpstreamError,
};
use tokio::{runtime::Builder, time::timeout};
use tower::Service;

use crate::ask;

/// Below the four seconds that the image's health check gives.
const BUDGET: Duration = Duration::from_secs(3);

/// Succeeds if the gateway's admin API says that it is ready.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 it is ready, 1 it is not, or cannot be reached, 2 wrong usage.

Example, with a gateway that was started with --admin 127.0.0.1:9191:
  larder health
Over TLS, to a listener or to an admin API with [admin.tls]:
  larder health --admin https://larder.internal:9191 --cacert ca.pem
  larder health https://127.0.0.1:8443/health --insecure   # within a container: its certificate is for another name")]
pub(crate) struct Health {
    /// Ask this instead of the admin API, for example http://127.0.0.1:8080/health, which is a path of
    /// the service behind the gateway
    url: Option<Uri>,
    /// Where the admin API is: an address, or a URL (https://host:9191)
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "LARDER_ADMIN",
        default_value = "127.0.0.1:9191",
        value_parser = ask::admin
    )]
    admin: Origin,
    /// For https:// with a certificate of one's own: a PEM file with those that vouch for it
    #[arg(long, visible_alias = "ca-file", value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// For https:// on this machine alone: whatever certificate is shown will do
    #[arg(long, conflicts_with = "cacert")]
    insecure: bool,
    /// Print whether it is ready as JSON
    #[arg(long)]
    json: bool,
}

/// Why it counts as not ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthError {
    #[error("{url} cannot be asked: it must be of the form http://host:port/path, or https://")]
    Url { url: Uri, source: ParseOriginError },
    #[error("{url} is on another machine: --insecure is for this one alone")]
    Elsewhere { url: Uri },
    #[error("TLS cannot be spoken to {url}")]
    Tls { url: Uri, source: Box<OriginTlsError> },
    #[error("{url} is not well: it answered {status}")]
    Unwell { url: Uri, status: StatusCode },
    #[error("no gateway answers at {0}: `larder serve` does if it runs with --admin {0}")]
    NoAdmin(String, #[source] Box<UpstreamError>),
    #[error("{url} is not well: it gave no answer")]
    NoAnswer { url: Uri, source: Box<UpstreamError> },
    #[error("{url} is not well: it gave no answer within {BUDGET:?}")]
    Timeout { url: Uri },
    #[error("cannot ask")]
    Start(#[source] std::io::Error),
}

impl HealthError {
    /// 2: it was asked for wrongly. 1: it is not ready, or nobody could tell.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            HealthError::Url { .. } | HealthError::Elsewhere { .. } | HealthError::Tls { .. } => 2,
            _ => 1,
        }
    }
}

impl Health {
    /// What is asked.
    pub(crate) fn url(&self) -> String {
        self.url.as_ref().map_or_else(|| format!("{}/readyz", self.admin), ToString::to_string)
    }

    pub(crate) fn run(self) -> Result<(), HealthError> {
        let Health { url, admin, cacert, insecure, json: _ } = self;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(HealthError::Start)?;
        let trust = Trust { ca_file: cacert, verify: !insecure };
        let Some(url) = url else {
            let url = format!("{admin}/readyz");
            let url = url.parse().expect("an origin and a path are a URL");
            return runtime.block_on(ask(url, trust)).map_err(|error| match error {
                HealthError::NoAnswer { source, .. } if source.is_before_sending() => {
                    let admin = admin.to_string();
                    let address = admin.strip_prefix("http://").unwrap_or(&admin);
                    HealthError::NoAdmin(address.to_owned(), source)
                }
                other => other,
            });
        };
        runtime.block_on(ask(url, trust))
    }
}

/// Whose certificates will do.
struct Trust {
    ca_file: Option<PathBuf>,
    verify: bool,
}

impl Trust {
    /// None in the open.
    fn tls(self, url: &Uri, origin: &Origin) -> Result<Option<OriginTls>, HealthError> {
        let Trust { ca_file, verify } = self;
        if !verify && !is_on_this_machine(url) {
            return Err(HealthError::Elsewhere { url: url.clone() });
        }
        if origin.scheme() != Scheme::Https {
            return Ok(None);
        }
        let tls =
            OriginTls::new(&OriginTlsOptions { ca_file, verify, ..OriginTlsOptions::default() });
        let failed = |source| HealthError::Tls { url: url.clone(), source: Box::new(source) };
        tls.map(Some).map_err(failed)
    }
}

fn is_on_this_machine(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

async fn ask(url: Uri, trust: Trust) -> Result<(), HealthError> {
    let origin = match origin_of(&url) {
        Ok(origin) => origin,
        Err(source) => return Err(HealthError::Url { url, source }),
    };
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = url.clone();
    let tls = trust.tls(&url, &origin)?;
    let config = UpstreamConfig { tls, ..UpstreamConfig::default() };
    let asking = Upstream::new(origin, config).call(request);
    match timeout(BUDGET, asking).await {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => Err(HealthError::Unwell { url, status: answer.status() }),
        Ok(Err(error)) => Err(HealthError::NoAnswer { url, source: Box::new(error) }),
        Err(_) => Err(HealthError::Timeout { url }),
    }
}

/// The server that `url` names, without the path.
fn origin_of(url: &Uri) -> Result<Origin, ParseOriginError> {
    let scheme = url.scheme_str().unwrap_or_default();
    let authority = url.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let origin: Origin = format!("{scheme}://{authority}").parse()?;
    match origin.scheme() {
        Scheme::Http | Scheme::Https => Ok(origin),
        _ => Err(ParseOriginError::Malformed),
    }
}
