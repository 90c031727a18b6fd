//! Posts client: the posts service as the backend sees it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::Serialize;

use crate::{
    backend::{
        endpoint::Endpoint,
        reply::{Reply, Unusable},
    },
    error::with_causes,
    http_client::{HttpClient, HttpError},
    settings::BaseUrl,
};

/// For connecting, and for the whole answer.
pub(super) const BUDGET: Duration = Duration::from_secs(5);
const MAX_IDLE_CONNECTIONS: usize = 32;

#[derive(Clone, Debug)]
pub(crate) struct PostsClient {
    client: HttpClient,
    base: Arc<BaseUrl>,
    calls: Arc<AtomicU64>,
    last_call: Arc<Mutex<LastCall>>,
}

/// What came of the call that ended last, for all clones.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LastCall {
    /// There was none yet.
    Unasked,
    Answered,
    Failed,
}

/// Why the posts service gave no answer that can be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostsError {
    #[error("the posts service cannot be asked")]
    Http(#[from] HttpError),
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// It says itself that it cannot: passed on, unless a stale copy can stand in (RFC 5861 §4).
    #[error("the posts service answered {}", .0.status())]
    Failing(Reply),
    #[error("no answer of the posts service reached its readers")]
    Lost,
}

impl PostsError {
    /// What can be passed on of a posts service that says itself that it fails.
    pub(crate) fn reply(&self) -> Result<&Reply, &PostsError> {
        match self {
            PostsError::Failing(reply) => Ok(reply),
            _ => Err(self),
        }
    }

    /// What the page is told; the cause is for the log.
    pub(crate) fn answer(&self) -> &'static str {
        match self {
            PostsError::Http(HttpError::Connect(_)) => {
                "Posts service unavailable (connection error)"
            }
            PostsError::Http(HttpError::ConnectTimeout(_)) => "Posts service unavailable (timeout)",
            PostsError::Http(_)
            | PostsError::Unusable(_)
            | PostsError::Failing(_)
            | PostsError::Lost => "Service communication error",
        }
    }
}

impl PostsClient {
    pub(crate) fn new(base: BaseUrl) -> PostsClient {
        let client = HttpClient::new(BUDGET, MAX_IDLE_CONNECTIONS);
        let last_call = Arc::new(Mutex::new(LastCall::Unasked));
        PostsClient { client, base: Arc::new(base), calls: Arc::default(), last_call }
    }

    pub(crate) fn base(&self) -> &str {
        self.base.as_str()
    }

    /// How many calls there were so far, of all clones.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    pub(crate) fn last_call(&self) -> LastCall {
        *self.last_call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of the posts service. A failure is logged here, once, however many wait for it.
    pub(crate) async fn ask(&self, endpoint: &Endpoint) -> Result<Reply, PostsError> {
        let path = endpoint.path();
        self.calls.fetch_add(1, Relaxed);
        let reply = match self.client.get(self.base.join(&path)).await {
            Ok(reply) => match Reply::from_origin(reply) {
                Ok(reply) if reply.status().is_server_error() => Err(PostsError::Failing(reply)),
                reply => reply.map_err(PostsError::from),
            },
            Err(error) => Err(error.into()),
        };
        let ended = if reply.is_ok() { LastCall::Answered } else { LastCall::Failed };
        *self.last_call.lock().unwrap_or_else(PoisonError::into_inner) = ended;
        reply.inspect_err(|error| tracing::warn!("{path}: {}", with_causes(error)))
    }
}
