//! Fetch: a leader's part of a miss, and a refresh: ask → judge → hand out → store → land.

use std::{
    future::{Future, pending},
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Method, StatusCode};
use larder_policy::{
    head::Exchange,
    reason::Reason,
    reuse::{OriginFailure, ReaderFields, may_share},
    stored::StoredHead,
};
use tokio::{sync::oneshot, time::Instant as Deadline};

use super::{
    below::OwnFromBelow,
    body::{Body, arriving::BodyReader},
    cache::Parts,
    error::{BrokenOff, NoAnswer},
    landing::{Delivery, FlightOutcome, FlightResult, Leader, Polled, Waiters},
    origin::{Origin, OriginRequest},
    pump::{Flow, Pumped, pump, until},
    records::{MayWrite, ToWrite},
    reply::{Judged, OriginReply, Receiving, UnstoredReply, judge},
    request::GivenUp,
    stored::{Brought, Stored},
    tags::tags_of,
    turns::Turn,
};
use crate::{answer::Storage, engine::CountedFetch, error::WithSources, stats::Event};

/// What the reader who leads a flight gets of it. `why`: for what reason the origin was asked in the end.
pub(crate) struct Told {
    pub(crate) why: Reason,
    pub(crate) outcome: LeaderOutcome,
}

pub(crate) enum LeaderOutcome {
    /// What lay below memory answers it.
    FromBelow(OwnFromBelow, Origin),
    /// An answer that is stored, or will be.
    StoredReply(StoredReply),
    /// An answer that is for this reader alone. `reader_fields`: as in [`StoredReply`].
    Through {
        reply: UnstoredReply,
        took: Duration,
        reader_fields: ReaderFields,
    },
    /// The origin failed like this, and what is at hand may stand in.
    StandIn(OriginFailure),
    Failed(NoAnswer),
}

/// An answer that is stored, or will be.
pub(crate) struct StoredReply {
    pub(crate) response: Brought,
    /// Keeps the beginning of its body until this reader reads it.
    pub(crate) place: Option<BodyReader>,
    /// The fields as the origin sent them.
    pub(crate) sent: HeaderMap,
    pub(crate) status: StatusCode,
    pub(crate) took: Duration,
    /// Whether the origin has seen the reader's own preconditions and range, or has to be answered for.
    pub(crate) reader_fields: ReaderFields,
    /// Why it is not stored after all: a purge came in between, say.
    pub(crate) not_stored: Option<Reason>,
    /// By this its reader may go on by itself, where its body is on its way.
    pub(crate) origin: Option<Origin>,
}

/// A fetch: what it is for, and how long it may take.
struct Fetching<'a> {
    cache: &'a Parts,
    leader: Leader,
    /// For what reason the origin is asked.
    why: Reason,
    /// What lets its answer be written below memory.
    may_write: Option<Box<MayWrite>>,
    /// The reader that it is for may have left.
    own: Option<oneshot::Sender<Told>>,
    /// How long its reader waits for a head, and until when.
    limit: Option<Duration>,
    deadline: Option<Deadline>,
}

/// Does what a flight's leader does, for others as well. Given up when all have left who waited for a head: then
/// nobody wants what the origin is asked for, and its turn is somebody else's.
pub(crate) async fn while_awaited(
    cache: &Parts,
    (waiters, polled): (Waiters, Polled),
    leading: Pin<&mut impl Future<Output = ()>>,
) {
    tokio::select! {
        biased;
        () = polled.run(leading) => {}
        () = waiters.gone() => cache.counters().abandoned.increment(),
    }
}

