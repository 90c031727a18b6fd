//! The reader's side: what a request allows, and whether it may share a fetch.

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, Method,
    header::{
        ACCEPT, AUTHORIZATION, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        IF_UNMODIFIED_SINCE, RANGE,
    },
};

use crate::{
    credentials,
    directives::RequestDirectives,
    fields::{Fields, NameFilter},
    forward::steers,
    head::Asking,
    reason::Reason,
    settings::Policy,
};

/// How a request that has to go to the origin may share the way with others for the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flight {
    /// It goes alone, and its answer is for itself.
    Alone,
    /// It may wait for an answer that is being fetched already, but its own answer would be of no
    /// use to others (a part, a head without a body): without a flight under way it goes alone.
    Follow,
    /// It may wait for another's answer, and others may wait for its own.
    Share,
}

/// The methods a cache answers (RFC 9110 §9.2.3; RFC 10008 for QUERY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CachedMethod {
    Get,
    Head,
    /// Its content is part of the key, so nothing of it can be mistaken for a GET's.
    Query,
}

impl CachedMethod {
    pub(crate) fn of(method: &Method) -> Option<CachedMethod> {
        match *method {
            Method::GET => Some(CachedMethod::Get),
            Method::HEAD => Some(CachedMethod::Head),
            _ if method.as_str() == "QUERY" => Some(CachedMethod::Query),
            _ => None,
        }
    }
}

/// What a reader allows, from the fields of one request. Made without allocating.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    pub(crate) directives: RequestDirectives,
    /// It looks personal, and the policy guards against that.
    pub(crate) personal: Option<Personal>,
}

/// What makes a request look like one person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Personal {
    Authorization,
    Cookie,
}

impl Reader {
    pub(crate) fn new(policy: &Policy, headers: Fields<'_>) -> Reader {
        if headers.ask_for_nothing() && !headers.may_have(credentials::FILTER) {
            return Reader { directives: RequestDirectives::default(), personal: None };
        }
        let mut directives = RequestDirectives::parse(headers);
        if !policy.obeys_readers {
            directives = RequestDirectives {
                no_store: directives.no_store,
                only_if_cached: directives.only_if_cached,
                ..RequestDirectives::default()
            };
        }
        Reader { directives, personal: Personal::of(policy, headers) }
    }

    /// The same reader before an answer that came from the origin while the reader waited for it:
    /// checked by the origin, and as young as an answer can be told to be in whole seconds.
    pub(crate) fn content_with_new_answer(mut self) -> Reader {
        self.directives.no_cache = false;
        self.directives.max_age = self.directives.max_age.map(|age| age + Duration::from_secs(1));
        self
    }

    /// Whether it minds the age of its answer, so that a stale one is not what it wants (RFC 9111
    /// §5.2.1.1, §5.2.1.3, §5.2.1.4).
    pub(crate) fn minds_age(&self) -> bool {
        let wishes = &self.directives;
        wishes.no_cache || wishes.max_age.is_some() || wishes.min_fresh.is_some()
    }

    /// Why a fresh response will not do. A reload asks for `max-age=0`; what never changes while it is
    /// fresh need not be asked for again (RFC 8246 §2), unless in so many words.
    pub(crate) fn wants_fresher(
        &self,
        age: Duration,
        left: Duration,
        immutable: bool,
    ) -> Option<Reason> {
        let wishes = &self.directives;
        if wishes.no_cache {
            Some(Reason::RequestNoCache)
        } else if !immutable && wishes.max_age.is_some_and(|most| age > most) {
            Some(Reason::RequestMaxAge)
        } else if wishes.min_fresh.is_some_and(|least| left < least) {
            Some(Reason::RequestMinFresh)
        } else {
            None
        }
    }

    /// Whether a response that has been stale for so long will do, because the reader says so.
    pub(crate) fn takes_stale(&self, age: Duration, stale: Duration) -> bool {
        let wishes = &self.directives;
        !wishes.no_cache
            && wishes.min_fresh.is_none()
            && wishes.max_age.is_none_or(|most| age <= most)
            && wishes.max_stale.is_some_and(|most| stale <= most)
    }
}

