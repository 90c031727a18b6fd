//! Reuse: may what is stored answer this request now, and if not, what should be asked for.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE},
};

use crate::{
    etag::EntityTag,
    freshness::{Freshness, Lifetime},
    head::{Asking, RequestHead, ResponseHead},
    reason::Reason,
    request::{CachedMethod, Flight, Personal, Reader, flight, is_conditional, is_for_the_origin},
    settings::{Policy, SetCookie},
    stored::{Extent, Saying, StoredHead},
    validate,
};

/// One stored response of a key, as it stands now.
#[derive(Clone, Copy, Debug)]
pub struct Variant<'a> {
    /// Its head.
    pub head: &'a StoredHead,
    /// When it was marked stale by a soft purge, if it was.
    pub marked_stale: Option<SystemTime>,
}

impl<'a> From<&'a StoredHead> for Variant<'a> {
    fn from(head: &'a StoredHead) -> Self {
        Variant { head, marked_stale: None }
    }
}

impl Variant<'_> {
    /// What it is good for, a soft purge considered.
    pub fn freshness(&self, policy: &Policy, now: SystemTime) -> Freshness {
        self.freshness_by(self.head.lifetime(policy), self.head.age(now), now)
    }

    /// `age`: its own, now.
    fn freshness_by(&self, lifetime: Lifetime, age: Duration, now: SystemTime) -> Freshness {
        match self.marked_stale {
            None => lifetime.at(age),
            Some(at) => {
                let marked = now.duration_since(at).unwrap_or_default();
                lifetime.at_marked_stale(age, marked)
            }
        }
    }

    /// How long it has been stale: since its lifetime was over, or since a soft purge before that.
    pub fn stale_for(&self, policy: &Policy, now: SystemTime) -> Duration {
        let by_age = self.head.age(now).saturating_sub(self.head.lifetime(policy).ttl());
        let marked = self.marked_stale.and_then(|at| now.duration_since(at).ok());
        marked.map_or(by_age, |marked| marked.max(by_age))
    }
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Answer with this variant; no origin needed. The reader's own preconditions and range are still
    /// to be applied; if the variant is a part, it has all that the range asks for.
    Serve {
        /// Which of the variants.
        index: usize,
        /// Why it may.
        reason: Reason,
    },
    /// Answer with it, and ask the origin behind the reader's back.
    ServeAndRefresh {
        /// Which of the variants.
        index: usize,
        /// The fields to add to a request for all of it (GET, also for a HEAD), which is the reader's
        /// without its own preconditions and range.
        conditional: HeaderMap,
        /// Why it may.
        reason: Reason,
    },
    /// Ask the origin.
    Ask(Ask),
    /// Answer 504: the reader wants no origin asked, and nothing that is stored will do.
    Refuse {
        /// Why it will not.
        reason: Reason,
    },
    /// Not for the cache at all: forward the request untouched and alone.
    Pass {
        /// Why.
        reason: Reason,
    },
}

impl Verdict {
    /// Why.
    pub fn reason(&self) -> Reason {
        match self {
            Verdict::Serve { reason, .. }
            | Verdict::ServeAndRefresh { reason, .. }
            | Verdict::Refuse { reason }
            | Verdict::Pass { reason } => *reason,
            Verdict::Ask(ask) => ask.reason,
        }
    }

    /// The variant that answers at once, and why it may.
    pub fn served(&self) -> Option<(usize, Reason)> {
        match self {
            Verdict::Serve { index, reason } | Verdict::ServeAndRefresh { index, reason, .. } => {
                Some((*index, *reason))
            }
            Verdict::Ask(_) | Verdict::Refuse { .. } | Verdict::Pass { .. } => None,
        }
    }

    /// The variant that answers, with nothing else to be done, and why it may.
    pub fn served_alone(&self) -> Option<(usize, Reason)> {
        match self {
            Verdict::Serve { index, reason } => Some((*index, *reason)),
            _ => None,
        }
    }

    /// The variant that is to be refreshed behind the reader's back, and the fields to ask by.
    pub fn refreshed(self) -> Option<(usize, HeaderMap)> {
        match self {
            Verdict::ServeAndRefresh { index, conditional, .. } => Some((index, conditional)),
            _ => None,
        }
    }