/// The leader's part: waits for a turn, asks, judges, hands out, stores, lands.
pub(crate) async fn fetch(
    cache: Arc<Parts>,
    mut origin_request: OriginRequest,
    leader: Leader,
    mut origin: Origin,
    own: Option<oneshot::Sender<Told>>,
) {
    let fetching = Fetching::begin(&cache, &mut origin_request, leader, own);
    let turn = match fetching.take_turn(&origin_request).await {
        Ok(turn) => turn,
        Err(error) => return fetching.fail(error),
    };
    let counted = cache.engine().begin_fetch();
    let began = Instant::now();
    let (judged, took) = match fetching.ask(&mut origin_request, &mut origin, began).await {
        Ok(judged) => judged,
        Err(error) => return fetching.fail(error),
    };
    match judged {
        Judged::TookTooLong => {
            let error = fetching.too_long();
            fetching.fail(error);
        }
        Judged::AskForTheWhole => {
            fetching.fail(NoAnswer::Unusable("it confirms what it was not asked"));
        }
        Judged::StandIn(status) => fetching.stand_in(status),
        Judged::NotStored(reply) => fetching.hand_through(&origin_request, reply, took, counted),
        Judged::Here { fresh, updates, sent, status } => {
            let updates = updates.as_slice();
            fetching.store(&origin_request, fresh, updates, (sent, status), took, counted);
        }
        Judged::Arrives { receiving, body, sent, status } => {
            let arrives = Arrives { receiving, body, sent, status, took, began, counted, turn };
            fetching.stream(&origin_request, arrives, origin).await;
        }
    }
}

/// An answer that arrives, and is to be stored.
struct Arrives<'a> {
    receiving: Receiving,
    body: Body,
    sent: HeaderMap,
    status: StatusCode,
    took: Duration,
    began: Instant,
    counted: CountedFetch<'a>,
    turn: Turn,
}

impl<'a> Fetching<'a> {
    fn begin(
        cache: &'a Parts,
        origin_request: &mut OriginRequest,
        leader: Leader,
        own: Option<oneshot::Sender<Told>>,
    ) -> Self {
        let limit = cache.hard_timeout(&origin_request.asked.policy);
        // One that cannot be told is none.
        let left = limit.map(|limit| limit.saturating_sub(origin_request.spent));
        let deadline = left.and_then(|left| Deadline::now().checked_add(left));
        let (why, may_write) = (origin_request.why, origin_request.may_write.take());
        Fetching { cache, leader, why, may_write, own, limit, deadline }
    }

    fn too_long(&self) -> NoAnswer {
        NoAnswer::TookTooLong { limit: self.limit.unwrap_or_default() }
    }

    /// The turn of a request to the origin: its client's, or, once others wait for it as well, of them all. A
    /// client that has all it may have does not keep them waiting by having asked first.
    async fn take_turn(&self, origin_request: &OriginRequest) -> Result<Turn, NoAnswer> {
        let Parts { turns, settings, .. } = self.cache;
        let client = match origin_request.is_refresh {
            true => None,
            false => origin_request.asked.client(),
        };
        let of_several = async {
            match origin_request.is_shared && client.is_some() {
                true => self.leader.waiters().of_several().await,
                false => pending().await,
            }
        };
        let of = (&*origin_request.asked.key, client);
        let counters = self.cache.counters();
        let taking = pin!(turns.take_counted(of, settings.turn_wait, counters, of_several));
        until(self.deadline, taking).await.unwrap_or_else(|| Err(self.too_long()))
    }

    /// Asks, and judges the answer; once more at most, when what comes fits nothing that is stored. Tells
    /// how long that took.
    async fn ask(
        &self,
        origin_request: &mut OriginRequest,
        origin: &mut Origin,
        began: Instant,
    ) -> Result<(Judged, Duration), NoAnswer> {
        let deadline = self.deadline;
        let mut is_last = false;
        loop {
            let requested_at = self.cache.now();
            let mut request = origin_request.request();
            let given_up = GivenUp::default();
            if deadline.is_some() {
                request.extensions_mut().insert(given_up.clone());
            }
            let mut asking = origin.ask(request);
            let Some(answered) = until(deadline, asking.as_mut()).await else {
                given_up.say();
                return Ok((Judged::TookTooLong, began.elapsed()));
            };
            let (took, answer) = (began.elapsed(), answered?);
            let exchange = Exchange { requested_at, received_at: self.cache.received_now() };
            let reply = OriginReply { origin_request, exchange, took };
            match judge(self.cache, &reply, answer, &self.leader) {
                Judged::AskForTheWhole if !is_last => origin_request.ask_for_the_whole(),
                judged => return Ok((judged, took)),
            }
            is_last = true;
        }
    }

    fn fail(self, error: NoAnswer) {
        self.cache.engine().tell_failed(self.leader.key(), &WithSources(&error));
        self.land(FlightOutcome::Failed(error.clone()), LeaderOutcome::Failed(error));
    }

