//! A stored response's head, with all that reuse needs to know of it digested once.

use std::{
    num::NonZeroU64,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{
    HeaderMap, StatusCode,
    header::{AGE, ETAG, LAST_MODIFIED, VARY},
};
use serde::{Deserialize, Serialize};

use crate::{
    directives::delta_seconds,
    fields::{FieldBlock, Fields},
    freshness::{Freshness, Lifetime, part_of},
    head::ResponseHead,
    list,
    nearness::Difference,
    own_tag,
    part::Part,
    request::CachedMethod,
    settings::Policy,
    vary::SelectingFields,
};

pub use crate::vary::ChosenBy;

/// A response's head as the cache keeps it. There is no way to make one but
/// [`storability`](crate::response::storability) and [`freshened`](StoredHead::freshened), so a stored
/// `private` or `no-store` answer cannot be.
///
/// There is one for each response in the cache, so it is kept small: times are numbers, and what few
/// responses have lies apart.
#[derive(Clone, Debug)]
pub struct StoredHead {
    pub(crate) fields: FieldBlock,
    pub(crate) extras: Option<Box<Extras>>,
    pub(crate) received_at: UnixNanos,
    pub(crate) date: UnixNanos,
    pub(crate) initial_age: Nanos,
    pub(crate) said: Said,
    /// What `Content-Length` says, if it stands there once.
    pub(crate) named_length: Option<NonMaxU64>,
    pub(crate) weight: u32,
    /// Where in `fields` those end that a 304 has.
    pub(crate) end_of_304: u32,
    pub(crate) status: StatusCode,
    pub(crate) answers: CachedMethod,
    /// Its fields can go out as they are, with those that a hit adds.
    pub(crate) is_verbatim: bool,
}

/// What most responses do without.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    pub(crate) selecting: SelectingFields,
    pub(crate) part: Option<Part>,
    pub(crate) tags: Box<[Box<str>]>,
    pub(crate) groups: Box<[Box<str>]>,
}

impl Extras {
    /// Whether the response could do without it.
    pub(crate) fn is_empty(&self) -> bool {
        self.selecting.is_empty()
            && self.part.is_none()
            && self.tags.is_empty()
            && self.groups.is_empty()
    }

    /// `None` if it could.
    pub(crate) fn boxed(self) -> Option<Box<Extras>> {
        (!self.is_empty()).then(|| Box::new(self))
    }
}

/// A length of time in nanoseconds; saturates after 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Nanos(u64);

impl Nanos {
    pub(crate) fn get(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        Nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// An instant in nanoseconds since 1970; saturates there and in 2554.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct UnixNanos(Nanos);

impl UnixNanos {
    pub(crate) fn get(self) -> SystemTime {
        UNIX_EPOCH + self.0.get()
    }
}

impl From<SystemTime> for UnixNanos {
    fn from(time: SystemTime) -> Self {
        UnixNanos(time.duration_since(UNIX_EPOCH).unwrap_or_default().into())
    }
}

/// A number of bytes below the largest, in no more room than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NonMaxU64(NonZeroU64);

impl NonMaxU64 {
    pub(crate) fn new(number: u64) -> Option<NonMaxU64> {
        NonZeroU64::new(!number).map(NonMaxU64)
    }

    fn get(self) -> u64 {
        !self.0.get()
    }
}

/// What the origin said of how long a response may be used. What follows from it under a policy are its
/// [`Terms`]: they are derived at each look, so a rule that has changed holds for what is stored, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// The TTL where one is [named](Saying::NamesTtl); else for how long it had not changed when it was sent.
    pub(crate) time: Nanos,
    pub(crate) stale_while_revalidate: Nanos,
    pub(crate) stale_if_error: Nanos,
    pub(crate) sayings: Sayings,
}

/// The yes and no of it, each a bit: there is one set for each response in the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sayings(u16);

/// One of them.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub(crate) enum Saying {
    /// `s-maxage`, `max-age` or `Expires`, be it well or badly written.
    NamesTtl = 1 << 0,
    /// It names no TTL, and leaves the question to the cache.
    IsSilent = 1 << 1,
    /// A window after the TTL is named (RFC 5861 §3).
    NamesRefresh = 1 << 2,
    /// Likewise (RFC 5861 §4).
    NamesRescue = 1 << 3,
    /// `no-cache`: never without asking.
    AlwaysValidate = 1 << 4,
    /// `must-revalidate` or `proxy-revalidate`.
    NeverStale = 1 << 5,
    /// `s-maxage`.
    SharedTtl = 1 << 6,
    /// Meant for everybody in so many words.
    Shareable = 1 << 7,
    /// RFC 8246.
    Immutable = 1 << 8,
    /// It may be stored whether or not a TTL is known (RFC 9111 §3).
    ByDefault = 1 << 9,
    /// It is stored with `Set-Cookie`.
    SetsCookie = 1 << 10,
    /// Its request had a cookie that was not ignored, nor is a part of the key.
    AskedWithCookie = 1 << 11,
    /// Its request had a field of the [usual credentials](crate::credentials) that is no part of the key.
    AskedWithCredential = 1 << 12,
    /// Its entity tag is the cache's own.
    OwnTag = 1 << 13,
}

