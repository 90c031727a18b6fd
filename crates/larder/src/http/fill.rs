//! Fill: a leader's part of a miss, and a refresh: ask the origin, judge its answer, hand it out while
//! it arrives, store it, land.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{
        CONTENT_LENGTH, DATE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        IF_UNMODIFIED_SINCE,
    },
};
use http_body_util::BodyExt;
use larder_policy::{
    date,
    freshness::Lifetime,
    head::{Exchange, RequestHead, ResponseHead},
    range::contradicts_if_range,
    reason::Reason,
    request::{drop_reader_fields, drop_steering_fields, is_personal},
    response::{storability, tells_of_others},
    reuse::{Ask, Failure as OriginFailure, ReaderFields, Rescue, may_share},
    settings::Policy,
    validate::{HeadSays, answered_by, freshen, head_says},
};
use tokio::{
    sync::oneshot,
    time::{Instant as Deadline, timeout, timeout_at},
};

use super::{
    body::{Arriving, Body, Filler, Reader, Span, StoredBody},
    cache::{HttpCache, tags_of},
    respond::respond_once,
    service::{Asked, AtHand, Origin, OriginError},
    stored::{Content, Kept, Mark, Stored, Variants},
    turns::{Client, Turn},
};
use crate::{
    answer::Storage,
    cache::{
        fill::{Delivery, FlightResult, Load},
        negative::Failed,
        store::MAX_TAGS_OF_ENTRY,
    },
    entry::Fetched,
    stats::Event,
};

/// Where others wait for a turn, a body that nobody reads keeps its own while so much of it comes in each
/// [`LOOK_EVERY`]: then it will soon be stored.
const UNREAD_BYTES: u64 = 16 << 10;
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(crate) type Leader = crate::flight::Leader<FlightResult<Variants>>;

/// What a flight brings to those who waited, where there is nothing to share.
#[derive(Debug)]
pub(crate) enum Unshared {
    /// The answer is for one reader.
    NotForOthers,
    /// The origin answered with this error, and something stale stood in for it.
    StoodIn(StatusCode),
    /// There was no answer.
    Failed(OriginError),
}

/// What the reader who leads a flight gets of it. `reader_fields`: whether the origin has seen the reader's
/// own preconditions and range, or has to be answered for.
pub(crate) enum LeaderOutcome {
    /// An answer that is stored, or will be. `sent`: the fields as the origin sent them. `place`: keeps
    /// the beginning of its body until this reader reads it.
    Stored {
        kept: Kept,
        place: Option<Reader>,
        sent: HeaderMap,
        status: StatusCode,
        took: Duration,
        reader_fields: ReaderFields,
        /// Why it is not stored after all: a purge came in between, say.
        not_stored: Option<Reason>,
    },
    /// An answer that is for this reader alone. `status`: how the origin answered.
    Through {
        answer: Response<Body>,
        status: StatusCode,
        reason: Reason,
        took: Duration,
        reader_fields: ReaderFields,
    },
    /// The origin failed like this, and what is at hand may stand in.
    StandIn(OriginFailure),
    Failed(OriginError),
}

/// One way to the origin and back.
pub(crate) struct OriginRequest {
    /// The reader's request, as it reply.
    asked: Arc<Asked>,
    /// What of its fields goes along.
    reader_fields: ReaderFields,
    conditional: HeaderMap,
    revalidates: Vec<Arc<Stored>>,
    /// The part that the answer may complete.
    completes: Option<Arc<Stored>>,
    /// Stored responses to GET that an answer to HEAD tells something about.
    about: Vec<Arc<Stored>>,
    /// What may stand in if the origin fails.
    rescue: Option<Rescue>,
    /// Whether others may be waiting for the answer.
    is_shared: bool,
    /// Where it is remembered whether they can have it.
    sharing_name: Arc<str>,
    /// Whose turn it takes; nobody's if it is behind the readers' backs.
    client: Option<Client>,
}

impl OriginRequest {
    pub(crate) fn new(
        cache: &HttpCache,
        asked: &Arc<Asked>,
        ask: &Ask,
        at_hand: &AtHand,
        is_shared: bool,
    ) -> Self {
        let stored =
            |index: &usize| at_hand.variants.get(*index).map(|kept| Arc::clone(&kept.stored));
        let about = match asked.head.method {
            Method::HEAD => at_hand
                .variants
                .iter()
                .filter(|kept| kept.stored.head.selects(&asked.head.headers))
                .map(|kept| Arc::clone(&kept.stored))
                .collect(),
            _ => Vec::new(),
        };
        OriginRequest {
            asked: Arc::clone(asked),
            reader_fields: ask.reader_fields,
            conditional: ask.conditional.clone(),
            revalidates: ask.revalidates.iter().filter_map(stored).collect(),
            completes: ask.completes.as_ref().and_then(stored),
            about,
            rescue: ask.rescue,
            is_shared,
            sharing_name: cache.sharing_name(asked),
            client: asked.client(),
        }
    }

