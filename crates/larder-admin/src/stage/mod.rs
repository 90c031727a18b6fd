//! Stage: what a server offers to whoever watches it in the console: a crowd of requests, and faults that are switched on
//! and off again.
//!
//! A cache offers none of this. A server gives what it has to [`Admin::stage`](crate::Admin::stage); without it all paths
//! below `/v1/stage` answer 404. Each act costs or changes something, so it asks for the token that changes ask for.
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicBool, Ordering::Relaxed}};
//! use larder_admin::{Admin, stage::Stage};
//!
//! let is_cut_off = Arc::new(AtomicBool::new(false));
//! let told = Arc::clone(&is_cut_off);
//! let stage = Stage::new().break_shared(
//!     "Redis at 127.0.0.1:6379",
//!     move || told.load(Relaxed),
//!     move |cut_off| is_cut_off.store(cut_off, Relaxed),
//! );
//! let router: axum::Router = Admin::new().stage(stage).router();
//! ```

mod crowd;
mod faults;
mod sent;

use std::{fmt, sync::Arc, time::Duration};

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

pub use self::crowd::{Crowd, CrowdAnswer, CrowdOffer, Crowds, SentCrowd, Verdict};
pub(crate) use self::{
    crowd::{__path_crowd, crowd},
    faults::{__path_break_shared, __path_slow_origin, break_shared, slow_origin},
};
use self::{
    faults::{OriginDelay, SharedTier},
    sent::CrowdsSent,
};
use crate::{
    console::Console,
    problem::{Problem, ProblemView},
};

/// What a server offers for the stage. By itself it is nothing.
pub struct Stage {
    crowds: Option<Box<dyn Crowds>>,
    /// Taken while a crowd is under way: there is one at a time.
    turn: Semaphore,
    sent: CrowdsSent,
    shared: Option<SharedTier>,
    origin: Option<OriginDelay>,
}

impl Stage {
    /// No acts.
    pub fn new() -> Stage {
        let (turn, sent) = (Semaphore::new(1), CrowdsSent::default());
        Stage { crowds: None, turn, sent, shared: None, origin: None }
    }

    /// Offers a crowd, which `crowds` sends.
    pub fn crowds(mut self, crowds: impl Crowds + 'static) -> Stage {
        self.crowds = Some(Box::new(crowds));
        self
    }

    /// Offers to cut this process off from the tier that it shares, which is called `place`. `is_cut_off` tells how it is,
    /// and `set` changes it; neither may wait.
    pub fn break_shared(
        mut self,
        place: impl Into<String>,
        is_cut_off: impl Fn() -> bool + Send + Sync + 'static,
        set: impl Fn(bool) + Send + Sync + 'static,
    ) -> Stage {
        let (place, is_cut_off, set) = (place.into(), Box::new(is_cut_off), Box::new(set));
        self.shared = Some(SharedTier { place, is_cut_off, set });
        self
    }

    /// Offers to have the origin take from no time to ten seconds for each answer. What `delay` tells now is what is usual;
    /// `set` changes it; neither may wait. `says` is a sentence about what else there is to know, and may be empty.
    pub fn slow_origin(
        mut self,
        says: impl Into<String>,
        delay: impl Fn() -> Duration + Send + Sync + 'static,
        set: impl Fn(Duration) + Send + Sync + 'static,
    ) -> Stage {
        let usual = delay();
        let (says, delay, set) = (says.into(), Box::new(delay), Box::new(set));
        self.origin = Some(OriginDelay { usual, says, delay, set });
        self
    }

    /// How many crowds were sent, where they are offered.
    pub(crate) fn sent(&self) -> Option<CrowdsSent> {
        self.crowds.is_some().then(|| self.sent.clone())
    }

    fn acts(&self) -> Vec<ActView> {
        let crowd = self.crowds.as_ref().map(|crowds| {
            let is_under_way = self.turn.available_permits() == 0;
            crowds.offer().view(is_under_way)
        });
        let shared = self.shared.as_ref().map(SharedTier::view);
        let origin = self.origin.as_ref().map(OriginDelay::view);
        [crowd, shared, origin].into_iter().flatten().collect()
    }
}

impl Default for Stage {
    fn default() -> Self {
        Stage::new()
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("has_crowds", &self.crowds.is_some())
            .field("has_shared", &self.shared.is_some())
            .field("has_origin", &self.origin.is_some())
            .finish_non_exhaustive()
    }
}

/// What is offered, and how it stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Stage)]
pub(crate) struct StageView {
    acts: Vec<ActView>,
}

/// Something that can be done for whoever watches: `POST /v1/stage/{name}`.
#[derive(Serialize, ToSchema)]
#[schema(as = StageAct)]
#[serde(tag = "name", rename_all = "snake_case")]
pub(crate) enum ActView {
    /// Many requests at once.
    Crowd {
        /// Scheme and host that they are for, where nothing else is said.
        at: String,
        /// A path that is there.
        path: String,
        /// Whether another host may be named.
        takes_host: bool,
        /// How many there are where nothing else is said.
        usual: usize,
        /// How many there may be.
        most: usize,
        /// There is one now: another is refused.
        is_under_way: bool,
    },
    /// The shared tier is out of reach for this process.
    BreakShared {
        /// What the tier is called.
        place: String,
        /// It is.
        on: bool,
    },
    /// How long the origin takes for each answer.
    SlowOrigin {
        /// So many milliseconds now.
        ms: u64,
        /// So many from the start.
        usual_ms: u64,
        /// So many at most.
        most_ms: u64,
        /// What else there is to know, for people; it may be empty.
        says: String,
    },
}

/// What this server offers for the stage, and how that stands. 404 where it offers nothing: a gateway does where its
/// configuration says so.
#[utoipa::path(
    get, path = "/v1/stage", tag = "stage",
    responses(
        (status = 200, description = "The acts.", body = StageView),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn stage(State(console): State<Arc<Console>>) -> Result<Json<StageView>, Problem> {
    let stage = console.stage.as_ref().ok_or_else(not_offered)?;
    Ok(Json(StageView { acts: stage.acts() }))
}

/// 404: of this, at least, nothing is offered.
fn not_offered() -> Problem {
    let detail = "this server offers no such act: a gateway offers a crowd where its configuration says stage = true in \
                  [admin], and the blog's demonstration offers all of them that it can";
    Problem::new(StatusCode::NOT_FOUND, "Not found", detail)
}