impl Sayings {
    pub(crate) fn with(self, saying: Saying, is_so: bool) -> Sayings {
        if is_so { Sayings(self.0 | saying as u16) } else { self }
    }

    pub(crate) fn has(self, saying: Saying) -> bool {
        self.0 & saying as u16 != 0
    }
}

/// What a policy lets a cache do with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) lifetime: Lifetime,
    /// The origin, or a rule, said how long it is fresh; it was not guessed.
    pub(crate) explicit: bool,
    /// `no-cache`: never without asking.
    pub(crate) always_validate: bool,
    /// `must-revalidate` and what implies it: never stale, not even if the origin is gone.
    pub(crate) never_stale: bool,
    /// It may outlive its windows while the origin is out of reach (RFC 9111 §4.2.4).
    pub(crate) survives_its_origin: bool,
    /// Neither the status nor anybody's word lets it be stored (RFC 9111 §3, last condition).
    pub(crate) is_refused: bool,
}

impl Said {
    fn named(&self) -> Option<Duration> {
        self.sayings.has(Saying::NamesTtl).then(|| self.time.get())
    }

    fn window(&self, time: Nanos, named: Saying) -> Option<Duration> {
        self.sayings.has(named).then(|| time.get())
    }

    /// How long it is fresh, and whether somebody said so. `seed`: any number, the same for the same response.
    #[inline]
    fn ttl(&self, policy: &Policy, status: StatusCode, seed: u64) -> (Duration, bool) {
        let (ttl, explicit) =
            match policy.ttl(status, self.named(), self.sayings.has(Saying::IsSilent)) {
                Some(ttl) => (ttl, true),
                None => (self.heuristic_ttl(policy), false),
            };
        if policy.ttl_jitter > 0.0 {
            let part = policy.ttl_jitter * fraction_of(seed);
            return (Lifetime::fresh_for(ttl).shortened_by(part).ttl(), explicit);
        }
        (ttl, explicit)
    }

