//! Below: what a leader asks the tier below memory before it asks the origin, and what it hands on of what is there.
//!
//! Memory and the tier below are decided over together, by the same rules. What answers the request is handed on as
//! what an origin has sent: a long body as it comes. What does not, but is of use for asking the origin or for
//! standing in for it, is brought into memory first.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use larder_policy::{reason::Reason, reuse::Ask, stored::StoredHead};
use tokio::time::Instant;

use super::{
    body::{Body, BoxFuture, arriving::BodyReader, stored::StoredBody},
    cache::Parts,
    error::BoxError,
    landing::{Delivery, FlightOutcome, FlightResult, Leader},
    miss::collapse_key_of,
    origin::Origin,
    pump::{Flow, Pumped, pump},
    records::{Beneath, MayWrite, ResponseBelow, short_name},
    reply::{Receiving, make_ready},
    request::Retrieval,
    resume::{Form, rest},
    store::AtHand,
    stored::{Brought, Mark, Stored},
    tags::tags_of,
    variants::StoredVariant,
};
use crate::{
    engine::lower::{Asked, Lower, Search},
    sync,
    tier::{
        lower::{Body as LowerBody, BodyId},
        memory::Looker,
    },
};

/// How often a piece of a body that is being read is asked for: its readers have had the beginning.
const TRIES: usize = 3;

/// For whom a leader asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// Readers, whom nothing in memory answers.
    Readers,
    /// One whose answer is for itself, mostly: a part, or a head. Nobody waits for that, nor does it wait.
    OneReader,
    /// A refresh: only what is fresh is of use.
    Refresh,
}

/// What asking below has come to.
pub(crate) enum Found {
    /// Something that answers the request.
    Response(FromBelow),
    /// Nothing that does. What is fetched now may be written.
    Nothing(Option<Box<MayWrite>>),
    /// The same, and another process has found that its answers are for one reader each: nobody is to wait for this one.
    Apart(Option<Box<MayWrite>>),
}

/// A response from below.
pub(crate) struct FromBelow {
    /// Why it may answer.
    pub(crate) reason: Reason,
    marked_stale: Option<Mark>,
    cost: Duration,
    source: Source,
}

enum Source {
    Here(Arc<Stored>),
    /// Its body is on its way.
    Arrives {
        receiving: Receiving,
        pieces: Pieces,
    },
}

/// What the reader who leads gets of it.
pub(crate) struct OwnFromBelow {
    pub(crate) response: Brought,
    /// Keeps the beginning of its body until this reader reads it.
    pub(crate) place: Option<BodyReader>,
    pub(crate) reason: Reason,
    pub(crate) marked_stale: Option<Mark>,
    /// Somebody else has brought it there meanwhile.
    pub(crate) was_in_memory: bool,
}

/// Asks below. The flight is within reach of purges afterwards ([`lower`](crate::engine::lower) has the pictures).
pub(crate) async fn look(
    cache: &Parts,
    beneath: &Beneath,
    asked: &Retrieval,
    leader: &Leader,
    whom: For,
) -> Found {
    let (lower, engine) = (&beneath.lower, cache.engine());
    lower.send_behind();
    let mut search = ForResponse { cache, beneath, asked, leader, whom, last: None };
    let looking = lower.look(leader.key(), &mut search);
    let looked = match cache.hard_timeout(&asked.policy) {
        Some(limit) => {
            let deadline = sync::after(Instant::now(), limit);
            sync::until(deadline, looking).await.unwrap_or(Err(None))
        }
        None => looking.await,
    };
    match looked {
        Ok(found) => {
            lower.count_hit();
            Found::Response(found)
        }
        Err(lease) => {
            lower.count_miss();
            leader.begin(|| engine.position());
            let read = |below| beneath.read(&cache.store, &asked.policy, leader.key(), below);
            let there = search.last.as_ref().map(read).unwrap_or_default();
            // Read after purges reach the flight.
            let may_write = beneath.may_write(lease, &there).map(Box::new);
            match search.last.as_ref().and_then(|last| search.apart_for(last)) {
                Some(left) => {
                    let is_revoked = || leader.is_revoked();
                    let name = asked.sharing_name();
                    cache.hit_for_miss.remember_apart(name, left, leader.fence(), is_revoked);
                    Found::Apart(may_write)
                }
                None => Found::Nothing(may_write),
            }
        }
    }
}

/// A leader's search for a response.
struct ForResponse<'a> {
    cache: &'a Parts,
    beneath: &'a Beneath,
    asked: &'a Retrieval,
    leader: &'a Leader,
    whom: For,
    /// What was there when it looked last.
    last: Option<Asked>,
}