    /// One behind the readers' backs.
    pub(crate) fn refresh(
        cache: &HttpCache,
        mut asked: Asked,
        stored: Arc<Stored>,
        conditional: HeaderMap,
    ) -> Self {
        let sharing_name = cache.sharing_name(&asked);
        if asked.head.method == Method::HEAD {
            // What is stored is an answer to GET.
            asked.head.method = Method::GET;
        }
        // They were this one reader's, and what is stored has met them.
        for name in [IF_MATCH, IF_UNMODIFIED_SINCE, IF_RANGE] {
            asked.head.headers.remove(name);
        }
        OriginRequest {
            sharing_name,
            client: None,
            asked: Arc::new(asked),
            reader_fields: ReaderFields::Drop,
            conditional,
            revalidates: vec![stored],
            completes: None,
            about: Vec::new(),
            rescue: None,
            is_shared: true,
        }
    }

    /// What the reader asked.
    fn asked(&self) -> RequestHead<'_> {
        self.asked.request()
    }

    /// What the origin is asked.
    fn request(&self, policy: &Policy) -> Request<Body> {
        let mut head = self.asked.head.clone();
        drop_steering_fields(policy, &mut head.headers);
        if self.reader_fields == ReaderFields::Drop {
            drop_reader_fields(&mut head.headers);
        }
        for (name, value) in &self.conditional {
            head.headers.insert(name, value.clone());
        }
        Request::from_parts(head, Body::from(self.asked.content.clone()))
    }

    /// Asks once more for all of it, since what came fits nothing that is stored.
    fn ask_for_the_whole(&mut self) {
        self.reader_fields = ReaderFields::Drop;
        self.conditional.clear();
        self.revalidates.clear();
        self.completes = None;
    }

    /// Whether an answer that is not stored tells of the answers that others will get.
    fn tells_of_others(&self, status: StatusCode) -> bool {
        match self.reader_fields {
            ReaderFields::Forward => tells_of_others(&self.asked.head.headers, status),
            // The origin has not seen what was particular about it.
            ReaderFields::Drop => tells_of_others(&HeaderMap::new(), status),
        }
    }

    /// Whether the reader has preconditions that the origin has not seen.
    fn hides_preconditions(&self) -> bool {
        let has_own = |name| self.asked.head.headers.contains_key(name);
        self.reader_fields == ReaderFields::Drop
            && (has_own(IF_NONE_MATCH) || has_own(IF_MODIFIED_SINCE))
    }

    fn may_stand_in(&self, failure: OriginFailure, cache: &HttpCache) -> bool {
        self.rescue.is_some_and(|rescue| rescue.allows(failure, cache.wall_clock().now()))
    }
}

impl HttpCache {
    /// Why a fetch, or a request passed on, ended without a word.
    pub(crate) fn given_up(&self) -> OriginError {
        match self.shared().tasks.is_closed() {
            true => OriginError::new(ShutDown),
            false => OriginError::new(Broken("it was given up".to_owned())),
        }
    }

    /// As [`fill`](HttpCache::fill), for others as well. Given up when all have left who waited for a
    /// head: then nobody wants what the origin is asked for, and its turn is somebody else's.
    pub(crate) async fn fill_while_awaited(
        self,
        origin_request: OriginRequest,
        leader: Leader,
        origin: Origin,
        own: oneshot::Sender<LeaderOutcome>,
    ) {
        let (cache, waiters, polled) = (self.clone(), leader.waiters(), leader.polled());
        let filling = pin!(self.fill(origin_request, leader, origin, Some(own)));
        tokio::select! {
            biased;
            () = polled.run(filling) => {}
            () = waiters.gone() => cache.counters().abandoned.increment(),
        }
    }