    /// What follows from it. `seed`: any number, the same for the same response.
    pub(crate) fn terms(&self, policy: &Policy, status: StatusCode, seed: u64) -> Terms {
        let has = |saying| self.sayings.has(saying);
        let (ttl, explicit) = self.ttl(policy, status, seed);
        let is_refused = !explicit && !has(Saying::ByDefault);
        let mut lifetime = Lifetime::fresh_for(ttl);
        let always_validate = has(Saying::AlwaysValidate);
        let refresh = self.window(self.stale_while_revalidate, Saying::NamesRefresh);
        let rescue = self.window(self.stale_if_error, Saying::NamesRescue);
        // `s-maxage` implies `proxy-revalidate` (§5.2.2.10). Origins that name a stale window next to
        // it mean the window, so a policy may let the words win over the implication.
        let s_maxage = has(Saying::SharedTtl);
        let s_maxage_forbids =
            s_maxage && (policy.s_maxage_forbids_stale || (refresh.is_none() && rescue.is_none()));
        let never_stale = always_validate || has(Saying::NeverStale) || s_maxage_forbids;
        if !never_stale && !policy.forbids_status(status) {
            // A rule's windows come after a time of freshness. Where nobody has said for how long an answer is fresh, it is
            // not one to be kept for the windows' sake.
            let by_rule = |window| if explicit || !ttl.is_zero() { window } else { Duration::ZERO };
            let (of_refresh, of_rescue) =
                (policy.default_stale_while_revalidate, policy.default_stale_if_error);
            lifetime = lifetime
                .stale_while_revalidate(refresh.unwrap_or(by_rule(of_refresh)))
                .stale_if_error(rescue.unwrap_or(by_rule(of_rescue)));
        }
        Terms {
            lifetime,
            explicit,
            always_validate,
            never_stale,
            // Who says for how long an error may be bridged says it of a lost origin as well.
            survives_its_origin: !never_stale && !s_maxage && rescue.is_none(),
            is_refused,
        }
    }

    /// RFC 9111 §4.2.2.
    fn heuristic_ttl(&self, policy: &Policy) -> Duration {
        match policy.heuristics {
            Some(heuristics) if self.sayings.has(Saying::IsSilent) => {
                policy.capped(part_of(self.time.get(), heuristics.fraction).min(heuristics.max))
            }
            _ => Duration::ZERO,
        }
    }
}

/// A number from 0 to 1, spread evenly however alike the seeds are (the last step of SplitMix64).
fn fraction_of(seed: u64) -> f64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from(((mixed ^ (mixed >> 31)) >> 32) as u32) / f64::from(u32::MAX)
}

/// How much of the representation a stored response has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Some bytes of it.
    Part(Part),
}

impl StoredHead {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields to answer with: as the origin sent them, with a `Date`, without `Age` (the answer gets
    /// one of its own) and without what `no-cache="…"` or `private="…"` named.
    pub fn fields(&self) -> Fields<'_> {
        Fields::from(&self.fields)
    }

    /// The same as a map of its own.
    pub fn headers(&self) -> HeaderMap {
        self.fields().to_map()
    }

    /// The same as they go onto the wire of HTTP/1.1.
    pub fn field_block(&self) -> &FieldBlock {
        &self.fields
    }

    /// The fields of a 304 made from it ([`not_modified`](crate::validate::not_modified)), as they go onto
    /// the wire of HTTP/1.1.
    pub fn not_modified_block(&self) -> &[u8] {
        &self.fields.as_bytes()[..self.end_of_304 as usize]
    }

    /// What the one `Content-Length` among its fields says.
    pub fn named_length(&self) -> Option<u64> {
        self.named_length.map(NonMaxU64::get)
    }

    /// Whether the fields of a hit are these, one after the other, and then those that the cache adds: no
    /// field among them is one that the cache would have to continue or to replace.
    pub fn is_verbatim(&self) -> bool {
        self.is_verbatim
    }

    /// What this policy lets a cache do with it now, whichever it was stored by.
    #[inline]
    pub(crate) fn terms(&self, policy: &Policy) -> Terms {
        self.said.terms(policy, self.status, self.received_at.0.0)
    }

    /// How long it may be used by this policy, all ages counted from its making at the origin.
    pub fn lifetime(&self, policy: &Policy) -> Lifetime {
        self.terms(policy).lifetime
    }

    /// How long it is fresh by this policy, all ages counted from its making at the origin.
    #[inline]
    pub fn ttl(&self, policy: &Policy) -> Duration {
        self.said.ttl(policy, self.status, self.received_at.0.0).0
    }

    /// Whether nothing says how long it is fresh, and so each use of it asks the origin first.
    pub fn lacks_freshness(&self, policy: &Policy) -> bool {
        let terms = self.terms(policy);
        let is_silent = !terms.explicit && !terms.always_validate;
        is_silent && terms.lifetime.ttl().is_zero()
    }