    fn stand_in(self, status: StatusCode) {
        let failure = OriginFailure::Status(status);
        self.land(FlightOutcome::StoodIn(status), LeaderOutcome::StandIn(failure));
    }

    /// An answer that is for its reader alone.
    fn hand_through(
        mut self,
        origin_request: &OriginRequest,
        reply: UnstoredReply,
        took: Duration,
        counted: CountedFetch<'_>,
    ) {
        counted.succeed();
        self.cache.counters().fetch_took(took);
        let OriginRequest { asked, reader_fields, .. } = origin_request;
        let UnstoredReply { answer, reason, .. } = &reply;
        if origin_request.tells_of_others(answer.status()) {
            let (policy, name) = (&asked.policy, asked.sharing_name());
            let is_news = self.cache.remember_apart(policy, name, *reason, &self.leader);
            // Before its lease ends.
            if let (Some(memory), Some(may_write)) = (is_news, self.may_write.take()) {
                self.cache.publish_apart(policy, name, memory, &self.leader, *may_write);
            }
        }
        self.tell_fetched(took, Some(*reason), false);
        let reader_fields = *reader_fields;
        let own = LeaderOutcome::Through { reply, took, reader_fields };
        self.land(FlightOutcome::NotForOthers, own);
    }

    /// An answer that is here, with its body.
    fn store(
        mut self,
        origin_request: &OriginRequest,
        fresh: Arc<Stored>,
        updates: &[Arc<Stored>],
        (sent, status): (HeaderMap, StatusCode),
        took: Duration,
        counted: CountedFetch<'_>,
    ) {
        counted.succeed();
        self.cache.counters().fetch_took(took);
        let response = Brought::Stored(Arc::clone(&fresh));
        let outcome = self.brought(origin_request, response.clone());
        let apart = self.note_sharing(origin_request, &fresh.head);
        let not_stored = self.keep(origin_request, fresh, updates, took, apart);
        let (place, reader_fields) = (None, origin_request.reader_fields);
        let origin = None;
        let kept =
            StoredReply { response, place, sent, status, took, reader_fields, not_stored, origin };
        self.land(outcome, LeaderOutcome::StoredReply(kept));
    }

    /// An answer that arrives: who waits reads it as it comes, and it is stored once it is here.
    async fn stream(
        mut self,
        origin_request: &OriginRequest,
        arrives: Arrives<'_>,
        origin: Origin,
    ) {
        let Arrives { receiving, body, sent, status, took, began, counted, turn } = arrives;
        let Receiving { incoming, filler, place } = receiving;
        // Its readers may leave from now on: it is on its way into the cache.
        self.leader.go_on();
        let response = Brought::Incoming(Arc::clone(&incoming));
        let apart = self.note_sharing(origin_request, &incoming.head);
        if origin_request.is_shared {
            let outcome = self.brought(origin_request, response.clone());
            self.leader.announce(FlightResult { fence: self.leader.fence(), outcome });
        }
        let reader_fields = origin_request.reader_fields;
        let not_stored = self.leader.is_revoked().then_some(Reason::Purged);
        let origin = Some(origin);
        let kept =
            StoredReply { response, place, sent, status, took, reader_fields, not_stored, origin };
        self.tell_own(LeaderOutcome::StoredReply(kept));
        let flow = Flow {
            body,
            filler,
            announced: incoming.body.len(),
            leader: &self.leader,
            sharing_name: origin_request.asked.sharing_name(),
            policy: &origin_request.asked.policy,
            turn: Some(turn),
            may_write: &mut self.may_write,
        };
        let pumped = pump(self.cache, flow).await;
        let cost = began.elapsed();
        let whole = match pumped {
            Pumped::Broken => {
                return self.cache.engine().tell_failed(self.leader.key(), &BrokenOff);
            }
            Pumped::Passed(reason) => Err(reason),
            Pumped::Whole(body) => {
                incoming.with_body(&origin_request.asked.policy, body).ok_or(Reason::ContentRange)
            }
        };
        counted.succeed();
        self.cache.counters().fetch_took(cost);
        // Who joins once the leader is gone looks in the cache first.
        match whole {
            Ok(whole) => _ = self.keep(origin_request, Arc::new(whole), &[], cost, apart),
            Err(reason) => self.tell_fetched(cost, Some(reason), false),
        }
    }

