//! Landing: what a flight of the library's brings to those who wait for it.

use std::{sync::Arc, time::Duration};

use super::negative::Failed;
use crate::{
    answer::{Answer, AnswerSource, Storage},
    engine::store::Dated,
    entry::Facts,
    purge::{Fence, tags::TagId},
};

/// What a flight brings to those who wait for it.
#[derive(Clone)]
pub(super) enum FlightResult<V> {
    Value(Arc<Delivery<V>>),
    Failure { failed: Failed, fence: Fence },
}

/// A value, with what its readers are told of it.
pub(super) struct Delivery<V> {
    value: Box<V>,
    cost: Duration,
    pub(super) tags: Box<[TagId]>,
    pub(super) fence: Fence,
    storage: Storage,
    /// How old it was when it came from below. `None`: it was fetched.
    age_below: Option<Duration>,
}

impl<V> Delivery<V> {
    pub(super) fn of(fetched: Dated<V>, storage: Storage) -> Self {
        let Facts { cost, tags, fence, .. } = fetched.facts;
        Delivery { value: fetched.value, cost, tags, fence, storage, age_below: None }
    }

    /// One that was found below, and was so old there.
    pub(super) fn found(found: Dated<V>, storage: Storage, age: Duration) -> Self {
        Delivery { age_below: Some(age), ..Delivery::of(found, storage) }
    }

    /// How old it was when it came from below. `None`: it was fetched.
    pub(super) fn age_below(&self) -> Option<Duration> {
        self.age_below
    }

    pub(super) fn value(&self) -> &V {
        &self.value
    }
}

impl<V: Clone> Delivery<V> {
    /// The answer that one of its readers gets.
    pub(super) fn answer(&self, source: AnswerSource) -> Box<Answer<V>> {
        let &Delivery { storage, cost, age_below, .. } = self;
        let value = V::clone(&self.value);
        let (source, age) = match age_below {
            Some(age) => (AnswerSource::Lower, age),
            None => (source, Duration::ZERO),
        };
        Box::new(Answer { value, source, age, storage, cost })
    }
}
