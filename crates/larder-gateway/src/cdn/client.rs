//! Client: one call to a vendor, over the gateway's own connections to origins, bounded in time and in bytes.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use tower::Service;

use super::driver::{Answer, Call};
use crate::{
    causes::in_a_line,
    upstream::{Origin, OriginTls, Upstream, UpstreamConfig},
};

/// Of an answer no more is read.
const MOST_BYTES: usize = 1 << 20;
/// A driver speaks to one address, or to a few.
const MOST_ORIGINS: usize = 16;

/// Calls to one vendor.
pub(super) struct Client {
    config: UpstreamConfig,
    /// Held for moments.
    origins: Mutex<HashMap<String, Upstream>>,
}

impl Client {
    /// Each call may take so long.
    pub(super) fn new(tls: Option<OriginTls>, timeout: Duration) -> Client {
        let config = UpstreamConfig {
            tls,
            first_byte_timeout: timeout,
            idle_body_timeout: timeout,
            whole_timeout: Some(timeout),
            wait_timeout: timeout,
            max_connections: 4,
            max_idle: 4,
            ..UpstreamConfig::default()
        };
        Client { config, origins: Mutex::default() }
    }

    /// The whole answer; or why there is none, in a line.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer, String> {
        let mut upstream = self.upstream(call)?;
        let request = Request::from_parts(call.head.clone(), Full::new(call.body.clone()));
        let answer = upstream.call(request).await.map_err(|error| in_a_line(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MOST_BYTES).collect().await;
        let body = body.map_err(|error| in_a_line(&*error))?.to_bytes();
        Ok(Answer { head, body })
    }

    fn upstream(&self, call: &Call) -> Result<Upstream, String> {
        let uri = &call.head.uri;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(format!("{uri} is nowhere"));
        };
        let name = format!("{scheme}://{authority}");
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(upstream) = origins.get(&name) {
            return Ok(upstream.clone());
        }
        let origin: Origin = name.parse().map_err(|error| in_a_line(&error))?;
        if origins.len() >= MOST_ORIGINS {
            origins.clear();
        }
        let upstream = Upstream::new(origin, self.config.clone());
        origins.insert(name, upstream.clone());
        Ok(upstream)
    }
}