    /// Stores what was fetched, and tells of it; and why it is not stored, where it is not. `apart`: for so long it is
    /// known that it is for one reader.
    fn keep(
        &mut self,
        origin_request: &OriginRequest,
        fresh: Arc<Stored>,
        updates: &[Arc<Stored>],
        cost: Duration,
        apart: Option<Duration>,
    ) -> Option<Reason> {
        let Fetching { cache, leader, may_write, .. } = self;
        let asked = &origin_request.asked;
        let (policy, request) = (&asked.policy, asked.request());
        let kept = cache.store.keep(policy, request, Arc::clone(&fresh), updates, cost, leader);
        let not_stored = match kept {
            Storage::Not(reason) => Some(reason),
            Storage::FreshFor(_) | Storage::StaleFor(_) => None,
        };
        // That memory has no room for it says nothing of what lies below.
        if let (None | Some(Reason::TooLarge | Reason::NoRoom), Some(beneath)) =
            (not_stored, &cache.beneath)
            && let Some(may_write) = may_write.take()
        {
            let (key, stored) = (leader.key(), &fresh);
            let to_write = ToWrite { key, policy, request, stored, cost };
            let written = beneath.write(&cache.store, may_write, to_write);
            // A record would have said so itself.
            if let (Err(may_write), Some(memory)) = (written, apart) {
                cache.publish_apart(policy, asked.sharing_name(), memory, leader, *may_write);
            }
        }
        if let (None, Some(tables)) = (not_stored, &cache.no_vary_search)
            && asked.head.method == Method::GET
        {
            let keep_for = fresh.head.keep_for(policy);
            tables.remember(leader.key(), fresh.head.fields(), keep_for, leader.fence());
        }
        self.tell_fetched(cost, not_stored, fresh.head.lacks_freshness(policy));
        not_stored
    }

    /// Remembers whether those who wait for an answer like this one may have it: what is stored, but
    /// stale at once, is not to be reused without asking (RFC 9111 §4), by those who wait for it no more than
    /// by later ones. If they may not, and that is news, for how long that is remembered.
    fn note_sharing(&self, origin_request: &OriginRequest, fresh: &StoredHead) -> Option<Duration> {
        let Fetching { cache, leader, .. } = self;
        let asked = &origin_request.asked;
        let name = asked.sharing_name();
        match may_share(&asked.policy, fresh, asked.request(), cache.now()) {
            Ok(()) if asked.is_personal() => {
                let is_revoked = || leader.is_revoked();
                cache.hit_for_miss.remember_together(name, leader.fence(), is_revoked);
                None
            }
            Ok(()) => {
                cache.hit_for_miss.forget(name);
                None
            }
            Err(reason) => origin_request
                .tells_of_others(fresh.status())
                .then(|| cache.remember_apart(&asked.policy, name, reason, leader))
                .flatten(),
        }
    }

    /// What the flight's readers are told, with the tags by which a purge finds it.
    fn brought(&self, origin_request: &OriginRequest, response: Brought) -> FlightOutcome {
        let tags = tags_of([response.head()], origin_request.reader());
        let tags = self.cache.engine().tag_ids(tags.iter().map(String::as_str));
        FlightOutcome::Brought(Arc::new(Delivery { response, tags, is_from_below: false }))
    }

    fn tell_fetched(&self, took: Duration, not_stored: Option<Reason>, lacks_freshness: bool) {
        let key = || Arc::clone(self.leader.key());
        let lacks_freshness = lacks_freshness && not_stored.is_none();
        let event = || Event::Fetched { key: key(), took, not_stored, lacks_freshness };
        self.cache.counters().tell(event);
    }

    /// Ends the flight, and tells its own reader, who may have left.
    fn land(mut self, outcome: FlightOutcome, own: LeaderOutcome) {
        let (sender, why) = (self.own.take(), self.why);
        let fence = self.leader.fence();
        self.leader.land(FlightResult { fence, outcome });
        if let Some(sender) = sender {
            sender.send(Told { why, outcome: own }).ok();
        }
    }

    /// Tells its own reader how it goes on. It may have left.
    fn tell_own(&mut self, own: LeaderOutcome) {
        if let Some(sender) = self.own.take() {
            sender.send(Told { why: self.why, outcome: own }).ok();
        }
    }
}