    /// The leader's part: waits for a turn, asks, judges, hands out, stores, lands.
    pub(crate) async fn fill(
        self,
        mut origin_request: OriginRequest,
        leader: Leader,
        mut origin: Origin,
        own: Option<oneshot::Sender<LeaderOutcome>>,
    ) {
        let shared = Arc::clone(self.shared());
        let limit = shared.hard_timeout;
        // One that cannot be told is none.
        let deadline = limit.and_then(|limit| Deadline::now().checked_add(limit));
        let too_long = || OriginError::new(TookTooLong(limit.unwrap_or_default()));
        let taken = {
            // Pinned here: it is large, and would be moved from hand to hand.
            let taking_turn = pin!(self.turn_for(&origin_request, &leader));
            until(deadline, taking_turn).await
        };
        let turn = match taken {
            Some(Ok(turn)) => turn,
            Some(Err(error)) => return self.failed(leader, own, error),
            None => return self.failed(leader, own, too_long()),
        };
        let load = Load::begin(&shared.counters);
        let began = Instant::now();
        // Once more at most: when what comes fits nothing that is stored.
        for is_last in [false, true] {
            let requested_at = self.wall_clock().now();
            let asking = origin(origin_request.request(self.policy()));
            let answered = until(deadline, asking).await.unwrap_or_else(|| Err(too_long()));
            let took = began.elapsed();
            let answer = match answered {
                Ok(answer) => answer,
                Err(error) => return self.failed(leader, own, error),
            };
            let exchange =
                Exchange { requested_at, received_at: self.wall_clock().now_followed_up() };
            let reply = OriginReply { origin_request: &origin_request, exchange, took, deadline };
            match self.judge(&reply, answer, &leader).await {
                Judged::TookTooLong => return self.failed(leader, own, too_long()),
                Judged::AskForTheWhole if !is_last => origin_request.ask_for_the_whole(),
                Judged::AskForTheWhole => {
                    let error = Broken("it confirms what it was not asked".to_owned());
                    return self.failed(leader, own, OriginError::new(error));
                }
                Judged::StandIn(status) => {
                    land_unshared(leader, Unshared::StoodIn(status));
                    send(own, LeaderOutcome::StandIn(OriginFailure::Status(status)));
                    return;
                }
                Judged::NotStored { answer, status, reason } => {
                    load.succeed();
                    shared.counters.fetch_took(took);
                    let reader_fields = origin_request.reader_fields;
                    if origin_request.tells_of_others(answer.status()) {
                        self.remember_hit_for_miss(&origin_request.sharing_name, reason, &leader);
                    }
                    self.tell_fetched(&leader, took, Some(reason), false);
                    land_unshared(leader, Unshared::NotForOthers);
                    send(
                        own,
                        LeaderOutcome::Through { answer, status, reason, took, reader_fields },
                    );
                    return;
                }
                Judged::Here { fresh, updates, sent, status } => {
                    load.succeed();
                    shared.counters.fetch_took(took);
                    let kept = Kept::from(Arc::clone(&fresh));
                    let delivery =
                        self.delivery(origin_request.asked(), &leader, vec![kept.clone()], took);
                    self.note_sharing(&origin_request, &fresh, &leader);
                    let updates = updates.as_slice();
                    let not_stored =
                        self.keep_fetched(&origin_request, fresh, updates, took, &leader);
                    leader.land(FlightResult::Value(Arc::new(delivery)));
                    let (place, reader_fields) = (None, origin_request.reader_fields);
                    let answer = LeaderOutcome::Stored {
                        kept,
                        place,
                        sent,
                        status,
                        took,
                        reader_fields,
                        not_stored,
                    };
                    send(own, answer);
                    return;
                }
                Judged::Arrives { stored, filler, place, body, sent, status } => {
                    // Its readers may leave from now on: it is on its way into the cache.
                    leader.go_on();
                    let kept = Kept::from(Arc::clone(&stored));
                    self.note_sharing(&origin_request, &stored, &leader);
                    if origin_request.is_shared {
                        let kept = vec![kept.clone()];
                        let delivery = self.delivery(origin_request.asked(), &leader, kept, took);
                        leader.announce(FlightResult::Value(Arc::new(delivery)));
                    }
                    let reader_fields = origin_request.reader_fields;
                    let not_stored = leader.is_revoked().then_some(Reason::Purged);
                    let answer = LeaderOutcome::Stored {
                        kept,
                        place,
                        sent,
                        status,
                        took,
                        reader_fields,
                        not_stored,
                    };
                    send(own, answer);
                    let name = &origin_request.sharing_name;
                    let pumped = self.pump(body, filler, &stored, &leader, name, Some(turn)).await;
                    let cost = began.elapsed();
                    match pumped {
                        Pumped::Broken => {
                            let key = || Arc::clone(leader.key());
                            shared.counters.tell(|| Event::FetchFailed { key: key() });
                        }
                        Pumped::Passed(reason) => {
                            load.succeed();
                            shared.counters.fetch_took(cost);
                            self.tell_fetched(&leader, cost, Some(reason), false);
                        }
                        Pumped::Whole(body) => {
                            load.succeed();
                            shared.counters.fetch_took(cost);
                            match stored.with_body(body) {
                                Some(whole) => {
                                    let whole = Arc::new(whole);
                                    self.keep_fetched(&origin_request, whole, &[], cost, &leader);
                                }
                                None => {
                                    self.tell_fetched(
                                        &leader,
                                        cost,
                                        Some(Reason::ContentRange),
                                        false,
                                    );
                                }
                            }
                        }
                    }
                    // Who joins from now on looks in the cache first.
                    return;
                }
            }
        }
    }