    /// How long it may be used, counted from its receipt: what is left of the TTL after the age it
    /// came with, and the windows. This is what a store keeps.
    pub fn lifetime_from_receipt(&self, policy: &Policy) -> Lifetime {
        self.counted_from_receipt(self.lifetime(policy))
    }

    fn counted_from_receipt(&self, whole: Lifetime) -> Lifetime {
        let came_aged = self.initial_age.get();
        let stale_on_arrival = came_aged.saturating_sub(whole.ttl());
        Lifetime::fresh_for(whole.ttl().saturating_sub(came_aged))
            .stale_while_revalidate(whole.revalidate_window().saturating_sub(stale_on_arrival))
            .stale_if_error(whole.rescue_window().saturating_sub(stale_on_arrival))
    }

    /// When its head arrived.
    pub fn received_at(&self) -> SystemTime {
        self.received_at.get()
    }

    /// When the origin made it: `Date`, or the receipt where there is no valid one.
    pub fn date(&self) -> SystemTime {
        self.date.get()
    }

    /// Its age (RFC 9111 §4.2.3). For the field `Age`, cut to whole seconds once, at the end.
    pub fn age(&self, now: SystemTime) -> Duration {
        let resident = UnixNanos::from(now).0.0.saturating_sub(self.received_at.0.0);
        Nanos(self.initial_age.0.saturating_add(resident)).get()
    }

    /// What it is good for now, by its lifetime alone: [`decide`](crate::reuse::decide) knows more.
    pub fn freshness(&self, policy: &Policy, now: SystemTime) -> Freshness {
        self.lifetime(policy).at(self.age(now))
    }

    /// How long after its receipt it is worth its memory: until it may no longer be served, not even
    /// for want of an origin, nor is worth validating. Beyond that no verdict uses it.
    pub fn keep_for(&self, policy: &Policy) -> Duration {
        let terms = self.terms(policy);
        let left = self.counted_from_receipt(terms.lifetime);
        let mut window = Duration::ZERO;
        if terms.survives_its_origin {
            window = policy.stale_if_disconnected;
        }
        if self.has_validator() {
            window = window.max(policy.keep_for_validation);
        }
        left.end().max(left.ttl().saturating_add(window))
    }

    /// How much of the representation it is.
    pub fn extent(&self) -> Extent {
        match self.extras.as_ref().and_then(|extras| extras.part) {
            Some(part) => Extent::Part(part),
            None => Extent::Whole,
        }
    }

    /// The same head once so many bytes of content have come, all there were: only then is it certain
    /// which part of the representation a 206 is. `None` if it is none that could be kept.
    pub fn of_length(mut self, content_bytes: u64) -> Option<StoredHead> {
        let head = ResponseHead { status: self.status, headers: Fields::from(&self.fields) };
        if let Some(part) = self.extras.as_mut().and_then(|extras| extras.part.as_mut()) {
            *part = Part::of(head, content_bytes)?;
        }
        Some(self)
    }

    /// Its entity tag.
    pub fn etag(&self) -> Option<&[u8]> {
        self.fields().first(ETAG.as_str())
    }

    /// Its modification date, as it was sent.
    pub fn last_modified(&self) -> Option<&[u8]> {
        self.fields().first(LAST_MODIFIED.as_str())
    }

    /// Whether the origin can be asked if it still holds.
    pub fn has_validator(&self) -> bool {
        match self.has_own_tag() {
            true => own_tag::has_date(self.fields()),
            false => has_validator(self.fields()),
        }
    }