impl Search for ForResponse<'_> {
    type Found = FromBelow;

    async fn usable(&mut self, asked: &Asked) -> Option<FromBelow> {
        let ForResponse { cache, beneath, leader, .. } = *self;
        self.last = Some(asked.clone());
        let at_hand = cache.store.look_for(Looker::Reader, self.asked);
        let policy = &self.asked.policy;
        let there = beneath.read_and_count(&cache.store, policy, leader.key(), asked);
        let best = best(self.asked, &there, &at_hand)?;
        let verdict = cache.decide_beside(self.asked, &at_hand, best.variant());
        let in_memory = at_hand.variants.len();
        match verdict.served() {
            Some((index, reason)) if index == in_memory => {
                let is_of_use = self.whom != For::Refresh || reason == Reason::Hit;
                if is_of_use { self.bring(best, reason).await } else { None }
            }
            Some(_) => None,
            None => {
                if verdict.needs(in_memory) {
                    self.bring_into_memory(best).await;
                }
                None
            }
        }
    }

    fn wanted(&self, asked: &Asked) -> String {
        let ForResponse { cache, beneath, leader, .. } = *self;
        let at_hand = cache.store.look(leader.key());
        let there = beneath.read(&cache.store, &self.asked.policy, leader.key(), asked);
        let heads = there.iter().map(|response| &response.head);
        let collapse_key = collapse_key_of(cache, self.asked, &at_hand, heads, Looker::Reader);
        if collapse_key.is_empty() { collapse_key } else { short_name(collapse_key.as_bytes()) }
    }

    fn fetches_for_others(&self, asked: &Asked) -> bool {
        self.whom != For::OneReader && self.apart_for(asked).is_none()
    }
}

impl ForResponse<'_> {
    /// For how long readers do well to ask the origin one by one, going by what lies there. One refresh is enough for
    /// all of them in any case.
    fn apart_for(&self, asked: &Asked) -> Option<Duration> {
        let ForResponse { cache, beneath, leader, whom, .. } = *self;
        if whom != For::Readers {
            return None;
        }
        beneath.apart_for(&cache.store, self.asked, leader.key(), asked)
    }

    /// It, with its body, or with the beginning of that.
    async fn bring(&self, found: &ResponseBelow<'_>, reason: Reason) -> Option<FromBelow> {
        let ForResponse { cache, beneath, .. } = *self;
        let head = found.head.clone();
        let source = match &found.record.head.body {
            // Those who wait do not share what is stale: they find it in memory, where it is as a whole.
            LowerBody::Pieces { id, begin, pieces, bytes } if reason == Reason::Hit => {
                if head.named_length().is_some_and(|named| named != *bytes) {
                    beneath.lower.count_unreadable();
                    return None;
                }
                let (first, next) = match begin.is_empty() {
                    true => (beneath.lower.piece(*id, 0).await?, 1),
                    false => (begin.clone(), 0),
                };
                let receiving =
                    make_ready(cache, &self.asked.policy, head, Some(*bytes), found.asked_at)
                        .ok()?;
                let pieces = Pieces {
                    lower: Arc::clone(&beneath.lower),
                    id: *id,
                    next,
                    pieces: *pieces,
                    part: Some(Part::Came(Some(first))),
                };
                Source::Arrives { receiving, pieces }
            }
            _ => Source::Here(self.whole(found).await?),
        };
        self.begin_unless_purged(found)?;
        let cost = found.record.head.cost;
        let marked_stale = found.marked_stale();
        Some(FromBelow { reason, marked_stale, cost, source })
    }

    /// Where the flight begins, and no purge has come since the record was judged.
    fn begin_unless_purged(&self, found: &ResponseBelow<'_>) -> Option<()> {
        let ForResponse { cache, beneath, leader, .. } = *self;
        leader.begin(|| cache.engine().position());
        let state = beneath.lower.state(leader.key(), &found.record.head);
        (state == found.state).then_some(())
    }

    async fn whole(&self, found: &ResponseBelow<'_>) -> Option<Arc<Stored>> {
        let lower = &self.beneath.lower;
        let max =
            usize::try_from(self.cache.max_body_bytes(&self.asked.policy)).unwrap_or(usize::MAX);
        let _room = match found.record.head.body {
            LowerBody::Pieces { bytes, .. } => Some(self.cache.account.reserve(bytes)?),
            LowerBody::Whole(_) => None,
        };
        // However many pieces it has, its readers wait no longer for them than for another process.
        let deadline = sync::after(Instant::now(), lower.settings().lease_wait);
        let bytes = sync::until(deadline, lower.body(&found.record.head.body, max)).await??;
        if found.head.named_length().is_some_and(|named| named != bytes.len() as u64) {
            self.beneath.lower.count_unreadable();
            return None;
        }
        let body = StoredBody::copied(&[bytes], &self.cache.account);
        Some(Arc::new(Stored::new(found.head.clone(), body, found.asked_at)))
    }

    /// What the origin is to be asked about, or may stand in for it.
    async fn bring_into_memory(&self, found: &ResponseBelow<'_>) {
        let ForResponse { cache, asked, leader, .. } = *self;
        let Some(stored) = self.whole(found).await else { return };
        if self.begin_unless_purged(found).is_none() {
            return;
        }
        let variant = StoredVariant::of(stored, found.marked_stale());
        let cost = found.record.head.cost;
        cache.store.keep(&asked.policy, asked.request(), variant, &[], cost, leader);
        self.beneath.lower.count_rescue();
    }
}

