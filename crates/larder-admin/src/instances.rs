//! Instances: who shares a tier with the caches, how far behind its log they are, and what they hold.

use std::sync::Arc;

use axum::{Json, extract::State};
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    console::Console,
    problem::{Problem, ProblemView},
};

/// What is known of them, or why nobody can tell.
pub type Told<'a> = BoxFuture<'a, Result<Vec<InstanceView>, String>>;

/// Who knows the others. A cache does not: they are of the tier below it.
pub trait Fleet: Send + Sync {
    /// All of them, or why nobody can tell.
    fn instances(&self) -> Told<'_>;
}

/// One process that shares the tier.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct InstanceView {
    /// By which receipts name it.
    pub name: String,
    /// It is the one that answers.
    pub is_self: bool,
    /// It has said something lately.
    pub alive: bool,
    /// How far it has read the log of purges.
    pub cursor: u64,
    /// So far it is behind the end of the log.
    pub behind: u64,
    /// What it holds in memory, where it has said so.
    pub entries: Option<u64>,
    /// The bytes of that.
    pub bytes: Option<u64>,
    /// It has said nothing for so long.
    pub seen_seconds_ago: f64,
}

/// Who shares the tier below.
#[derive(Serialize, ToSchema)]
pub(crate) struct Instances {
    instances: Vec<InstanceView>,
}

/// Who shares a tier with the caches, as far as the tier knows. None where nothing is shared.
#[utoipa::path(
    get, path = "/v1/instances", tag = "shared tier",
    responses(
        (status = 200, description = "All of them.", body = Instances),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn instances(
    State(console): State<Arc<Console>>,
) -> Result<Json<Instances>, Problem> {
    let Some(fleet) = &console.fleet else {
        return Ok(Json(Instances { instances: Vec::new() }));
    };
    let unknown = |why: String| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The shared tier does not answer", why)
    };
    fleet.instances().await.map(|instances| Json(Instances { instances })).map_err(unknown)
}
