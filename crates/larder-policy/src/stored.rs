//! A stored response's head, with all that reuse needs to know of it digested once.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, StatusCode,
    header::{AGE, ETAG, LAST_MODIFIED, SET_COOKIE},
};

use crate::{
    date,
    directives::delta_seconds,
    fields::{FieldBlock, Fields},
    freshness::{Freshness, Lifetime},
    head::{Exchange, RequestHead, ResponseHead},
    list,
    part::Part,
    reason::Reason,
    request::Asks,
    response,
    settings::Policy,
    vary::Selection,
};

/// A response's head as the cache keeps it. There is no way to make one but
/// [`storability`](crate::response::storability) and [`freshened`](StoredHead::freshened), so a stored
/// `private` or `no-store` answer cannot be.
#[derive(Clone, Debug)]
pub struct StoredHead {
    pub(crate) status: StatusCode,
    pub(crate) fields: FieldBlock,
    pub(crate) answers: Asks,
    pub(crate) received_at: SystemTime,
    pub(crate) initial_age: Duration,
    pub(crate) date: SystemTime,
    pub(crate) terms: Terms,
    pub(crate) selection: Selection,
    pub(crate) extent: Extent,
    pub(crate) tags: Box<[Box<str>]>,
    pub(crate) groups: Box<[Box<str>]>,
    pub(crate) weight: usize,
    /// What `Content-Length` says, if it stands there once.
    pub(crate) named_length: Option<u64>,
    /// Its fields can go out as they are, with those that a hit adds behind them.
    pub(crate) is_verbatim: bool,
}