/// The one that answers this request rather than the others, if memory has none as recent.
fn best<'a, 'b>(
    asked: &Retrieval,
    there: &'b [ResponseBelow<'a>],
    at_hand: &AtHand,
) -> Option<&'b ResponseBelow<'a>> {
    let (policy, request) = (&asked.policy, asked.request());
    // When another process has asked for it is known to some milliseconds only.
    if asked.not_before().is_some() {
        return None;
    }
    let fitting = there.iter().filter(|response| response.head.selects(policy, request.headers));
    let best = fitting.max_by_key(|response| response.head.preference())?;
    let is_as_recent = |variant: &StoredVariant| {
        variant.stored.is_whole() && variant.stored.asked_at >= best.asked_at
    };
    let is_known = at_hand.variants.selected_by(policy, request).any(is_as_recent);
    (!is_known).then_some(best)
}

/// What lies below for a request, and what a leader would make of it.
pub(crate) struct SeenBelow {
    /// All that is there of this cache and not purged.
    pub(crate) responses: Vec<SeenResponse>,
    /// Which of them would answer, and why.
    pub(crate) serves: Option<(usize, Reason)>,
    /// How the origin would be asked where one of them is asked about there, or may stand in for it.
    pub(crate) asks: Option<Ask>,
    /// Other processes have found that such answers are for one reader each.
    pub(crate) is_apart: bool,
}

/// A response that lies below.
pub(crate) struct SeenResponse {
    pub(crate) head: StoredHead,
    pub(crate) marked_stale: Option<Mark>,
}

/// Reads the heads that lie below, within the tier's own time budget, and decides over them as a leader does. Nothing is
/// brought into memory, and no lease taken; what other processes have purged is learnt, as by each read. `None`: the tier
/// does not answer.
///
/// Dropping the future gives up the read.
pub(crate) async fn look_on(
    cache: &Parts,
    beneath: &Beneath,
    asked: &Retrieval,
) -> Option<SeenBelow> {
    let heads = beneath.lower.heads(&asked.key).await?;
    let at_hand = cache.store.look_for(Looker::Onlooker, asked);
    let there = beneath.read(&cache.store, &asked.policy, &asked.key, &heads);
    let (mut serves, mut asks) = (None, None);
    if let Some(best) = best(asked, &there, &at_hand) {
        let place = there.iter().position(|response| std::ptr::eq(response, best));
        let in_memory = at_hand.variants.len();
        let verdict = cache.decide_beside(asked, &at_hand, best.variant());
        match verdict.served() {
            Some((index, reason)) if index == in_memory => {
                serves = place.map(|place| (place, reason))
            }
            Some(_) => {}
            None if verdict.needs(in_memory) => asks = verdict.asks(),
            None => {}
        }
    }
    let apart = beneath.apart_for(&cache.store, asked, &asked.key, &heads);
    let responses = there.into_iter().map(|response| SeenResponse {
        marked_stale: response.marked_stale(),
        head: response.head,
    });
    Some(SeenBelow { responses: responses.collect(), serves, asks, is_apart: apart.is_some() })
}

