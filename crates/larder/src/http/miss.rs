//! Miss: a request that has to go to the origin joins the key's flight: it leads, or it follows.

use std::sync::Arc;

use http::Response;
use larder_policy::{collapse_key::collapse_key, request::Flight, reuse::Ask, stored::StoredHead};

use super::{
    body::Body,
    cache::Parts,
    error::NoAnswer,
    follow::{Followed, follow},
    landing::Leader,
    origin::asks_in_vain_for_the_whole,
    request::Retrieval,
    store::AtHand,
    stored::Brought,
};
use crate::{engine::flight::Join, purge::Fence, tier::memory::Looker};

/// How many flights of others a reader waits for before it goes alone: each turned out to fetch
/// another variant than its own, or was purged meanwhile.
const MAX_ROUNDS: usize = 4;

/// A request on its way to the origin, alone or with others.
pub(crate) struct Miss<'a> {
    cache: &'a Arc<Parts>,
    asked: &'a Retrieval,
    /// The last purge in the table when it asked.
    asked_at: Fence,
    /// Fetches with lower numbers are too old for it.
    first_to_share: Option<u64>,
    rounds: usize,
    has_waited: bool,
    /// What others' flights have brought that was not for it: its own is another variant.
    announced: Vec<Brought>,
}

/// What joining a flight leads to.
pub(crate) enum Joined {
    /// It leads. `is_shared`: others may wait for what it brings. `is_news`: something may have changed since
    /// it was decided that the origin is to be asked.
    Leads { leader: Leader, is_shared: bool, is_news: bool },
    /// Another's flight has brought its answer.
    Answer(Response<Body>),
    /// Another's flight has brought none to anybody.
    Failed(NoAnswer),
    /// Another's flight has ended, and was not for it: what is stored may have changed.
    LookAgain,
}

impl<'a> Miss<'a> {
    pub(crate) fn new(cache: &'a Arc<Parts>, asked: &'a Retrieval) -> Self {
        let asked_at = cache.engine().asked_at();
        let first_to_share = cache.engine().first_to_share();
        Miss {
            cache,
            asked,
            asked_at,
            first_to_share,
            rounds: 0,
            has_waited: false,
            announced: Vec::new(),
        }
    }

    /// Joins a flight of what is asked for, and waits for it where another leads it.
    ///
    /// # Errors
    ///
    /// As many keys are being fetched as may.
    pub(crate) async fn join(&mut self, ask: &Ask, at_hand: &AtHand) -> Result<Joined, NoAnswer> {
        let Miss { cache, asked, .. } = *self;
        let (engine, flights, key) = (cache.engine(), &cache.flights, &asked.key);
        if self.rounds < MAX_ROUNDS && !goes_alone(cache, asked, ask, Looker::Reader) {
            self.rounds += 1;
            let collapse_key = self.collapse_key(at_hand);
            let client = cache.turns.client_number(asked.client());
            let follower = match ask.flight {
                Flight::Share => match engine.join_collapse_key(flights, key, &collapse_key) {
                    Join::Follow(follower) => Some(follower),
                    Join::Lead(leader) => {
                        leader.asked_by(client);
                        return Ok(Joined::Leads { leader, is_shared: true, is_news: true });
                    }
                    Join::TooMany => return Err(cache.too_many()),
                },
                Flight::Follow | Flight::Alone => flights.follow(key, &collapse_key),
            };
            if let Some(follower) = follower {
                follower.asked_by(client);
                self.has_waited = true;
                let is_earlier =
                    self.first_to_share.is_some_and(|first| follower.fetch().number() < first);
                match follow(cache, asked, ask, follower, self.asked_at, is_earlier).await {
                    Followed::Answer(answer) => return Ok(Joined::Answer(answer)),
                    Followed::Failed(error) => return Ok(Joined::Failed(error)),
                    Followed::Again => return Ok(Joined::LookAgain),
                    Followed::AnotherVariant(brought) => {
                        self.announced.push(brought);
                        return Ok(Joined::LookAgain);
                    }
                    Followed::NotForThis => {}
                }
            }
        }
        let leader = engine.lead_alone(flights, key).ok_or_else(|| cache.too_many())?;
        // Of nothing, nothing can have been purged since.
        let is_news = self.has_waited || !at_hand.variants.is_empty();
        Ok(Joined::Leads { leader, is_shared: false, is_news })
    }

    fn collapse_key(&self, at_hand: &AtHand) -> String {
        let announced = self.announced.iter().map(Brought::head);
        collapse_key_of(self.cache, self.asked, at_hand, announced, Looker::Reader)
    }
}

/// Which requests for a key wait for each other: those that ask for the same variant, as far as is
/// known. A personal one's answer is likely to be for nobody else, so others do not wait for it; nor
/// do those with other credentials, unless such answers are known to be for all.
pub(crate) fn collapse_key_of<'a>(
    cache: &Parts,
    asked: &Retrieval,
    at_hand: &'a AtHand,
    announced: impl Iterator<Item = &'a StoredHead>,
    looker: Looker,
) -> String {
    let headers = &asked.head.headers;
    let known = at_hand.variants.heads().chain(announced).map(StoredHead::fields);
    let mut collapse_key = collapse_key(asked.policy.fields_in_key(), known, headers.into());
    asked.policy.push_apart(headers, &mut collapse_key);
    if asked.is_personal() {
        collapse_key.push('\u{3}');
        if at_hand.variants.selected_by(&asked.policy, asked.request()).next().is_none()
            && !cache.hit_for_miss.is_together(asked.sharing_name(), looker)
        {
            collapse_key.push_str(&cache.credentials(headers));
        }
    }
    collapse_key
}

/// Whether a request goes to the origin by itself: as the rules say, or going by how its key's answers were of
/// late.
pub(crate) fn goes_alone(cache: &Parts, asked: &Retrieval, ask: &Ask, looker: Looker) -> bool {
    ask.flight == Flight::Alone
        || cache.hit_for_miss.is_apart(asked.sharing_name(), looker)
        || asks_in_vain_for_the_whole(cache, asked, ask, looker)
}
