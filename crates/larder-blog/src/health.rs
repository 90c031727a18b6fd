//! Health: one question to each part that should be running.

use std::time::Duration;

use crate::{
    error::{BlogError, with_causes},
    http_client::{HttpClient, HttpError},
    run::reachable,
    settings::Settings,
};

/// Below the time that the image's health check gives.
const BUDGET: Duration = Duration::from_secs(3);

/// Succeeds if `url` answers 200.
pub(crate) async fn check(url: http::Uri) -> Result<(), BlogError> {
    match answer(&url).await {
        Ok(()) => Ok(()),
        Err(Unwell::Refused(answer) | Unwell::Answered(answer)) => {
            Err(BlogError::Unhealthy { url, answer })
        }
    }
}

/// Succeeds if a part listens where the settings say, and all that listen answer 200: which of them run
/// here, this process does not know.
pub(crate) async fn check_parts(settings: &Settings) -> Result<(), BlogError> {
    let ip = reachable(settings.bind_address);
    let ports = [settings.frontend_port, settings.backend_port, settings.posts_service_port];
    let mut runs_here = 0;
    for port in ports {
        let address = std::net::SocketAddr::new(ip, port);
        let url: http::Uri =
            format!("http://{address}/health").parse().expect("an address and a path make a URL");
        match answer(&url).await {
            Ok(()) => runs_here += 1,
            Err(Unwell::Refused(_)) => {}
            Err(Unwell::Answered(answer)) => return Err(BlogError::Unhealthy { url, answer }),
        }
    }
    if runs_here == 0 {
        return Err(BlogError::NothingRuns { ports });
    }
    Ok(())
}

/// How a part is not well, for a person who asks.
enum Unwell {
    /// Nothing listens there.
    Refused(String),
    Answered(String),
}

async fn answer(url: &http::Uri) -> Result<(), Unwell> {
    match HttpClient::new(BUDGET, 0).get(url.clone()).await {
        Ok(reply) if reply.status.is_success() => Ok(()),
        Ok(reply) => Err(Unwell::Answered(reply.status.to_string())),
        Err(error @ HttpError::Connect(_)) => Err(Unwell::Refused(with_causes(&error))),
        Err(error) => Err(Unwell::Answered(with_causes(&error))),
    }
}
