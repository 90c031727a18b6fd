//! `larder health`: one question to a gateway that should be running.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use larder_gateway::{
    config::address,
    upstream::{Origin, ParseOriginError, Scheme, Upstream, UpstreamConfig, UpstreamError},
};
use tokio::{runtime::Builder, time::timeout};
use tower::Service;

/// Below the four seconds that the image's health check gives.
const BUDGET: Duration = Duration::from_secs(3);

/// Succeeds if the gateway's admin API says that it is ready.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 it is ready, 1 it is not, or cannot be reached, 2 wrong usage.

Example, with a gateway that was started with --admin 127.0.0.1:9191:
  larder health")]
pub(crate) struct Health {
    /// Ask this instead of the admin API, for example http://127.0.0.1:8080/health, which is a path of
    /// the service behind the gateway
    url: Option<Uri>,
    /// Where the admin API is
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "LARDER_ADMIN",
        default_value = "127.0.0.1:9191",
        value_parser = address::listen
    )]
    admin: SocketAddr,
}

/// Why it counts as not ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthError {
    #[error("{url} cannot be asked: it must be of the form http://host:port/path")]
    Url { url: Uri, source: ParseOriginError },
    #[error("{url} is not well: it answered {status}")]
    Unwell { url: Uri, status: StatusCode },
    #[error("no gateway answers at {0}: `larder serve` does if it runs with --admin {0}")]
    NoAdmin(SocketAddr, #[source] Box<UpstreamError>),
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
        if matches!(self, HealthError::Url { .. }) { 2 } else { 1 }
    }
}

impl Health {
    pub(crate) fn run(self) -> Result<(), HealthError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(HealthError::Start)?;
        let Some(url) = self.url else {
            let admin = self.admin;
            // Without the zone that an IPv6 address may have here: no URL has one.
            let url = format!("http://{}/readyz", SocketAddr::new(admin.ip(), admin.port()));
            let url = url.parse().expect("an address and a port are an authority");
            return runtime.block_on(ask(url)).map_err(|error| match error {
                HealthError::NoAnswer { source, .. } if source.is_before_sending() => {
                    HealthError::NoAdmin(admin, source)
                }
                other => other,
            });
        };
        runtime.block_on(ask(url))
    }
}

async fn ask(url: Uri) -> Result<(), HealthError> {
    let origin = match origin_of(&url) {
        Ok(origin) => origin,
        Err(source) => return Err(HealthError::Url { url, source }),
    };
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = url.clone();
    let asking = Upstream::new(origin, UpstreamConfig::default()).call(request);
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
        Scheme::Http => Ok(origin),
        _ => Err(ParseOriginError::Malformed),
    }
}
