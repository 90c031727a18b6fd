//! Export: sends spans to the collector, some at a time. One that is away or hangs costs nobody anything but spans.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{config::TracesConfig, proto, span::Span, tracer::Counts};
use crate::{
    causes::in_a_line,
    upstream::{Upstream, UpstreamConfig},
};

/// So many spans go in one call at most.
const MOST_IN_A_CALL: usize = 512;
/// The first of a call waits so long for others.
const GATHER: Duration = Duration::from_secs(1);
/// A call may take so long, and is given up then.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two calls where the collector does not answer: from the first to the last, twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Of an answer no more is read: it says that some were refused, or nothing.
const MOST_BYTES: usize = 64 << 10;

/// The one task that sends.
pub(super) struct Exporter {
    waiting: mpsc::Receiver<Span>,
    upstream: Upstream,
    uri: Uri,
    /// Who sends them, as bytes.
    resource: Vec<u8>,
    counts: Arc<Counts>,
    stop: CancellationToken,
    /// The log says once that it is in vain, and once that it is not any more.
    is_in_vain: bool,
}

/// What came of a call that was in vain.
enum InVain {
    /// Once more may help.
    ForNow(String),
    /// It will not take these.
    Refused(StatusCode),
}

impl Exporter {
    pub(super) fn new(
        config: TracesConfig,
        waiting: mpsc::Receiver<Span>,
        counts: Arc<Counts>,
        stop: CancellationToken,
    ) -> Exporter {
        let TracesConfig { endpoint, path, tls, service_name, .. } = config;
        let limits = UpstreamConfig {
            tls,
            first_byte_timeout: CALL_TIMEOUT,
            whole_timeout: Some(CALL_TIMEOUT),
            max_connections: 1,
            max_idle: 1,
            ..UpstreamConfig::default()
        };
        let resource = proto::resource(&service_name);
        let (upstream, uri) = (Upstream::new(endpoint, limits), Uri::from(path));
        Exporter { waiting, upstream, uri, resource, counts, stop, is_in_vain: false }
    }

    /// Until it is stopped: then what waits is sent, each call once.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.gather(&mut batch).await {
            self.send(&mut batch).await;
        }
        self.waiting.close();
        loop {
            if batch.is_empty() && self.waiting.recv_many(&mut batch, MOST_IN_A_CALL).await == 0 {
                return;
            }
            self.send(&mut batch).await;
        }
    }

    /// The first that comes, and those that come soon after. False once it is stopped.
    async fn gather(&mut self, batch: &mut Vec<Span>) -> bool {
        let mut until = None;
        while batch.len() < MOST_IN_A_CALL {
            let room = MOST_IN_A_CALL - batch.len();
            let is_over = async move {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return false,
                () = is_over => return true,
                came = self.waiting.recv_many(batch, room) => match came {
                    0 => return false,
                    _ => until = until.or_else(|| Some(Instant::now() + GATHER)),
                },
            }
        }
        true
    }

    /// Until they are taken or refused; where it is stopped, once.
    async fn send(&mut self, batch: &mut Vec<Span>) {
        let (body, many) = (proto::request(&self.resource, batch), batch.len() as u64);
        batch.clear();
        let mut pause = PAUSE;
        loop {
            let came_of_it = self.call(body.clone()).await;
            let count = match came_of_it {
                Ok(()) => {
                    if std::mem::take(&mut self.is_in_vain) {
                        tracing::info!("spans reach {} again", self.upstream.origin());
                    }
                    &self.counts.sent
                }
                Err(InVain::Refused(status)) => {
                    self.tell(&format!("it answers {status}"));
                    &self.counts.refused
                }
                Err(InVain::ForNow(why)) => {
                    self.tell(&why);
                    if !self.stop.is_cancelled() {
                        tokio::select! {
                            () = self.stop.cancelled() => {}
                            () = sleep(pause) => {}
                        }
                        pause = (pause * 2).min(LONGEST_PAUSE);
                        continue;
                    }
                    &self.counts.refused
                }
            };
            count.fetch_add(many, Relaxed);
            self.counts.waiting.fetch_sub(many, Relaxed);
            return;
        }
    }

    fn tell(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_in_vain, true) {
            let origin = self.upstream.origin();
            tracing::warn!(
                "spans do not reach {origin}: {why}. Requests go on; spans for which there is no room are dropped"
            );
        }
    }

    async fn call(&mut self, body: Bytes) -> Result<(), InVain> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        request.headers_mut().insert(header::CONTENT_TYPE, protobuf);
        let answer = self.upstream.call(request).await;
        let (head, body) = answer.map_err(|error| InVain::ForNow(in_a_line(&error)))?.into_parts();
        // Read to its end, so that the connection can be used again.
        let body = Limited::new(body, MOST_BYTES).collect().await;
        match head.status {
            status if status.is_success() => {
                body.map(|_| ()).map_err(|error| InVain::ForNow(in_a_line(&*error)))
            }
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                Err(InVain::ForNow(format!("it answers {}", head.status)))
            }
            status => Err(InVain::Refused(status)),
        }
    }
}