    /// Whether it fits a request with these fields (RFC 9111 §4.1), by what its `Vary` names and the policy tells apart.
    #[inline]
    pub fn selects<'a>(&self, policy: &Policy, request: impl Into<Fields<'a>>) -> bool {
        match &self.extras {
            Some(extras) => {
                extras.selecting.tell_apart_by(policy) && extras.selecting.matches(request.into())
            }
            None => policy.tells_nothing_apart(),
        }
    }

    /// Which of several that fit a request answers it: the greatest. That is the most recent, by `Date`, then by receipt
    /// (RFC 9111 §4); but what has a `Vary` goes before what has none (§4.1): some services leave it out where they had no
    /// reason to choose, and such an answer would hide what was chosen for others.
    pub fn preference(&self) -> impl Ord + use<> {
        (self.fields().contains(VARY.as_str()), self.date, self.received_at)
    }

    /// In what a request with these fields differs from those that it fits: nothing where it [selects](Self::selects)
    /// it. What may tell who somebody is is [hidden](crate::nearness::HIDDEN).
    pub fn differences<'a>(
        &self,
        policy: &Policy,
        request: impl Into<Fields<'a>>,
    ) -> Vec<Difference> {
        let request = request.into();
        if self.selects(policy, request) {
            return Vec::new();
        }
        match &self.extras {
            Some(extras) => extras.selecting.differences(policy, request),
            None => SelectingFields::default().differences(policy, request),
        }
    }

    /// The fields of a GET that brings such a response, beside its URI: one that tells nothing of who asks. `None`: no
    /// such request does. It answered another method, is a part, was asked for with a cookie, or was chosen by a field that
    /// may hold a secret, by a cookie, or by what routes tell apart.
    pub fn plain_request(&self) -> Option<HeaderMap> {
        let is_personal = self.said.sayings.has(Saying::AskedWithCookie);
        if self.answers != CachedMethod::Get || is_personal {
            return None;
        }
        match &self.extras {
            None => Some(HeaderMap::new()),
            Some(extras) if extras.part.is_some() => None,
            Some(extras) => extras.selecting.impersonal(),
        }
    }

    /// By what in its request it is told apart from the other responses for its URI, and what that was. Not for everybody's
    /// eyes: a value may be a secret.
    pub fn chosen_by(&self) -> Vec<ChosenBy<'_>> {
        self.extras.as_ref().map(|extras| extras.selecting.chosen_by()).unwrap_or_default()
    }

    /// Whether the origin may be asked if it fits this request all the same.
    pub(crate) fn may_be_offered(&self, policy: &Policy, request: Fields<'_>) -> bool {
        match &self.extras {
            Some(extras) => extras.selecting.differs_by_vary_alone(policy, request),
            None => policy.tells_nothing_apart(),
        }
    }

    /// Whether it is ever served without asking first. If not (`no-cache`, `max-age=0`), readers gain
    /// nothing by waiting for another's fetch of it.
    pub fn can_be_shared(&self, policy: &Policy) -> bool {
        let Terms { lifetime, always_validate, .. } = self.terms(policy);
        let ever_served = !lifetime.ttl().is_zero() || !lifetime.revalidate_window().is_zero();
        ever_served && !always_validate
    }

    /// The names to purge it by: `Surrogate-Key`, `Cache-Tag`, `xkey` and their like ([`tags`](crate::tags)).
    pub fn tags(&self) -> &[Box<str>] {
        self.extras.as_ref().map_or(&[], |extras| &extras.tags)
    }

    /// Its groups within its origin (RFC 9875).
    pub fn groups(&self) -> &[Box<str>] {
        self.extras.as_ref().map_or(&[], |extras| &extras.groups)
    }

    /// Bytes it takes in memory, roughly and rather more than less.
    pub fn weight(&self) -> usize {
        self.weight as usize
    }
}

/// Whether these fields have something to ask the origin by. A date that cannot be read is nothing
/// anybody could compare with.
pub(crate) fn has_validator(headers: Fields<'_>) -> bool {
    headers.contains(ETAG.as_str()) || own_tag::has_date(headers)
}

/// The first member of `Age` is the last cache's word (RFC 9111 §5.1). What is no number is ignored.
pub(crate) fn age_value(headers: Fields<'_>) -> Duration {
    list::members(headers, AGE.as_str()).next().and_then(delta_seconds).unwrap_or_default()
}