/// Hands a response from below on to those who wait, and brings it into memory. `origin`: who is asked for the rest, where a
/// piece of it is gone.
pub(crate) async fn hand_on(
    cache: &Arc<Parts>,
    asked: &Arc<Retrieval>,
    leader: Leader,
    found: FromBelow,
    origin: Origin,
    tell_own: impl FnOnce(OwnFromBelow),
) {
    let FromBelow { reason, marked_stale, cost, source } = found;
    let (policy, request) = (&asked.policy, asked.request());
    let keep = |stored, leader: &Leader| {
        let variant = StoredVariant::of(stored, marked_stale);
        cache.store.keep(policy, request, variant, &[], cost, leader);
    };
    let result = |response: &Brought, leader: &Leader| {
        let tags = tags_of([response.head()], request);
        let tags = cache.engine().tag_ids(tags.iter().map(String::as_str));
        let delivery = Delivery { response: response.clone(), tags, is_from_below: true };
        FlightResult { fence: leader.fence(), outcome: FlightOutcome::Brought(Arc::new(delivery)) }
    };
    match source {
        Source::Here(stored) => {
            let response = Brought::Stored(Arc::clone(&stored));
            keep(stored, &leader);
            match reason {
                Reason::Hit => {
                    let result = result(&response, &leader);
                    leader.land(result);
                }
                // They look in memory.
                _ => drop(leader),
            }
            let place = None;
            tell_own(OwnFromBelow { response, place, reason, marked_stale, was_in_memory: false });
        }
        Source::Arrives { receiving, pieces } => {
            let Receiving { incoming, filler, place } = receiving;
            let body = Body::passing(Mended {
                source: Rest::Below(pieces),
                handed_on: 0,
                form: Form::of(incoming.head.fields()),
                asking: Some((Arc::clone(cache), Arc::clone(asked), origin)),
            });
            // Its readers may leave from now on: it is on its way into memory.
            leader.go_on();
            let response = Brought::Incoming(Arc::clone(&incoming));
            let result = result(&response, &leader);
            leader.announce(result);
            tell_own(OwnFromBelow { response, place, reason, marked_stale, was_in_memory: false });
            let flow = Flow {
                body,
                filler,
                announced: incoming.body.len(),
                leader: &leader,
                sharing_name: asked.sharing_name(),
                policy,
                // The origin has nothing to do with it.
                turn: None,
                may_write: &mut None,
            };
            if let Pumped::Whole(body) = pump(cache, flow).await
                && let Some(whole) = incoming.with_body(policy, body)
            {
                keep(Arc::new(whole), &leader);
            }
        }
    }
}

/// A body that lies below in pieces, read one after the other. While one is handed on the next is under way. What came with
/// the head goes first: whoever reads it is not to wait until the next has been asked for.
struct Pieces {
    lower: Arc<Lower>,
    id: BodyId,
    /// The next to ask for, and how many there are.
    next: u32,
    pieces: u32,
    /// What is handed on next. `None`: that was all.
    part: Option<Part>,
}

enum Part {
    /// `None`: in vain.
    Came(Option<Bytes>),
    Asked(Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>),
}

impl Pieces {
    fn ask(&mut self) -> Option<Part> {
        if self.next >= self.pieces {
            return None;
        }
        let (lower, id, index) = (Arc::clone(&self.lower), self.id, self.next);
        self.next += 1;
        Some(Part::Asked(Box::pin(async move {
            for _ in 0..TRIES {
                if let Some(bytes) = lower.piece(id, index).await {
                    return Some(bytes);
                }
            }
            lower.note_lost(id);
            None
        })))
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let bytes = match &mut this.part {
            None => return Poll::Ready(None),
            Some(Part::Came(bytes)) => bytes.take(),
            Some(Part::Asked(asking)) => ready!(asking.as_mut().poll(context)),
        };
        let is_begin = this.next == 0;
        this.part = match bytes {
            Some(_) => this.ask(),
            None => None,
        };
        // Nothing is asked before the first poll.
        if !is_begin
            && let Some(Part::Asked(asking)) = &mut this.part
            && let Poll::Ready(bytes) = asking.as_mut().poll(context)
        {
            this.part = Some(Part::Came(bytes));
        }
        let frame = bytes.map(Frame::data).ok_or_else(|| "a piece of it is gone below".into());
        Poll::Ready(Some(frame))
    }
}

/// A body that lies below in pieces, and comes from the origin from where one of them is gone.
struct Mended {
    source: Rest,
    /// So many bytes.
    handed_on: u64,
    /// By what the origin knows it again, if it does.
    form: Option<Form>,
    /// Taken once it is asked.
    asking: Option<(Arc<Parts>, Arc<Retrieval>, Origin)>,
}

enum Rest {
    Below(Pieces),
    Asked(BoxFuture<Option<Body>>),
    FromOrigin(Body),
}

impl HttpBody for Mended {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let frame = match &mut this.source {
                Rest::Below(pieces) => match ready!(Pin::new(pieces).poll_frame(context)) {
                    Some(Err(error)) => {
                        let form = this.form.take();
                        let Some((form, (cache, asked, origin))) = form.zip(this.asking.take())
                        else {
                            return Poll::Ready(Some(Err(error)));
                        };
                        let at = this.handed_on;
                        let asking = async move { rest(&cache, &asked, origin, form, at).await };
                        this.source = Rest::Asked(Box::pin(asking));
                        continue;
                    }
                    frame => frame,
                },
                Rest::Asked(asking) => match ready!(asking.as_mut().poll(context)) {
                    Some(body) => {
                        this.source = Rest::FromOrigin(body);
                        continue;
                    }
                    None => return Poll::Ready(Some(Err("the rest of it is gone".into()))),
                },
                Rest::FromOrigin(body) => ready!(Pin::new(body).poll_frame(context)),
            };
            if let Some(Ok(frame)) = &frame {
                this.handed_on += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            return Poll::Ready(frame);
        }
    }
}
