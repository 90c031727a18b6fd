//! Landing: what a flight brings to those who wait for it.

use std::sync::Arc;

use http::StatusCode;

use super::{error::NoAnswer, stored::Brought};
use crate::{
    engine,
    purge::{Fence, tags::TagId},
};

pub(crate) type Flights = engine::flight::Flights<FlightResult>;
pub(crate) type Leader = engine::flight::Leader<FlightResult>;
pub(crate) type Follower = engine::flight::Follower<FlightResult>;
pub(crate) type Waiters = engine::flight::Waiters<FlightResult>;
pub(crate) type Polled = engine::flight::Polled<FlightResult>;

/// What a flight brings. `fence`: what its fetch knew of purges.
#[derive(Clone)]
pub(crate) struct FlightResult {
    pub(crate) fence: Fence,
    pub(crate) outcome: FlightOutcome,
}

/// What comes of a fetch for those who do not lead it.
#[derive(Clone)]
pub(crate) enum FlightOutcome {
    /// A response that may be stored.
    Brought(Arc<Delivery>),
    /// The answer is for one reader.
    NotForOthers,
    /// The origin answered with this error, and something stale stood in for it.
    StoodIn(StatusCode),
    Failed(NoAnswer),
}

/// A response, with the tags by which a purge finds it.
pub(crate) struct Delivery {
    pub(crate) response: Brought,
    pub(crate) tags: Box<[TagId]>,
    /// It lay below memory, and nobody has asked the origin for it.
    pub(crate) is_from_below: bool,
}