impl Personal {
    pub(crate) fn of(policy: &Policy, headers: Fields<'_>) -> Option<Personal> {
        const CREDENTIALS: NameFilter = NameFilter::of(&["authorization", "cookie"]);
        if !policy.guards || !headers.may_have(CREDENTIALS.or(credentials::FILTER)) {
            None
        } else if headers.contains(AUTHORIZATION.as_str()) || policy.has_strange_credential(headers)
        {
            Some(Personal::Authorization)
        } else if policy.cookies_matter && policy.has_strange_cookie(headers) {
            Some(Personal::Cookie)
        } else {
            None
        }
    }
}

/// Whether a request looks like one person's, so that its answer is likely to be for nobody else and
/// others had better not wait for it: one with credentials, and where the policy guards against that,
/// one with a cookie.
pub fn is_personal<'a>(policy: &Policy, headers: impl Into<Fields<'a>>) -> bool {
    const AUTHORIZED: NameFilter = NameFilter::of(&["authorization"]);
    let headers = headers.into();
    (headers.may_have(AUTHORIZED) && headers.contains(AUTHORIZATION.as_str()))
        || Personal::of(policy, headers).is_some()
}

/// Whether this request may share a fetch, going by the request alone; [`Ask`](crate::reuse::Ask)
/// says it with what is stored in mind.
///
/// That the answer may then be handed to a follower is another question: only if
/// [`storability`](crate::response::storability) says that it may be stored, and
/// [`may_share`](crate::reuse::may_share) that it fits the follower.
pub fn flight<'a>(policy: &Policy, request: impl Into<Asking<'a>>) -> Flight {
    let request = request.into();
    let headers = request.headers;
    match CachedMethod::of(request.method) {
        None => Flight::Alone,
        // What must not be stored must not be shared.
        Some(_) if RequestDirectives::parse(headers).no_store => Flight::Alone,
        // Only the origin can judge these (RFC 9110 §13.1.1, §13.1.4).
        Some(_) if is_for_the_origin(headers) => Flight::Alone,
        // A stream of events goes on for as long as its one reader reads it.
        Some(_) if asks_for_events(headers) => Flight::Alone,
        Some(CachedMethod::Head) => Flight::Follow,
        Some(_) if headers.contains(RANGE.as_str()) => Flight::Follow,
        Some(_) if is_conditional(headers) && !policy.fills_on_conditional_miss => Flight::Follow,
        Some(CachedMethod::Get | CachedMethod::Query) => Flight::Share,
    }
}

/// Preconditions that a cache answers itself (RFC 9111 §4.3.2).
pub(crate) fn is_conditional(headers: Fields<'_>) -> bool {
    const OURS: NameFilter = NameFilter::of(&["if-modified-since", "if-none-match"]);
    headers.may_have(OURS)
        && (headers.contains(IF_NONE_MATCH.as_str())
            || headers.contains(IF_MODIFIED_SINCE.as_str()))
}

/// As `EventSource` asks, which takes nothing else.
fn asks_for_events(headers: Fields<'_>) -> bool {
    let accepted = headers.first(ACCEPT.as_str());
    accepted.is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}

/// Preconditions that a cache leaves to the origin.
pub(crate) fn is_for_the_origin(headers: Fields<'_>) -> bool {
    const THEIRS: NameFilter = NameFilter::of(&["if-match", "if-unmodified-since"]);
    headers.may_have(THEIRS)
        && (headers.contains(IF_MATCH.as_str()) || headers.contains(IF_UNMODIFIED_SINCE.as_str()))
}

/// Takes out of a request whose answer may be stored what would make the origin answer another one
/// ([`steers`]), if the policy guards against that and the field is not a part of the key.
pub fn drop_steering_fields(policy: &Policy, headers: &mut HeaderMap) {
    if !policy.guards || !headers.keys().any(steers) {
        return;
    }
    let is_dropped = |name: &&HeaderName| steers(name) && !policy.key_fields.contains(name);
    let dropped: Vec<HeaderName> = headers.keys().filter(is_dropped).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

/// Takes the reader's own preconditions and range out of a request that is to be forwarded, so that
/// its answer is the whole one, for the cache and whoever waits ([`ReaderFields::Drop`](crate::reuse::ReaderFields)).
pub fn drop_reader_fields(headers: &mut HeaderMap) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        headers.remove(name);
    }
}