/// What the origin, or the policy in its place, lets a cache do with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) lifetime: Lifetime,
    /// The origin, or a rule, said how long it is fresh; it was not guessed.
    pub(crate) explicit: bool,
    /// `no-cache`: never without asking.
    pub(crate) always_validate: bool,
    /// `must-revalidate` and what implies it: never stale, not even if the origin is gone.
    pub(crate) never_stale: bool,
    /// Meant for everybody in so many words.
    pub(crate) shareable: bool,
    /// It may outlive its windows while the origin is out of reach (RFC 9111 §4.2.4).
    pub(crate) survives_its_origin: bool,
    pub(crate) immutable: bool,
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

    /// What the one `Content-Length` among its fields says.
    pub fn named_length(&self) -> Option<u64> {
        self.named_length
    }

    /// Whether the fields of a hit are these, one after the other, and then those that the cache adds: no
    /// field among them is one that the cache would have to continue or to replace.
    pub fn is_verbatim(&self) -> bool {
        self.is_verbatim
    }

    /// How long it may be used, all ages counted from its making at the origin.
    pub fn lifetime(&self) -> Lifetime {
        self.terms.lifetime
    }

    /// How long it may be used, counted from its receipt: what is left of the TTL after the age it
    /// came with, and the windows. This is what a store keeps.
    pub fn lifetime_from_receipt(&self) -> Lifetime {
        let whole = self.terms.lifetime;
        let stale_on_arrival = self.initial_age.saturating_sub(whole.ttl());
        Lifetime::fresh_for(whole.ttl().saturating_sub(self.initial_age))
            .stale_while_revalidate(whole.revalidate_window().saturating_sub(stale_on_arrival))
            .stale_if_error(whole.rescue_window().saturating_sub(stale_on_arrival))
    }

    /// When its head arrived.
    pub fn received_at(&self) -> SystemTime {
        self.received_at
    }

    /// When the origin made it: `Date`, or the receipt where there is no valid one.
    pub fn date(&self) -> SystemTime {
        self.date
    }

    /// Its age (RFC 9111 §4.2.3). For the field `Age`, cut to whole seconds once, at the end.
    pub fn age(&self, now: SystemTime) -> Duration {
        let resident = now.duration_since(self.received_at).unwrap_or_default();
        self.initial_age.saturating_add(resident)
    }

    /// What it is good for now, by its lifetime alone: [`decide`](crate::reuse::decide) knows more.
    pub fn freshness(&self, now: SystemTime) -> Freshness {
        self.terms.lifetime.at(self.age(now))
    }

    /// How long after its receipt it is worth its memory: until it may no longer be served, not even
    /// for want of an origin, nor is worth validating. Beyond that no verdict uses it.
    pub fn keep_for(&self, policy: &Policy) -> Duration {
        let left = self.lifetime_from_receipt();
        let mut window = Duration::ZERO;
        if self.terms.survives_its_origin {
            window = policy.stale_if_disconnected;
        }
        if self.has_validator() {
            window = window.max(policy.keep_for_validation);
        }
        left.end().max(left.ttl().saturating_add(window))
    }

    /// How much of the representation it is.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// The same head once so many bytes of content have come, all there were: only then is it certain
    /// which part of the representation a 206 is. `None` if it is none that could be kept.
    pub fn of_length(mut self, content_bytes: u64) -> Option<StoredHead> {
        if let Extent::Part(part) = &mut self.extent {
            *part = Part::of(
                ResponseHead { status: self.status, headers: Fields::from(&self.fields) },
                content_bytes,
            )?;
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
        has_validator(self.fields())
    }

    /// Whether it fits a request with these fields (RFC 9111 §4.1).
    pub fn selects<'a>(&self, request: impl Into<Fields<'a>>) -> bool {
        self.selection.matches(request.into())
    }

    /// Whether it fits every request, because it does not vary.
    pub fn fits_all(&self) -> bool {
        self.selection.is_empty()
    }

    /// Whether it is ever served without asking first. If not (`no-cache`, `max-age=0`), readers gain
    /// nothing by waiting for another's fetch of it.
    pub fn can_be_shared(&self) -> bool {
        let lifetime = self.terms.lifetime;
        let ever_served = !lifetime.ttl().is_zero() || !lifetime.revalidate_window().is_zero();
        ever_served && !self.terms.always_validate
    }

    /// The names to purge it by: `Surrogate-Key`, `Cache-Tag`, `xkey`.
    pub fn tags(&self) -> &[Box<str>] {
        &self.tags
    }

    /// Its groups within its origin (RFC 9875).
    pub fn groups(&self) -> &[Box<str>] {
        &self.groups
    }

    /// Bytes it takes in memory, roughly and rather more than less.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// The same stored response after the origin confirmed it: `merged` are its fields updated by those
    /// of a 304 or of an answer to HEAD (RFC 9111 §3.2, §4.3.4, §4.3.5), `request` the request they
    /// answer, `exchange` theirs.
    ///
    /// The result fits `request`, also where this variant did not: an origin that confirms the entity
    /// tag of one variant for a request with other selecting fields chooses it (RFC 9111 §4.3.4).
    ///
    /// # Errors
    ///
    /// The reason why what is stored may be kept no longer: the update forbids it.
    pub fn freshened(
        &self,
        policy: &Policy,
        request: RequestHead<'_>,
        mut merged: HeaderMap,
        exchange: Exchange,
    ) -> Result<StoredHead, Reason> {
        // The cookie of an answer that had none is for the one reader whose request confirmed it.
        if policy.guards && !self.fields().contains(SET_COOKIE.as_str()) {
            merged.remove(SET_COOKIE);
        }
        let response = ResponseHead { status: self.status, headers: Fields::from(&merged) };
        response::keep(policy, self.answers, request, response, exchange)
    }
}

/// Whether these fields have something to ask the origin by. A date that cannot be read is nothing
/// anybody could compare with.
pub(crate) fn has_validator(headers: Fields<'_>) -> bool {
    headers.contains(ETAG.as_str())
        || headers.first(LAST_MODIFIED.as_str()).is_some_and(|value| date::parse(value).is_some())
}

/// The first member of `Age` is the last cache's word (RFC 9111 §5.1). What is no number is ignored.
pub(crate) fn age_value(headers: Fields<'_>) -> Duration {
    list::members(headers, AGE.as_str()).next().and_then(delta_seconds).unwrap_or_default()
}
