//! Origin: the posts service as the backend sees it.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use crate::{
    backend::{endpoint::Endpoint, reply::Reply},
    error::with_causes,
    http_client::{HttpClient, HttpError},
    settings::BaseUrl,
};

/// For connecting, and for the whole answer.
const BUDGET: Duration = Duration::from_secs(5);
const MAX_IDLE_CONNECTIONS: usize = 32;

#[derive(Clone, Debug)]
pub(crate) struct Origin {
    client: HttpClient,
    base: Arc<BaseUrl>,
}

/// Why the posts service gave no answer that can be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OriginError {
    #[error("the posts service cannot be asked")]
    Http(#[from] HttpError),
    #[error("the posts service answered {0}, which means nothing here")]
    Status(StatusCode),
    #[error("the posts service answered 200 with something that is no JSON")]
    NoJson(#[source] serde_json::Error),
}

impl OriginError {
    pub(crate) const BROKEN: &str = "Service communication error";

    /// What the page is told; the cause is for the log.
    pub(crate) fn answer(&self) -> &'static str {
        match self {
            OriginError::Http(HttpError::Connect(_)) => {
                "Posts service unavailable (connection error)"
            }
            OriginError::Http(HttpError::ConnectTimeout(_)) => {
                "Posts service unavailable (timeout)"
            }
            OriginError::Http(_) | OriginError::Status(_) | OriginError::NoJson(_) => Self::BROKEN,
        }
    }
}

impl Origin {
    pub(crate) fn new(base: BaseUrl) -> Origin {
        let client = HttpClient::new(BUDGET, MAX_IDLE_CONNECTIONS);
        Origin { client, base: Arc::new(base) }
    }

    /// One call of the posts service. A failure is logged here, once, however many wait for it.
    pub(crate) async fn ask(&self, endpoint: &Endpoint) -> Result<Reply, OriginError> {
        let path = endpoint.path();
        let reply = match self.client.get(self.base.join(&path)).await {
            Ok(reply) => Reply::from_origin(reply),
            Err(error) => Err(error.into()),
        };
        reply.inspect_err(|error| tracing::warn!("{path}: {}", with_causes(error)))
    }
}
