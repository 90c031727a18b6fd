//! Refresh: asks the origin behind the readers' backs.

use std::{iter, pin::pin, sync::Arc, time::Duration};

use http::HeaderMap;
use tokio::time::Instant;

use super::{
    below::{self, For, Found},
    cache::Parts,
    fetch::fetch,
    landing::Leader,
    miss::collapse_key_of,
    origin::{Origin, OriginRequest},
    phases::{Phases, phases_of},
    request::Retrieval,
    store::AtHand,
    stored::Stored,
};
use crate::{engine::flight::Join, sync, tier::memory::Looker};

/// How long a flight is waited for that has brought its answer: one that goes on for longer brings something newer.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// What is to be asked behind the readers' backs: whether one of the variants at hand is still current.
pub(crate) struct Refresh {
    pub(crate) at_hand: AtHand,
    pub(crate) index: usize,
    /// The fields to add to the request.
    pub(crate) conditional: HeaderMap,
    pub(crate) origin: Origin,
}

impl Refresh {
    /// Asks, unless somebody does already.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn begin(self, cache: &Arc<Parts>, asked: &Retrieval) {
        if !cache.engine().may_refresh(&asked.key) {
            return;
        }
        let Refresh { at_hand, index, conditional, origin } = self;
        let key = Arc::clone(&asked.key);
        // Here, for it clones what the reader's server has put into the request.
        let (mut asked, stored) = (asked.clone(), Arc::clone(&at_hand.variants.at(index).stored));
        if let Some(behind) = phases_of(&asked.head.extensions).map(Phases::behind) {
            asked.head.extensions.insert(behind);
        }
        // What waits for its turn does not keep the cache it waits in alive.
        let waiting = Arc::downgrade(cache);
        cache.engine().refresh(&key, at_hand.cost, || {
            Box::pin(async move {
                let Some(cache) = waiting.upgrade() else { return };
                run(cache, asked, stored, conditional, origin).await;
            })
        });
    }
}

async fn run(
    cache: Arc<Parts>,
    asked: Retrieval,
    stored: Arc<Stored>,
    conditional: HeaderMap,
    origin: Origin,
) {
    let engine = cache.engine();
    let key = Arc::clone(&asked.key);
    let at_hand = cache.store.look(&key);
    let collapse_key = collapse_key_of(&cache, &asked, &at_hand, iter::empty(), Looker::Reader);
    let join = || engine.join_collapse_key(&cache.flights, &key, &collapse_key);
    let leader = match join() {
        Join::Lead(leader) => leader,
        // It may have stored what is to be refreshed, and then is about to end.
        Join::Follow(follower) if follower.has_landed() => {
            sync::in_time(ENDS_WITHIN, follower.landing_that(|_| false)).await.ok();
            drop(follower);
            let Join::Lead(leader) = join() else { return };
            leader
        }
        // What it brings is not for those who ask now.
        Join::Follow(follower)
            if follower.is_overtaken(|fence| engine.was_purged_since(&key, fence)) =>
        {
            follower.give_up();
            drop(follower);
            let Join::Lead(leader) = join() else { return };
            leader
        }
        Join::Follow(_) | Join::TooMany => return,
    };
    // Somebody may have brought a newer one, or purged it.
    let is_there = || cache.store.look(&key).variants.contain(&stored);
    if !is_there() {
        return;
    }
    if let Some(phases) = phases_of(&asked.head.extensions) {
        leader.call(phases.name().0);
    }
    let mut attempt = engine.begin_refresh(&key);
    let polled = leader.polled();
    let refreshing = pin!(bring(&cache, asked, Arc::clone(&stored), conditional, leader, origin));
    polled.run(refreshing).await;
    // A refresh puts something into its place, if only a confirmation.
    attempt.failed = is_there();
    if !attempt.failed {
        engine.forget_backoff(&key);
    }
}

/// The leader's part: below first, where something lies there, and then the origin.
async fn bring(
    cache: &Arc<Parts>,
    asked: Retrieval,
    stored: Arc<Stored>,
    conditional: HeaderMap,
    leader: Leader,
    origin: Origin,
) {
    let mut may_write = None;
    let began = Instant::now();
    if let Some(beneath) = &cache.beneath {
        match below::look(cache, beneath, &asked, &leader, For::Refresh).await {
            Found::Response(found) => {
                return below::hand_on(cache, &Arc::new(asked), leader, found, origin, drop).await;
            }
            Found::Nothing(writes) | Found::Apart(writes) => may_write = writes,
        }
        // What was purged meanwhile is not confirmed.
        if !cache.store.look(&asked.key).variants.contain(&stored) {
            return;
        }
    }
    let mut origin_request = OriginRequest::refresh(asked, stored, conditional);
    if leader.was_passed_over() {
        origin_request.confirm_nothing();
    }
    origin_request.may_write = may_write;
    origin_request.spent = began.elapsed();
    fetch(Arc::clone(cache), origin_request, leader, origin, None).await;
}