    /// The turn of a request to the origin: its client's, or, once others wait for it as well, of them all. A client that
    /// has all it may have does not keep them waiting by having asked first.
    async fn turn_for(
        &self,
        origin_request: &OriginRequest,
        leader: &Leader,
    ) -> Result<Turn, OriginError> {
        let key = &origin_request.asked.key;
        if !origin_request.is_shared || origin_request.client.is_none() {
            return self.fetch_turn(key, origin_request.client, pending()).await;
        }
        let waiters = leader.waiters();
        self.fetch_turn(key, origin_request.client, waiters.of_several()).await
    }

    /// Stores what was fetched, and tells of it; and why it is not stored, where it is not.
    fn keep_fetched(
        &self,
        origin_request: &OriginRequest,
        fresh: Arc<Stored>,
        updates: &[Arc<Stored>],
        cost: Duration,
        leader: &Leader,
    ) -> Option<Reason> {
        let kept = self.keep(origin_request.asked(), Arc::clone(&fresh), updates, cost, leader);
        let not_stored = match kept {
            Storage::Not(reason) => Some(reason),
            Storage::FreshFor(_) | Storage::StaleFor(_) => {
                if origin_request.asked.head.method == Method::GET {
                    self.remember_no_vary_search(leader.key(), &fresh, leader.fence());
                }
                None
            }
        };
        self.tell_fetched(leader, cost, not_stored, fresh.head.lacks_freshness());
        not_stored
    }

    /// Remembers whether those who wait for an answer like this one may have it: what is stored, but
    /// stale at once, is not to be reused without asking (RFC 9111 §4), by those who wait for it no more than
    /// by later ones.
    fn note_sharing(&self, origin_request: &OriginRequest, fresh: &Stored, leader: &Leader) {
        let (request, name) = (origin_request.asked(), &origin_request.sharing_name);
        match may_share(self.policy(), &fresh.head, request, self.wall_clock().now()) {
            Ok(()) if is_personal(self.policy(), request.headers) => {
                self.remember_shared_though_personal(name, leader);
            }
            Ok(()) => self.forget_hit_for_miss(name),
            Err(reason) => {
                let tells = origin_request.tells_of_others(fresh.head.status());
                let reason = match reason {
                    Reason::Expired => Reason::NoFreshness,
                    reason => reason,
                };
                if tells {
                    self.remember_hit_for_miss(name, reason, leader);
                }
            }
        }
    }

    fn tell_fetched(
        &self,
        leader: &Leader,
        took: Duration,
        not_stored: Option<Reason>,
        lacks_freshness: bool,
    ) {
        let key = || Arc::clone(leader.key());
        let lacks_freshness = lacks_freshness && not_stored.is_none();
        self.counters().tell(|| Event::Fetched { key: key(), took, not_stored, lacks_freshness });
    }

    fn failed(
        &self,
        leader: Leader,
        own: Option<oneshot::Sender<LeaderOutcome>>,
        error: OriginError,
    ) {
        self.counters().tell(|| Event::FetchFailed { key: Arc::clone(leader.key()) });
        land_unshared(leader, Unshared::Failed(error.clone()));
        send(own, LeaderOutcome::Failed(error));
    }

    /// What a flight's readers are told, with the tags by which a purge finds it.
    fn delivery(
        &self,
        request: RequestHead<'_>,
        leader: &Leader,
        kept: Vec<Kept>,
        took: Duration,
    ) -> Delivery<Variants> {
        let tags = tags_of(&kept, request);
        let lifetime = Lifetime::fresh_for(Duration::from_secs(1));
        let fetched = Fetched::new(Variants::of(kept)).lifetime(lifetime).tags(tags);
        let dated = self.shared().dated(leader.key(), fetched, took, leader.fence());
        Delivery::of(dated, Storage::FreshFor(Duration::ZERO))
    }