    /// How the origin is to be asked, if it is.
    pub fn asks(self) -> Option<Ask> {
        match self {
            Verdict::Ask(ask) => Some(ask),
            _ => None,
        }
    }

    /// Whether this variant is asked about at the origin, or may stand in for it.
    pub fn needs(&self, index: usize) -> bool {
        match self {
            Verdict::Ask(ask) => {
                ask.revalidates.contains(&index)
                    || ask.rescue.is_some_and(|rescue| rescue.index == index)
            }
            _ => false,
        }
    }

    /// The variant that is a plain hit, with nothing else to be done.
    pub fn plain_hit(&self) -> Option<usize> {
        match self {
            Verdict::Serve { index, reason: Reason::Hit } => Some(*index),
            _ => None,
        }
    }

    /// The variant that may stand in for an origin that failed like this, by this instant.
    pub fn rescued(&self, failure: OriginFailure, now: SystemTime) -> Option<usize> {
        match self {
            Verdict::Ask(Ask { rescue: Some(rescue), .. }) if rescue.allows(failure, now) => {
                Some(rescue.index)
            }
            _ => None,
        }
    }

    /// The same for a request whose answer is for its reader alone ([`Ask::for_its_reader`]): nothing is
    /// refreshed for it.
    pub fn for_its_reader(self) -> Verdict {
        match self {
            Verdict::Ask(ask) => Verdict::Ask(ask.for_its_reader()),
            Verdict::ServeAndRefresh { index, reason, .. } => Verdict::Serve { index, reason },
            verdict => verdict,
        }
    }
}

/// How to ask the origin, and what to fall back on.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Fields to set in the forwarded request, after [`reader_fields`](Ask::reader_fields) was obeyed.
    pub conditional: HeaderMap,
    /// What becomes of the reader's own preconditions and range.
    pub reader_fields: ReaderFields,
    /// The variants whose validators are in `conditional`: a 304 confirms one or more of them.
    pub revalidates: Vec<usize>,
    /// The part whose missing rest `conditional` asks for. If a 206 comes that cannot be combined with it
    /// (RFC 9110 §15.3.7.3), ask once more, for the whole.
    pub completes: Option<usize>,
    /// What may be served if the origin fails.
    pub rescue: Option<Rescue>,
    /// Whether the request may share its way with others.
    pub flight: Flight,
    /// Why the origin has to be asked.
    pub reason: Reason,
}

impl Ask {
    /// The same for a request that goes on as its reader wrote it, and whose answer is for its reader alone:
    /// nothing is confirmed or completed by it. What may stand in may do so here.
    pub fn for_its_reader(self) -> Ask {
        Ask {
            conditional: HeaderMap::new(),
            reader_fields: ReaderFields::Forward,
            revalidates: Vec::new(),
            completes: None,
            flight: Flight::Alone,
            ..self
        }
    }
}

/// What becomes of the reader's own `If-None-Match`, `If-Modified-Since`, `If-Range` and `Range` in the
/// request to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderFields {
    /// They go with it.
    Forward,
    /// They are taken out ([`drop_reader_fields`](crate::request::drop_reader_fields)) and applied to the
    /// whole answer: the cache needs one, whatever this one reader has already.
    Drop,
}

/// A stored response that may stand in for an origin that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescue {
    /// Which of the variants.
    pub index: usize,
    /// Until when it may if the origin cannot be reached, or says nothing that is HTTP.
    pub if_disconnected_until: Option<SystemTime>,
    /// Until when it may if the origin answers 500, 502, 503 or 504 (RFC 5861 §4).
    pub if_error_until: Option<SystemTime>,
}

/// How an origin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginFailure {
    /// No connection, no answer, or none in time.
    Disconnected,
    /// An answer with this status.
    Status(http::StatusCode),
}

