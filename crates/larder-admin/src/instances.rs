//! Instances: who shares a tier with the caches, how far behind its log they are, and what they hold.

use std::sync::Arc;

use axum::{Json, extract::State};
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde::Serialize;

use crate::{console::Console, problem::Problem};

/// What is known of them, or why nobody can tell.
pub type Told<'a> = BoxFuture<'a, Result<Vec<InstanceView>, String>>;

/// Who knows the others. A cache does not: they are of the tier below it.
pub trait Fleet: Send + Sync {
    /// All of them, or why nobody can tell.
    fn instances(&self) -> Told<'_>;
}

/// One process that shares the tier.
#[derive(Clone, Debug, PartialEq, Serialize)]
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

#[derive(Serialize)]
pub(crate) struct Instances {
    instances: Vec<InstanceView>,
}

/// None where nothing is shared.
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