    /// What an answer of the origin means.
    async fn judge(
        &self,
        reply: &OriginReply<'_>,
        answer: Response<Body>,
        leader: &Leader,
    ) -> Judged {
        let origin_request = reply.origin_request;
        let (head, body) = answer.into_parts();
        let status = head.status;
        if status == StatusCode::NOT_MODIFIED && !origin_request.revalidates.is_empty() {
            return self.confirmed(reply, head.headers, leader);
        }
        if status.is_server_error()
            && origin_request.may_stand_in(OriginFailure::Status(status), self)
        {
            return Judged::StandIn(status);
        }
        if !origin_request.asked.is_spelt_as_its_key() {
            let answer = Response::from_parts(head, body);
            return Judged::NotStored { answer, status, reason: Reason::Spelling };
        }
        if origin_request.asked.head.method == Method::HEAD {
            self.update_by_head(reply, status, &head.headers, leader);
        }
        let response = ResponseHead { status, headers: (&head.headers).into() };
        match (&origin_request.completes, status) {
            (Some(part), StatusCode::PARTIAL_CONTENT) => {
                return self.completed(reply, response, body, part).await;
            }
            // What there is now ends before the range, which was ours; or the reader has it already, and
            // the origin has only seen what we have.
            (completes, StatusCode::RANGE_NOT_SATISFIABLE)
                if completes.is_some() || origin_request.hides_preconditions() =>
            {
                return Judged::AskForTheWhole;
            }
            (None, StatusCode::PARTIAL_CONTENT)
                if contradicts_if_range(&origin_request.asked.head.headers, &head.headers) =>
            {
                return Judged::AskForTheWhole;
            }
            _ => {}
        }
        match self.receive(origin_request.asked(), response, reply.exchange) {
            Ok(Receiving { stored, filler, place }) => {
                Judged::Arrives { stored, filler, place, body, sent: head.headers, status }
            }
            Err(reason) => {
                let answer = Response::from_parts(head, body);
                Judged::NotStored { answer, status, reason }
            }
        }
    }

    /// Makes ready for the body of an answer that is to be stored.
    pub(crate) fn receive(
        &self,
        request: RequestHead<'_>,
        response: ResponseHead<'_>,
        exchange: Exchange,
    ) -> Result<Receiving, Reason> {
        let head = storability(self.policy(), request, response, exchange)?;
        let len = announced_len(response);
        if len.is_some_and(|len| len > self.max_body_bytes()) {
            self.counters().too_large.increment();
            return Err(Reason::TooLarge);
        }
        if !self.room().fits(len.unwrap_or(0)) {
            self.count_crowded_out();
            return Err(Reason::NoRoom);
        }
        let (filler, arriving) = Arriving::new(len, self.room());
        let place = arriving.read(Span::WHOLE);
        let content = Content::Arriving(arriving);
        let stored = Arc::new(Stored { head, content, asked_at: Mark::at(exchange.requested_at) });
        if tags_of(&[Arc::clone(&stored).into()], request).len() > MAX_TAGS_OF_ENTRY {
            return Err(Reason::TooManyTags);
        }
        Ok(Receiving { stored, filler, place })
    }

    /// A 304 to our own validators (RFC 9111 §4.3.4).
    fn confirmed(&self, reply: &OriginReply<'_>, update: HeaderMap, leader: &Leader) -> Judged {
        let origin_request = reply.origin_request;
        let request = origin_request.asked();
        let nominated: Vec<_> =
            origin_request.revalidates.iter().map(|stored| stored.head.fields()).collect();
        let Some(index) = answered_by(&update, &nominated) else { return Judged::AskForTheWhole };
        let old = &origin_request.revalidates[index];
        let mut merged = freshen(old.head.fields(), &update);
        // A part of what the reader's range is no longer for: the update names another version.
        if !old.is_whole() && contradicts_if_range(request.headers, &merged) {
            return Judged::AskForTheWhole;
        }
        match old.head.freshened(self.policy(), request, merged.clone(), reply.exchange) {
            Ok(head) => {
                let content = old.content.clone();
                let asked_at = Mark::at(reply.exchange.requested_at);
                // One that was another request's stays as it is for those: the origin has said that its
                // body is this request's answer as well.
                let is_update = old.head.selects(request.headers);
                Judged::Here {
                    fresh: Arc::new(Stored { head, content, asked_at }),
                    updates: is_update.then(|| Arc::clone(old)),
                    sent: update,
                    status: StatusCode::NOT_MODIFIED,
                }
            }
            // It is true, but may be kept no longer.
            Err(reason) => {
                if !is_about_its_reader(reason) {
                    self.drop_variants(leader, &[Arc::clone(old)]);
                }
                // Dates are strong only beside one of the answer (RFC 9110 §8.8.2.2).
                merged.entry(DATE).or_insert(date::format(reply.exchange.received_at));
                let answer = respond_once(request, old, &merged).unwrap_or_default();
                Judged::NotStored { answer, status: StatusCode::NOT_MODIFIED, reason }
            }
        }
    }