impl Rescue {
    /// Whether it may stand in for this failure at this instant, which is later than the one that the
    /// verdict was made for: origins take their time to fail.
    pub fn allows(&self, failure: OriginFailure, now: SystemTime) -> bool {
        let until = match failure {
            OriginFailure::Disconnected => self.if_disconnected_until.max(self.if_error_until),
            OriginFailure::Status(status) if matches!(status.as_u16(), 500 | 502 | 503 | 504) => {
                self.if_error_until
            }
            OriginFailure::Status(_) => None,
        };
        until.is_some_and(|until| now < until)
    }
}

/// May what is stored answer this request (RFC 9111 §4)? A plain hit costs no allocation.
///
/// `stored` are all variants of the key, in any order; indices in the verdict are into it.
pub fn decide<'a>(
    policy: &Policy,
    stored: &[Variant<'_>],
    request: impl Into<Asking<'a>>,
    now: SystemTime,
) -> Verdict {
    let request = request.into();
    let Some(asks) = CachedMethod::of(request.method) else {
        return Verdict::Pass { reason: Reason::Method };
    };
    if policy.passes_credentials && request.headers.contains(AUTHORIZATION.as_str()) {
        return Verdict::Pass { reason: Reason::Authorization };
    }
    let reader = Reader::new(policy, request.headers);
    Question { policy, stored, request, asks, reader, now }.decide()
}

/// May the answer that another's fetch just brought be handed to this reader, who waited for it?
///
/// A reader who asked for an answer fresh from the origin (`no-cache`, `max-age=0`) has one here.
///
/// # Errors
///
/// The reason why the reader has to go on alone.
pub fn may_share(
    policy: &Policy,
    fetched: &StoredHead,
    request: RequestHead<'_>,
    now: SystemTime,
) -> Result<(), Reason> {
    let asks = CachedMethod::of(request.method).ok_or(Reason::Method)?;
    let reader = Reader::new(policy, request.headers).content_with_new_answer();
    let stored = &[fetched.into()];
    let request = request.into();
    match (Question { policy, stored, request, asks, reader, now }).judge() {
        Judgement::Serve(..) | Judgement::ServeAndRefresh(..) => Ok(()),
        Judgement::Ask(_, reason) => Err(reason),
    }
}

/// A request, and everything that bears on it.
struct Question<'a> {
    policy: &'a Policy,
    stored: &'a [Variant<'a>],
    request: Asking<'a>,
    asks: CachedMethod,
    reader: Reader,
    now: SystemTime,
}

enum Judgement {
    Serve(usize, Reason),
    ServeAndRefresh(usize, Reason),
    Ask(Found, Reason),
}

/// What was found for a request that goes to the origin all the same.
#[derive(Clone, Copy)]
enum Found {
    /// It fits, but may not be served as it is.
    Fitting(usize),
    /// It would fit, but is only a part of what was asked for.
    Incomplete(usize),
    /// It fits, but the reader looks like one who gets an answer of their own.
    Personal,
    /// It fits, but is another version than the reader asks for.
    AnotherVersion,
    Nothing,
}

