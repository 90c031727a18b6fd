//! Why an upstream gave no answer, and what its reader is told.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};
use larder::http::policy::proxy_status::ProxyError;

use super::{failure::Failure, page::Page};
use crate::{problem::Problem, upstream::UpstreamError};

/// An address that was silent may answer by then.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// No answer. Where an origin is stays inside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswered {
    /// The address that was asked last gave none.
    #[error("{error}")]
    Failed {
        /// Why.
        #[source]
        error: UpstreamError,
        /// For the reader, if the address is to blame.
        page: Option<Box<Page>>,
    },
    /// All addresses are silent, and as many requests try them as may.
    #[error("no address of upstream {name} answers, and enough requests try them")]
    Down {
        /// The upstream.
        name: Arc<str>,
        /// For the reader.
        page: Option<Box<Page>>,
    },
    /// As many requests of its route are under way as may be: nothing was asked.
    #[error("as many requests of this route are under way as may be")]
    RouteFull,
    /// The process takes all memory that it may: nothing was asked.
    #[error("the process takes as much memory as it may")]
    NoMemory,
}

impl Unanswered {
    /// Whether its service is to blame, and not who asks, or what there is room for here.
    pub(crate) fn is_its_service_s(&self) -> bool {
        match self {
            Unanswered::Failed { error, .. } => Failure::of_error(error).is_some(),
            Unanswered::Down { .. } => true,
            Unanswered::RouteFull | Unanswered::NoMemory => false,
        }
    }

    /// What the reader is told.
    pub(crate) fn to_response(&self) -> Response<Bytes> {
        match self {
            Unanswered::Failed { page: Some(page), .. }
            | Unanswered::Down { page: Some(page), .. } => page.to_response(),
            Unanswered::Failed { error, page: None } => error.to_problem().to_response(),
            Unanswered::Down { page: None, .. } => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Origin down",
                "the origin does not answer",
                ProxyError::DestinationUnavailable,
            )
            .retry_after(RETRY_AFTER)
            .to_response(),
            Unanswered::RouteFull => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Busy",
                "too many requests like this one wait for the origin",
                ProxyError::ConnectionLimitReached,
            )
            .retry_after(RETRY_AFTER)
            .to_response(),
            Unanswered::NoMemory => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Busy",
                "this gateway has no memory left for more requests",
                ProxyError::ProxyInternalError,
            )
            .retry_after(RETRY_AFTER)
            .to_response(),
        }
    }
}