    /// The missing rest of a part (RFC 9111 §3.3, §3.4). Its reader waits for all of it, as it does
    /// for a head.
    async fn completed(
        &self,
        reply: &OriginReply<'_>,
        response: ResponseHead<'_>,
        body: Body,
        part: &Arc<Stored>,
    ) -> Judged {
        let reading = self.whole_body(body, announced_len(response));
        let rest = match until(reply.deadline, reading).await {
            Some(Some(rest)) => rest,
            Some(None) => return Judged::AskForTheWhole,
            None => return Judged::TookTooLong,
        };
        let request = reply.origin_request.asked();
        let head = storability(self.policy(), request, response, reply.exchange).ok();
        let Some(head) = head.and_then(|head| head.of_length(rest.len())) else {
            return Judged::AskForTheWhole;
        };
        let asked_at = Mark::at(reply.exchange.requested_at);
        let rest = Stored { head, content: Content::Here(rest), asked_at };
        match self.joined(request, part, &rest) {
            Some(whole) if whole.is_whole() => Judged::Here {
                fresh: whole,
                updates: Some(Arc::clone(part)),
                sent: HeaderMap::new(),
                status: response.status,
            },
            _ => Judged::AskForTheWhole,
        }
    }

    /// All of a body. `None`: it is larger than what is stored, there is no room for it, it pauses for
    /// too long, or it breaks off.
    async fn whole_body(&self, mut body: Body, announced: Option<u64>) -> Option<StoredBody> {
        let max = self.max_body_bytes();
        let has_room = |announced| announced <= max && self.room().fits(announced);
        if !has_room(announced.unwrap_or(0)) {
            return None;
        }
        let (filler, _) = Arriving::new(announced, self.room());
        while let Some(frame) = self.in_time(body.frame()).await? {
            let Ok(chunk) = frame.ok()?.into_data() else { continue };
            filler.push(chunk);
            if filler.arrived() > max || !has_room(0) {
                return None;
            }
        }
        filler.complete()
    }

    /// What a body on its way into the cache brings next. `None`: it pauses for too long.
    async fn in_time<T>(&self, frame: impl Future<Output = T>) -> Option<T> {
        match self.settings().idle_body_timeout {
            Some(limit) => timeout(limit, frame).await.ok(),
            None => Some(frame.await),
        }
    }

    /// The same, but asked every second that brings nothing whether it may go on like that.
    async fn in_time_if<T>(
        &self,
        frame: impl Future<Output = T>,
        may_go_on: impl Fn() -> bool,
    ) -> Result<T, Late> {
        let mut frame = pin!(frame);
        let limit = self.settings().idle_body_timeout;
        let mut waited = Duration::ZERO;
        loop {
            let left = limit.map_or(LOOK_EVERY, |limit| limit.saturating_sub(waited));
            let look = left.min(LOOK_EVERY);
            if let Ok(frame) = timeout(look, frame.as_mut()).await {
                return Ok(frame);
            }
            waited += look;
            if limit.is_some_and(|limit| waited >= limit) {
                return Err(Late::TooLong);
            }
            if !may_go_on() {
                return Err(Late::Forsaken);
            }
        }
    }

    /// Whether a body that brings next to nothing may keep its turn: somebody reads it, or nobody waits for
    /// one.
    fn may_go_on_unread(&self, filler: &Filler) -> bool {
        let (_, waiting) = self.turns().in_use();
        filler.is_read() || waiting == 0
    }

