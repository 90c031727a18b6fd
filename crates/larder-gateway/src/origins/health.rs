//! Health: an address is asked how it is, again and again, by a task that ends with its upstream.

use std::{ops::ControlFlow, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use tokio::time::{sleep, timeout};
use tower::Service;

use super::{config::HealthConfig, dice::dice};
use crate::upstream::{Origin, Upstream, UpstreamConfig};

/// The answers of an address, as far as they decide anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// How many answers in a row were unlike what is held of the address.
    against: u32,
}

impl Checked {
    pub(super) fn new() -> Checked {
        Checked { against: 0 }
    }

    /// What is held of the address from now on, if that changes.
    pub(super) fn note(
        &mut self,
        is_well: bool,
        is_good: bool,
        config: &HealthConfig,
    ) -> Option<bool> {
        if is_good == is_well {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let enough = if is_well { config.unhealthy_after } else { config.healthy_after };
        if self.against < enough {
            return None;
        }
        self.against = 0;
        Some(is_good)
    }
}

/// Asks for as long as `tell`, which hears of each answer whether it is good, goes on.
pub(super) async fn watch(
    origin: Origin,
    connection: UpstreamConfig,
    config: HealthConfig,
    tell: impl Fn(bool) -> ControlFlow<()>,
) {
    // Its own connections, one at a time: requests wait for none of them, and are counted apart.
    let connection = UpstreamConfig { max_connections: 1, max_idle: 1, ..connection };
    let mut upstream = Upstream::new(origin, connection);
    // Not all gateways at once.
    sleep(config.every.mul_f64(dice()).min(Duration::from_secs(1))).await;
    loop {
        let is_good = is_good(&mut upstream, &config).await;
        if tell(is_good).is_break() {
            return;
        }
        sleep(config.every.mul_f64(0.9 + dice() / 5.0)).await;
    }
}

async fn is_good(upstream: &mut Upstream, config: &HealthConfig) -> bool {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = config.path.clone().into();
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, http::HeaderValue::from_static("larder-health"));
    if let Some(host) = &config.host {
        headers.insert(header::HOST, host.clone());
    }
    match timeout(config.timeout, upstream.call(request)).await {
        Ok(Ok(answer)) => match config.expect.is_empty() {
            true => answer.status().is_success(),
            false => config.expect.contains(&answer.status()),
        },
        Ok(Err(_)) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_in_a_row_change_what_is_held_of_an_address() {
        let path = "/health".parse().unwrap();
        let config =
            HealthConfig { healthy_after: 2, unhealthy_after: 3, ..HealthConfig::new(path) };
        let mut checked = Checked::new();
        let mut is_well = true;
        let mut held = String::new();
        for answer in "++--+---+-++--".chars() {
            is_well = checked.note(is_well, answer == '+', &config).unwrap_or(is_well);
            held.push(if is_well { 'w' } else { 'i' });
        }
        assert_eq!(held, "wwwwwwwiiiiwww");
    }
}
