//! HTTP client: one GET with a budget, and three ways it can fail.

use std::{
    error::Error,
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::{door::STEP, error::causes};

/// A body larger than this is refused while it arrives.
const MAX_BODY_BYTES: usize = 8 << 20;
/// Less than the posts service keeps connections: the side that asks should be the one that closes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(STEP.as_secs() - 2);

/// A connection that is not made within the budget must be told from an answer that does not come
/// within it, so the whole gets a moment more than the connecting.
const AFTER_CONNECTING: Duration = Duration::from_millis(50);

/// A pooled client with a budget of time for each request. Clones share the pool.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: Client<HttpConnector, Empty<Bytes>>,
    budget: Duration,
}

#[derive(Debug)]
pub(crate) struct HttpReply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("no connection")]
    Connect(#[source] legacy::Error),
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
    #[error("the request went wrong")]
    Request(#[source] legacy::Error),
    #[error("the answer broke off or is larger than {MAX_BODY_BYTES} bytes")]
    Body(#[source] Box<dyn Error + Send + Sync>),
}

impl HttpClient {
    /// Keeps up to `max_idle` connections for later requests; 0 makes a new one for each.
    pub(crate) fn new(budget: Duration, max_idle: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(budget));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(max_idle)
            .build(connector);
        HttpClient { client, budget }
    }

    /// Asks once; redirects are answers like others. Dropping the future gives the request up.
    pub(crate) async fn get(&self, uri: Uri) -> Result<HttpReply, HttpError> {
        let whole = self.budget + AFTER_CONNECTING;
        match tokio::time::timeout(whole, self.ask(uri)).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::Timeout(self.budget)),
        }
    }

    async fn ask(&self, uri: Uri) -> Result<HttpReply, HttpError> {
        let began = Instant::now();
        let response = self.client.get(uri).await.map_err(|error| self.classify(error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(HttpError::Body)?;
        Ok(HttpReply {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
            took: began.elapsed(),
        })
    }

    fn classify(&self, error: legacy::Error) -> HttpError {
        if !error.is_connect() {
            HttpError::Request(error)
        } else if causes(&error).any(is_timeout) {
            HttpError::ConnectTimeout(self.budget)
        } else {
            HttpError::Connect(error)
        }
    }
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}