    /// What an answer to HEAD tells about stored answers to GET (RFC 9111 §4.3.5).
    fn update_by_head(
        &self,
        reply: &OriginReply<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        leader: &Leader,
    ) {
        let request = reply.origin_request.asked();
        for stored in &reply.origin_request.about {
            let response = ResponseHead { status, headers: headers.into() };
            let complete_bytes = if stored.is_whole() { stored.content_len() } else { None };
            let updated = match head_says(stored.response_head(), complete_bytes, response) {
                HeadSays::Nothing => continue,
                HeadSays::Current => {
                    let merged = freshen(stored.head.fields(), headers);
                    stored.head.freshened(self.policy(), request, merged, reply.exchange)
                }
                HeadSays::Changed => Err(Reason::Expired),
            };
            match updated {
                Ok(head) => {
                    let (content, asked_at) =
                        (stored.content.clone(), Mark::at(reply.exchange.requested_at));
                    let fresh = Arc::new(Stored { head, content, asked_at });
                    self.keep(request, fresh, &[Arc::clone(stored)], reply.took, leader);
                }
                Err(reason) if is_about_its_reader(reason) => {}
                Err(_) => self.drop_variants(leader, &[Arc::clone(stored)]),
            }
        }
    }

    /// Brings a body from the origin to its readers, and to its end. Its turn is given back once
    /// its readers set the pace.
    pub(crate) async fn pump(
        &self,
        mut body: Body,
        filler: Filler,
        stored: &Stored,
        leader: &Leader,
        sharing_name: &Arc<str>,
        turn: Option<Turn>,
    ) -> Pumped {
        let max = self.max_body_bytes();
        let announced = stored.content_len();
        // What has not said how long it is may have no end.
        let limit = self.settings().max_arriving_time.filter(|_| announced.is_none());
        let ends_by = limit.and_then(|limit| Deadline::now().checked_add(limit));
        let goes_on = || ends_by.is_some_and(|ends_by| ends_by <= Deadline::now());
        // Dropping the filler tells its readers. Whoever comes then is not one of them any more.
        let broken = || {
            leader.withdraw();
            Pumped::Broken
        };
        let mut kept = Ok(turn);
        // When the last of its readers left, if it had any.
        let (mut was_read, mut unread_since) = (false, None);
        // When nobody read it, and how much of it there was.
        let mut unread_pace: Option<(Deadline, u64)> = None;
        let forsaken = || {
            self.counters().abandoned.increment();
            broken()
        };
        loop {
            if !filler.room().await {
                return broken();
            }
            // Whichever of these is dropped half-way, the body has lost nothing.
            let frame = match &kept {
                Ok(Some(_)) => {
                    let frame = self.in_time_if(body.frame(), || self.may_go_on_unread(&filler));
                    match until(ends_by, frame).await {
                        Some(Err(Late::Forsaken)) => return forsaken(),
                        Some(Err(Late::TooLong)) | None => None,
                        Some(Ok(frame)) => Some(frame),
                    }
                }
                Ok(None) => until(ends_by, self.in_time(body.frame())).await.flatten(),
                Err(_) => tokio::select! {
                    frame = body.frame() => Some(frame),
                    () = filler.unwanted() => return broken(),
                },
            };
            let Some(frame) = frame else {
                // Later readers ask anew. These have begun, and may wait for the rest of it.
                let reason = if goes_on() { Reason::Endless } else { Reason::OriginError };
                self.remember_hit_for_miss(sharing_name, reason, leader);
                kept = Err(reason);
                leader.withdraw();
                filler.keep_no_longer();
                continue;
            };
            match frame {
                None => break,
                Some(Ok(frame)) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    filler.push(chunk);
                }
                Some(Err(_)) => return broken(),
            }
            let arrived = filler.arrived();
            if announced.is_some_and(|announced| arrived > announced) {
                return broken();
            }
            if filler.is_read() {
                (was_read, unread_since) = (true, None);
            } else if was_read {
                let since = *unread_since.get_or_insert_with(Deadline::now);
                // One that drips would have a turn for as long as it likes.
                if kept.is_ok()
                    && self
                        .settings()
                        .idle_body_timeout
                        .is_some_and(|limit| since.elapsed() >= limit)
                {
                    return broken();
                }
            }
            if filler.is_read() || !matches!(kept, Ok(Some(_))) {
                unread_pace = None;
            } else {
                let (since, before) =
                    *unread_pace.get_or_insert_with(|| (Deadline::now(), arrived));
                if since.elapsed() >= LOOK_EVERY {
                    if arrived - before < UNREAD_BYTES && !self.may_go_on_unread(&filler) {
                        return forsaken();
                    }
                    unread_pace = Some((Deadline::now(), arrived));
                }
            }
            let is_too_large = arrived > max;
            let is_endless = kept.is_ok() && goes_on();
            if kept.is_ok() && (is_too_large || is_endless || !self.room().fits(0)) {
                if is_too_large {
                    kept = Err(Reason::TooLarge);
                    self.counters().too_large.increment();
                    self.remember_hit_for_miss(sharing_name, Reason::TooLarge, leader);
                } else if is_endless {
                    kept = Err(Reason::Endless);
                    self.remember_hit_for_miss(sharing_name, Reason::Endless, leader);
                } else {
                    kept = Err(Reason::NoRoom);
                    self.count_crowded_out();
                }
                leader.withdraw();
                filler.keep_no_longer();
            }
        }
        if announced.is_some_and(|announced| announced != filler.arrived()) {
            return broken();
        }
        match (filler.complete(), kept) {
            (Some(body), _) => Pumped::Whole(body),
            (None, kept) => Pumped::Passed(kept.err().unwrap_or(Reason::TooLarge)),
        }
    }

    /// The longest body that is stored.
    fn max_body_bytes(&self) -> u64 {
        let settings = self.settings();
        let max = self.shared().memory.max_entry_bytes().min(settings.max_body_bytes);
        max.min(settings.max_arriving_bytes) as u64
    }
}