impl Question<'_> {
    fn decide(&self) -> Verdict {
        match self.judge() {
            Judgement::Serve(index, reason) => Verdict::Serve { index, reason },
            Judgement::ServeAndRefresh(index, reason) => {
                Verdict::ServeAndRefresh { index, conditional: self.refresh(index), reason }
            }
            Judgement::Ask(..) if self.reader.directives.only_if_cached => {
                Verdict::Refuse { reason: Reason::OnlyIfCached }
            }
            Judgement::Ask(found, reason) => Verdict::Ask(self.ask(found, reason)),
        }
    }

    fn judge(&self) -> Judgement {
        let index = match self.find() {
            Ok(index) => index,
            Err((found, reason)) => return Judgement::Ask(found, reason),
        };
        let variant = &self.stored[index];
        let head = variant.head;
        let terms = head.terms(self.policy);
        let age = head.age(self.now);
        let freshness = variant.freshness_by(terms.lifetime, age, self.now);
        // Of a stale one it is told that it was stale, whatever else speaks against it: that the request
        // forbids to use it is said of fresh ones (RFC 9211 §2.2).
        let unless_stale = |reason| match freshness {
            Freshness::Fresh { .. } => reason,
            _ => Reason::Expired,
        };
        if let Some(reason) = self.not_for(head) {
            return Judgement::Ask(Found::Personal, unless_stale(reason));
        }
        if let Some(reason) = self.not_by_these_rules(head) {
            return Judgement::Ask(Found::Nothing, reason);
        }
        let stored = ResponseHead { status: head.status(), headers: head.fields() };
        if !validate::meets_conditions_for_the_origin(self.request.headers, stored) {
            return Judgement::Ask(Found::AnotherVersion, unless_stale(Reason::Precondition));
        }
        let ask = |reason| Judgement::Ask(Found::Fitting(index), reason);
        if terms.always_validate {
            return ask(Reason::NoCache);
        }
        match freshness {
            Freshness::Fresh { left } => {
                let is_immutable = head.said.sayings.has(Saying::Immutable);
                match self.reader.wants_fresher(age, left, is_immutable) {
                    Some(reason) => ask(reason),
                    None => Judgement::Serve(index, Reason::Hit),
                }
            }
            _ if terms.never_stale => ask(Reason::Expired),
            _ if self.takes_so_stale(index) => Judgement::Serve(index, Reason::MaxStale),
            Freshness::StaleWhileRevalidate { .. } if !self.reader.minds_age() => {
                Judgement::ServeAndRefresh(index, Reason::StaleWhileRevalidate)
            }
            _ => ask(Reason::Expired),
        }
    }

    /// The response that fits and is [preferred](StoredHead::preference). An older one is never taken for being fresh
    /// still: the newer one says what the older one would hide.
    fn find(&self) -> Result<usize, (Found, Reason)> {
        let mut fitting: Option<usize> = None;
        let mut incomplete: Option<usize> = None;
        for (index, variant) in self.stored.iter().enumerate() {
            let head = variant.head;
            let selects = || head.selects(self.policy, self.request.headers);
            if !self.is_answered_by(head.answers) || !selects() {
                continue;
            }
            let best = if self.has_what_is_asked(head) { &mut fitting } else { &mut incomplete };
            let is_preferred = |to: usize| head.preference() >= self.stored[to].head.preference();
            if best.is_none_or(is_preferred) {
                *best = Some(index);
            }
        }
        match (fitting, incomplete) {
            (Some(index), _) => Ok(index),
            (None, Some(index)) => Err((Found::Incomplete(index), Reason::PartialMiss)),
            (None, None) if self.stored.is_empty() => Err((Found::Nothing, Reason::UriMiss)),
            (None, None) => Err((Found::Nothing, Reason::VaryMiss)),
        }
    }

    fn is_answered_by(&self, answers: CachedMethod) -> bool {
        match self.asks {
            CachedMethod::Get | CachedMethod::Head => answers == CachedMethod::Get,
            CachedMethod::Query => answers == CachedMethod::Query,
        }
    }

    /// All of the body, or at least the range that was asked for. A HEAD asks for no body, but for
    /// the fields of the whole.
    fn has_what_is_asked(&self, head: &StoredHead) -> bool {
        match head.extent() {
            Extent::Whole => true,
            Extent::Part(part) => part.select(self.request, head.fields()).is_some(),
        }
    }

    /// Why this response is not for this reader, though it fits.
    fn not_for(&self, head: &StoredHead) -> Option<Reason> {
        match self.reader.personal? {
            _ if head.said.sayings.has(Saying::Shareable) => None,
            Personal::Authorization => Some(Reason::Authorization),
            Personal::Cookie => Some(Reason::Cookie),
        }
    }

    /// Why this response, which was stored by other rules, is none that these would have stored.
    fn not_by_these_rules(&self, head: &StoredHead) -> Option<Reason> {
        let Policy { guards, cookies_matter, set_cookie, .. } = self.policy;
        let has = |saying| head.said.sayings.has(saying);
        if has(Saying::SetsCookie) && *set_cookie != SetCookie::Store {
            return Some(Reason::SetCookie);
        }
        if !*guards || has(Saying::Shareable) {
            None
        } else if has(Saying::AskedWithCredential) {
            Some(Reason::Authorization)
        } else {
            (*cookies_matter && has(Saying::AskedWithCookie)).then_some(Reason::Cookie)
        }
    }

    fn freshness(&self, index: usize) -> Freshness {
        self.stored[index].freshness(self.policy, self.now)
    }

    /// `max-stale` (RFC 9111 §5.2.1.2), for what was fresh once: an answer that never said for how long
    /// is not stale by a number of seconds. What was purged is wanted gone, not a little older.
    fn takes_so_stale(&self, index: usize) -> bool {
        let Variant { head, marked_stale } = self.stored[index];
        let age = head.age(self.now);
        let terms = head.terms(self.policy);
        let stale = age.saturating_sub(terms.lifetime.ttl());
        terms.explicit && marked_stale.is_none() && self.reader.takes_stale(age, stale)
    }

    fn ask(&self, found: Found, reason: Reason) -> Ask {
        let mut ask = Ask {
            conditional: HeaderMap::new(),
            reader_fields: ReaderFields::Forward,
            revalidates: Vec::new(),
            completes: None,
            rescue: None,
            flight: flight(self.policy, self.request),
            reason,
        };
        // Its answer will not be stored, and what only the origin can judge it must see unchanged.
        let leaves_no_trace =
            self.reader.directives.no_store || is_for_the_origin(self.request.headers);
        match found {
            Found::Fitting(index) => {
                ask.rescue = self.rescue(index);
                if !leaves_no_trace {
                    self.validate(index, &mut ask);
                }
                if !self.stored[index].head.can_be_shared(self.policy) {
                    ask.flight = Flight::Alone;
                }
            }
            Found::Incomplete(index) if !leaves_no_trace => self.complete(index, &mut ask),
            Found::Nothing if reason == Reason::VaryMiss && !leaves_no_trace => {
                self.offer_other_variants(&mut ask);
            }
            // What was not for everybody a moment ago will not be now.
            Found::Personal => ask.flight = Flight::Alone,
            Found::Incomplete(_) | Found::AnotherVersion | Found::Nothing => {}
        }
        let fills = ask.conditional.is_empty()
            && self.policy.fills_on_conditional_miss
            && ask.flight == Flight::Share
            && is_conditional(self.request.headers);
        if fills {
            ask.reader_fields = ReaderFields::Drop;
        }
        ask
    }

    /// Our validators instead of the reader's: whatever comes back, a 304 or a new body, answers both
    /// of us, and the reader's own preconditions are applied to the outcome.
    fn validate(&self, index: usize, ask: &mut Ask) {
        let head = self.stored[index].head;
        // A HEAD is forwarded as it is: its answer updates what is stored (RFC 9111 §4.3.5).
        if self.asks == CachedMethod::Head {
            return;
        }
        ask.conditional = self.validators_of(index);
        if !ask.conditional.is_empty() {
            ask.revalidates.push(index);
        }
        ask.reader_fields = ReaderFields::Drop;
        if ask.flight == Flight::Follow && head.extent() == Extent::Whole {
            // Without its range it asks for what all the others ask for.
            ask.flight = Flight::Share;
        }
        if let Extent::Part(_) = head.extent() {
            // A part is validated by asking for it again (RFC 9111 §4.3.2), and if it has changed, the
            // reader may not want a part of what it is now.
            for name in [RANGE, IF_RANGE] {
                let own = self.request.headers.first(name.as_str()).map(HeaderValue::from_bytes);
                if let Some(Ok(own)) = own {
                    ask.conditional.insert(name, own);
                }
            }
        }
    }

    /// What a refresh asks for: the same response again, as much of it as is stored.
    fn refresh(&self, index: usize) -> HeaderMap {
        let mut conditional = self.validators_of(index);
        if let Extent::Part(part) = self.stored[index].head.extent() {
            let (first, last) = (part.range().first(), part.range().last());
            let range = HeaderValue::try_from(format!("bytes={first}-{last}"));
            conditional.insert(RANGE, range.expect("digits and a dash"));
        }
        conditional
    }

    fn validators_of(&self, index: usize) -> HeaderMap {
        let head = self.stored[index].head;
        let mut conditional = validate::conditional([head.fields()]);
        if head.has_own_tag() {
            // The origin has never given it.
            conditional.remove(IF_NONE_MATCH);
        }
        conditional
    }

    /// What is missing of a fresh part, if one range can name it.
    fn complete(&self, index: usize, ask: &mut Ask) {
        let head = self.stored[index].head;
        let wants_whole =
            self.asks == CachedMethod::Get && !self.request.headers.contains(RANGE.as_str());
        let fresh = matches!(self.freshness(index), Freshness::Fresh { .. })
            && !head.said.sayings.has(Saying::AlwaysValidate)
            && self.not_for(head).is_none();
        let Extent::Part(part) = head.extent() else {
            return;
        };
        if let (true, Some(missing)) = (wants_whole && fresh, part.completion(head.fields())) {
            // Without a strong validator the two can never be combined; asking for the rest is then
            // only a bet on an origin that ignores ranges and sends the whole.
            if missing.contains_key(IF_RANGE) || self.policy.completes_unvalidated_parts {
                ask.conditional = missing;
                ask.reader_fields = ReaderFields::Drop;
                ask.completes = Some(index);
            }
        }
    }

    /// Nothing fits, but the origin may say that one of the others does (RFC 9111 §4.1). Strong tags
    /// only: a weak one is often the same for a page and for its compressed form.
    fn offer_other_variants(&self, ask: &mut Ask) {
        if !self.policy.asks_for_other_variants
            || self.asks == CachedMethod::Head
            || self.request.headers.contains(RANGE.as_str())
        {
            return;
        }
        let usable = |head: &StoredHead| {
            self.is_answered_by(head.answers)
                && head.extent() == Extent::Whole
                && self.not_for(head).is_none()
                && !head.has_own_tag()
                && head.may_be_offered(self.policy, self.request.headers)
                && EntityTag::of(head.fields()).is_some_and(|tag| tag.is_strong())
        };
        let offered: Vec<usize> =
            (0..self.stored.len()).filter(|index| usable(self.stored[*index].head)).collect();
        if !offered.is_empty() {
            let heads = offered.iter().map(|index| self.stored[*index].head.fields());
            ask.conditional = validate::conditional(heads);
            // Dates do not tell variants apart.
            ask.conditional.remove(IF_MODIFIED_SINCE);
            ask.revalidates = offered;
            ask.reader_fields = ReaderFields::Drop;
        }
    }

    /// RFC 9111 §4.2.4 and RFC 5861 §4, as instants: the failure itself lies ahead.
    fn rescue(&self, index: usize) -> Option<Rescue> {
        let head = self.stored[index].head;
        let terms = head.terms(self.policy);
        // A reader who wants the origin's word rather has no answer than an unchecked one.
        if terms.always_validate || self.reader.directives.no_cache {
            return None;
        }
        let lifetime = terms.lifetime;
        let from_reader = self.reader.directives.stale_if_error.unwrap_or_default();
        let (for_error, for_disconnection) = if terms.never_stale {
            (Duration::ZERO, Duration::ZERO)
        } else {
            let for_error = lifetime.rescue_window().max(from_reader);
            // A reader's own number counts for both kinds of failure, as the origin's does.
            let survives =
                terms.survives_its_origin && self.reader.directives.stale_if_error.is_none();
            (for_error, if survives { self.policy.stale_if_disconnected } else { Duration::ZERO })
        };
        let until = |window: Duration| {
            let stale_at = self.stale_at(index)?;
            stale_at.checked_add(window).filter(|until| self.now < *until)
        };
        let rescue = Rescue {
            index,
            if_disconnected_until: until(for_disconnection.max(for_error)),
            if_error_until: until(for_error),
        };
        rescue.if_disconnected_until.is_some().then_some(rescue)
    }

    /// When it stops, or stopped, being fresh.
    fn stale_at(&self, index: usize) -> Option<SystemTime> {
        let Variant { head, marked_stale } = self.stored[index];
        let (ttl, came_aged) = (head.lifetime(self.policy).ttl(), head.initial_age.get());
        let by_age = match ttl.checked_sub(came_aged) {
            Some(left) => head.received_at().checked_add(left)?,
            None => head.received_at().checked_sub(came_aged - ttl)?,
        };
        Some(marked_stale.map_or(by_age, |at| at.min(by_age)))
    }
}
