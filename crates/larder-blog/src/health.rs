//! Health: one question to a part that should be running.

use std::time::Duration;

use crate::{
    error::{BlogError, with_causes},
    http_client::HttpClient,
};

const BUDGET: Duration = Duration::from_secs(3);

/// Succeeds if `url` answers 200.
pub(crate) async fn check(url: http::Uri) -> Result<(), BlogError> {
    let answer = match HttpClient::new(BUDGET, 0).get(url.clone()).await {
        Ok(reply) if reply.status.is_success() => return Ok(()),
        Ok(reply) => reply.status.to_string(),
        Err(error) => with_causes(&error),
    };
    Err(BlogError::Unhealthy { url, answer })
}