/// What there is of an answer that is to be stored before its body.
pub(crate) struct Receiving {
    pub(crate) stored: Arc<Stored>,
    pub(crate) filler: Filler,
    /// Keeps its beginning until its first reader reads it.
    pub(crate) place: Option<Reader>,
}

/// What became of a body.
pub(crate) enum Pumped {
    /// It is whole, and to be stored.
    Whole(StoredBody),
    /// Its readers have had it; it was not kept, for this reason.
    Passed(Reason),
    /// It ended before it was whole, or nobody wanted it any more.
    Broken,
}

/// An answer of the origin.
struct OriginReply<'a> {
    origin_request: &'a OriginRequest,
    exchange: Exchange,
    took: Duration,
    /// Until then its reader waits for a head.
    deadline: Option<Deadline>,
}

/// What it means.
enum Judged {
    /// It fits nothing that is stored.
    AskForTheWhole,
    /// It fits, but does not come in time.
    TookTooLong,
    /// It is an error, and something stale stands in.
    StandIn(StatusCode),
    NotStored {
        answer: Response<Body>,
        status: StatusCode,
        reason: Reason,
    },
    /// It is here, and to be stored in the place of what it updates, if it updates anything.
    Here {
        fresh: Arc<Stored>,
        updates: Option<Arc<Stored>>,
        sent: HeaderMap,
        status: StatusCode,
    },
    /// It is on its way, to be stored once it is here.
    Arrives {
        stored: Arc<Stored>,
        filler: Filler,
        place: Option<Reader>,
        body: Body,
        sent: HeaderMap,
        status: StatusCode,
    },
}

/// Why the next piece of a body is not waited for any longer.
enum Late {
    TooLong,
    /// Nobody reads it, and others wait for its turn.
    Forsaken,
}

/// What `what` brings; `None`: it does not in time.
async fn until<T>(deadline: Option<Deadline>, what: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, what).await.ok(),
        None => Some(what.await),
    }
}

/// The origin gave no answer that could be used.
#[derive(Debug, thiserror::Error)]
#[error("no answer from the origin: {0}")]
pub(crate) struct Broken(pub(crate) String);

/// The origin sent no response head in this time ([`Builder::hard_timeout`]).
///
/// [`Builder::hard_timeout`]: crate::Builder::hard_timeout
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the origin sent no response head within {0:?}")]
pub struct TookTooLong(pub Duration);

/// The cache was shut down ([`Cache::shut_down`]): what is stored is still served, and the origin is
/// asked no more.
///
/// [`Cache::shut_down`]: crate::Cache::shut_down
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the cache was shut down")]
pub struct ShutDown;

fn land_unshared(leader: Leader, unshared: Unshared) {
    let fence = leader.fence();
    leader.land(FlightResult::Failure { failed: Failed::Error(Arc::new(unshared)), fence });
}

/// The reader may have left.
fn send(own: Option<oneshot::Sender<LeaderOutcome>>, outcome: LeaderOutcome) {
    if let Some(own) = own {
        own.send(outcome).ok();
    }
}

/// Whether an answer is not stored for what its request was: that says nothing of what is stored for
/// others.
fn is_about_its_reader(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Authorization | Reason::Cookie | Reason::RequestNoStore | Reason::UnusualRequest
    )
}

/// How long the body will be, if the origin has said so.
fn announced_len(response: ResponseHead<'_>) -> Option<u64> {
    // It has no body, whatever it says (RFC 9110 §15.3.5).
    if response.status == StatusCode::NO_CONTENT {
        return Some(0);
    }
    std::str::from_utf8(response.headers.first(CONTENT_LENGTH.as_str())?).ok()?.parse().ok()
}
