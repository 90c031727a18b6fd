//! The origin's side: may this response be stored, and how long is it good for.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderName, Method, StatusCode, Uri,
    header::{
        ACCEPT_ENCODING, AGE, AUTHORIZATION, CACHE_CONTROL, CACHE_STATUS, CONTENT_ENCODING,
        CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES,
        LAST_MODIFIED, LOCATION, RANGE, SET_COOKIE, TRANSFER_ENCODING,
    },
};

use crate::{
    date,
    directives::{Delta, RequestDirectives, ResponseDirectives, Scope, pragma_no_cache},
    fields::{FieldBlock, Fields, read_number},
    forward::{names_the_target, steers, strip},
    head::{Exchange, RequestHead, ResponseHead},
    invalidate,
    key::RequestKey,
    list,
    part::Part,
    path_type::{self, PathType},
    reason::Reason,
    request::{CachedMethod, Personal, is_for_the_origin},
    settings::{Policy, SetCookie},
    stored::{
        Extras, Nanos, NonMaxU64, Said, Saying, Sayings, StoredHead, Terms, UnixNanos, age_value,
        has_validator,
    },
    tags, uri,
    validate::stays_in_304,
    vary::SelectingFields,
};

/// May this response be stored (RFC 9111 §3), and what for? The way to make a [`StoredHead`].
///
/// A response that may be stored may also be handed to other readers who waited for it, if it fits
/// them: see [`may_share`](crate::reuse::may_share).
///
/// # Errors
///
/// The reason why not. For some it is worth remembering for a while that the key's answers cannot be
/// shared: [`hit_for_miss`].
pub fn storability(
    policy: &Policy,
    request: RequestHead<'_>,
    response: ResponseHead<'_>,
    exchange: Exchange,
) -> Result<StoredHead, Reason> {
    let answers = match *request.method {
        Method::GET => CachedMethod::Get,
        // What made the origin answer as for another request is not in the key, and is still there.
        Method::POST
            if is_current_state_of(request.uri, response)
                && !(policy.guards && is_steered(policy, request.headers)) =>
        {
            CachedMethod::Get
        }
        _ if CachedMethod::of(request.method) == Some(CachedMethod::Query) => CachedMethod::Query,
        // An answer to HEAD has no body to store; it updates what is stored (RFC 9111 §4.3.5).
        _ => return Err(Reason::Method),
    };
    keep(policy, answers, request, response, exchange)
}

impl StoredHead {
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
        if policy.set_cookie != SetCookie::Store && !self.fields().contains(SET_COOKIE.as_str()) {
            merged.remove(SET_COOKIE);
        }
        // The bytes are the same, and so is the tag that was made from them.
        let own_tag = self.own_tag().filter(|own| merged.get(ETAG) == Some(own));
        if own_tag.is_some() {
            merged.remove(ETAG);
        }
        let response = ResponseHead { status: self.status, headers: Fields::from(&merged) };
        let kept = keep(policy, self.answers, request, response, exchange)?;
        Ok(match own_tag {
            Some(tag) => kept.tagged(tag),
            None => kept,
        })
    }
}

/// How long to remember that answers for a key cannot be shared, so that its readers do not queue up
/// behind each other for nothing. `None` if the reason lies in the one request, not in the answer.
pub fn hit_for_miss(policy: &Policy, reason: Reason) -> Option<Duration> {
    match reason {
        Reason::Private
        | Reason::NoStore
        | Reason::MustUnderstand
        | Reason::SetCookie
        | Reason::Cookie
        | Reason::Authorization
        | Reason::VaryStar
        | Reason::NoFreshness
        | Reason::NoCache
        | Reason::Status
        | Reason::ContentRange
        | Reason::Endless
        | Reason::TransferCoding
        | Reason::PathType
        | Reason::NotStorable
        | Reason::TooLarge
        | Reason::TooManyTags => Some(policy.hit_for_miss),
        _ => None,
    }
}

/// Whether an answer that may not be stored tells anything of the answers that others will get: not
/// if its request was a particular one (preconditions that only an origin judges, a range), if its
/// status is about this one request, or if the origin has failed, which it may have ceased to do.
pub fn tells_of_others<'a>(request: impl Into<Fields<'a>>, status: StatusCode) -> bool {
    let request = request.into();
    let is_particular = is_for_the_origin(request) || request.contains(RANGE.as_str());
    !is_particular
        && !never_stored(status)
        && !is_about_the_request(status)
        && !status.is_server_error()
}

/// The rules of [`storability`] that hold for whatever is kept, also after an update.
fn keep(
    policy: &Policy,
    answers: CachedMethod,
    request: RequestHead<'_>,
    response: ResponseHead<'_>,
    exchange: Exchange,
) -> Result<StoredHead, Reason> {
    if RequestDirectives::parse(request.headers).no_store {
        return Err(Reason::RequestNoStore);
    }
    if never_stored(response.status) || (policy.guards && is_about_the_request(response.status)) {
        return Err(Reason::Status);
    }
    if is_error(response.status) && is_unusual(policy, request.headers) {
        return Err(Reason::UnusualRequest);
    }
    if is_endless(response.headers) {
        return Err(Reason::Endless);
    }
    if !is_decoded(response.headers) {
        return Err(Reason::TransferCoding);
    }
    if policy.path_type == PathType::Fitting
        && path_type::contradicts(request.uri, response.status, response.headers)
    {
        return Err(Reason::PathType);
    }
    if policy.guards && redirects_to_itself(request.uri, response) {
        return Err(Reason::NotStorable);
    }
    let part = match response.status {
        // Several parts in one body, or no word on which part it is, cannot be put together again.
        StatusCode::PARTIAL_CONTENT => match (answers, Part::announced(response)) {
            (CachedMethod::Get, Some(part)) => Some(part),
            _ => return Err(Reason::ContentRange),
        },
        _ => None,
    };
    // A part that is all of it answers as a 200 would (RFC 9111 §3.3).
    let (status, part) = match part {
        Some(part) if part.is_whole() => (StatusCode::OK, None),
        part => (response.status, part),
    };
    let is_complete_part = status != response.status;
    let orders = Orders::read(policy, response.headers);
    orders.check_storing(policy, request, response)?;

    let dated = Dated::new(response.headers, exchange);
    let mut said = orders.said(policy, request, response, &dated);
    let terms = said.terms(policy, status, 0);
    if terms.is_refused {
        return Err(Reason::Status);
    }
    let keyed = keyed_fields(policy, request.headers);
    // Where the cache codes by itself, plain bytes are for readers of all codings.
    let is_for_all_codings = policy.compression.is_some()
        && !response.headers.contains(CONTENT_ENCODING.as_str())
        && !keyed.contains(&ACCEPT_ENCODING);
    let but = is_for_all_codings.then_some(&ACCEPT_ENCODING);
    let selecting = SelectingFields::new(policy, &keyed, but, response.headers, request.headers)
        .map_err(|_never_matches| Reason::VaryStar)?;
    if selecting.is_doubtful(request.headers) {
        return Err(Reason::UnusualRequest);
    }

    let mut headers = response.headers.to_map();
    // RFC 9111 §3.1: what concerns one connection only is not stored.
    strip(&mut headers);
    orders.strip(&mut headers);
    if headers.contains_key(SET_COOKIE) {
        match policy.set_cookie {
            SetCookie::Refuse => return Err(Reason::SetCookie),
            SetCookie::StoreWithout => drop(headers.remove(SET_COOKIE)),
            SetCookie::Store => said.sayings = said.sayings.with(Saying::SetsCookie, true),
        }
    }
    if is_complete_part && let Some(part) = Part::announced(response) {
        headers.remove(CONTENT_RANGE);
        headers.insert(CONTENT_LENGTH, part.range().len().into());
    }
    if !is_of_use(Fields::from(&headers), terms) {
        return Err(if terms.always_validate { Reason::NoCache } else { Reason::NoFreshness });
    }
    if !dated.by_origin || !headers.contains_key(DATE) {
        headers.insert(DATE, date::format(dated.date));
    }

    let mut tags = tags::tags(response.headers);
    for tag in policy.tags.of(request.uri) {
        if !tags.iter().any(|there| **there == *tag) {
            tags.push(tag.into());
        }
    }
    let tags = tags.into_boxed_slice();
    let groups: Box<[Box<str>]> = invalidate::groups(response.headers, "cache-groups")
        .into_iter()
        .map(String::into_boxed_str)
        .collect();
    let extras = Extras { selecting, part, tags, groups };
    let digest = Digest {
        received_at: exchange.received_at.into(),
        date: dated.date.into(),
        initial_age: dated.initial_age.into(),
        said,
        status,
        answers,
    };
    Ok(digest.of_fields(&headers, extras).expect("a head is shorter than 4 GiB"))
}

/// What is known of a response beside its fields.
pub(crate) struct Digest {
    pub(crate) received_at: UnixNanos,
    pub(crate) date: UnixNanos,
    pub(crate) initial_age: Nanos,
    pub(crate) said: Said,
    pub(crate) status: StatusCode,
    pub(crate) answers: CachedMethod,
}

impl Digest {
    /// The head with these fields, laid out to be answered with. `None`: they are longer than any head.
    pub(crate) fn of_fields(self, headers: &HeaderMap, extras: Extras) -> Option<StoredHead> {
        let Digest { received_at, date, initial_age, said, status, answers } = self;
        let named_length = list::single(headers, CONTENT_LENGTH.as_str())
            .and_then(read_number)
            .and_then(NonMaxU64::new);
        let is_verbatim = named_length.is_some() == headers.contains_key(CONTENT_LENGTH)
            && !headers.contains_key(CACHE_STATUS);
        let has_tag = headers.contains_key(ETAG);
        let (fields, end_of_304) =
            FieldBlock::laid_out(headers, |name| stays_in_304(name, has_tag));
        let weight = weight(&fields, &extras);
        Some(StoredHead {
            end_of_304: u32::try_from(end_of_304).ok()?,
            fields,
            extras: extras.boxed(),
            received_at,
            date,
            initial_age,
            said,
            named_length,
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
            status,
            answers,
            is_verbatim,
        })
    }
}

/// Statuses that answer something in the one request that no key and no `Vary` holds: preconditions
/// (304, 412), a range (416), the connection it came by (421, 425); and those whose definition
/// forbids it (428, 429, 431, 511: RFC 6585).
fn never_stored(status: StatusCode) -> bool {
    // What is no status of HTTP at all is an error of whoever sent it (RFC 9110 §15).
    status.is_informational()
        || status.as_u16() >= 600
        || matches!(status.as_u16(), 304 | 412 | 416 | 421 | 425 | 428 | 429 | 431 | 511)
}

/// Errors by whose definition the one request is at fault: its form, its method, its credentials, its
/// size. Most of these have no place in its key. 403, 404, 410 and 451 are about what it asks for.
fn is_about_the_request(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        400 | 401 | 405..=408 | 411 | 413..=415 | 417 | 422 | 426 | 501 | 505
    )
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// A head with more bytes than this in its fields is one that an origin may refuse for its size: the least
/// limits in use are four times as high. Browsers without large cookies send less.
const USUAL_HEAD_BYTES: usize = 2048;
/// More fields than these are more than some origins take, too: a hundred are the least limits in use, and
/// proxies on the way add theirs. Browsers send twenty.
const USUAL_FIELDS: usize = 64;

/// Whether a request is one that an origin may refuse though it would answer others for the same key: an
/// error in answer to it must not be what all others get.
fn is_unusual(policy: &Policy, request: Fields<'_>) -> bool {
    // The white space and the line end of each count, as they do for the origin.
    let bytes: usize = request.iter().map(|line| line.name.len() + line.value.len() + 4).sum();
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte);
    bytes > USUAL_HEAD_BYTES
        || request.iter().count() > USUAL_FIELDS
        || request.contains(RANGE.as_str())
        || is_for_the_origin(request)
        || request.iter().any(|line| !line.value.iter().all(is_plain))
        || (!policy.guards && is_steered(policy, request))
}

/// The fields that tell the answers to a key apart though no `Vary` names them.
///
/// Those by which a proxy says for which host and URI it forwards go to the origin, which may have written
/// them into what it answers; so where the policy guards against that, an answer to a request with them is
/// for requests with the same. [`admit`](crate::forward::admit) leaves none but a trusted proxy's; before
/// an application's own handlers nothing has looked at them.
fn keyed_fields<'a>(policy: &'a Policy, request: Fields<'_>) -> Cow<'a, [HeaderName]> {
    let mut keyed = Cow::Borrowed(&policy.key_fields[..]);
    if !policy.guards {
        return keyed;
    }
    for line in request.iter().filter(|line| names_the_target(line.name)) {
        if let Ok(name) = HeaderName::from_bytes(line.name)
            && !keyed.contains(&name)
        {
            keyed.to_mut().push(name);
        }
    }
    keyed
}

/// Whether the request has a field by which it may have been answered as another one. Those that are a
/// part of the key make it another one in truth.
fn is_steered(policy: &Policy, request: Fields<'_>) -> bool {
    request.iter().any(|line| {
        HeaderName::from_bytes(line.name)
            .is_ok_and(|name| steers(&name) && !policy.key_fields.contains(&name))
    })
}

/// Whether an answer is of a kind that goes on for as long as somebody listens: what came once is news to
/// nobody, and its end is where a connection broke. Goes by the media type, which is all that is known of
/// an answer that has just begun.
pub fn is_endless<'a>(response: impl Into<Fields<'a>>) -> bool {
    const ENDLESS: [&[u8]; 3] =
        [b"text/event-stream", b"multipart/x-mixed-replace", b"application/stream+json"];
    let media_type = response.into().first(CONTENT_TYPE.as_str()).unwrap_or_default();
    let name = media_type.split(|&byte| byte == b';' || byte == b',').next().unwrap_or_default();
    ENDLESS.iter().any(|endless| name.trim_ascii().eq_ignore_ascii_case(endless))
}

/// Whether the content of an answer is what the origin meant it to be, once `chunked` has been undone by
/// whoever has read the answer (RFC 9112 §7.1). Any other transfer coding is still on it, and is none of
/// the content's own (§6.1): such an answer is neither content to store nor to pass on.
///
/// `identity` has not been a coding since RFC 7230: recipients that take it for one and those that do not
/// end the body in different places. What is no coding that anybody has registered, and stands alone, has
/// not been done to the content either.
pub fn is_decoded<'a>(response: impl Into<Fields<'a>>) -> bool {
    const KNOWN: [&[u8]; 9] = [
        b"br",
        b"compress",
        b"deflate",
        b"gzip",
        b"identity",
        b"trailers",
        b"x-compress",
        b"x-gzip",
        b"zstd",
    ];
    let response = response.into();
    let mut lines = response.lines(TRANSFER_ENCODING.as_str());
    let Some(coding) = lines.next().map(<[u8]>::trim_ascii) else { return true };
    let is_known = KNOWN.iter().any(|known| coding.eq_ignore_ascii_case(known));
    // A list is no token.
    lines.next().is_none() && list::is_token(coding) && !is_known
}

/// Whether who follows a redirect comes back to it. It means something only to one who brings more than
/// before, a cookie, say; everybody else would go round for ever.
fn redirects_to_itself(uri: &Uri, response: ResponseHead<'_>) -> bool {
    response.status.is_redirection()
        && list::single(response.headers, LOCATION.as_str())
            .is_some_and(|reference| is_same_uri(uri, reference))
}

/// Statuses that may be stored without being told so (RFC 9110 §15.1).
fn heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Statuses whose caching rules this cache knows: those of RFC 9110 §15 (RFC 9111 §5.2.2.3).
fn understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=305 | 307 | 308 | 400..=411 | 413..=415 | 417 | 422 | 426 | 500..=505
    )
}

/// An answer to POST that says that it is what a GET would now get (RFC 9110 §9.3.3): its
/// `Content-Location` is the URI itself. It needs freshness of its own, too; only 200 promises that
/// the body is the representation and not a note about what was done.
fn is_current_state_of(uri: &Uri, response: ResponseHead<'_>) -> bool {
    let directives = ResponseDirectives::lenient(response.headers);
    let names_freshness = directives.s_maxage != Delta::Absent
        || directives.max_age != Delta::Absent
        || response.headers.contains(EXPIRES.as_str());
    let location = list::single(response.headers, CONTENT_LOCATION.as_str());
    response.status == StatusCode::OK
        && names_freshness
        && location.is_some_and(|reference| is_same_uri(uri, reference))
}

/// Whether a reference names this very URI: whether a GET of either has the same key.
fn is_same_uri(uri: &Uri, reference: &[u8]) -> bool {
    let named = uri::resolve(uri, reference).and_then(|named| RequestKey::of_uri(&named));
    named.is_some() && named == RequestKey::of_uri(uri)
}

/// What the response orders, from the one field that holds for this cache (RFC 9213 §2.2).
struct Orders {
    directives: ResponseDirectives,
    source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// A field for caches of our kind; `Cache-Control` and `Expires` are for the others.
    Targeted,
    CacheControl,
}

impl Orders {
    fn read(policy: &Policy, headers: Fields<'_>) -> Orders {
        let targeted = policy
            .targeted_fields
            .iter()
            .find_map(|name| ResponseDirectives::targeted(headers, name))
            .or_else(|| {
                policy.surrogate_control.then(|| ResponseDirectives::surrogate(headers)).flatten()
            });
        match targeted {
            Some(directives) => Orders { directives, source: Source::Targeted },
            None => Orders {
                directives: ResponseDirectives::lenient(headers),
                source: Source::CacheControl,
            },
        }
    }

    /// RFC 9111 §3, from `no-store` to `Authorization`, and what looks personal.
    fn check_storing(
        &self,
        policy: &Policy,
        request: RequestHead<'_>,
        response: ResponseHead<'_>,
    ) -> Result<(), Reason> {
        let directives = &self.directives;
        if directives.must_understand && !understood(response.status) {
            return Err(Reason::MustUnderstand);
        }
        // `no-store` beside `must-understand` is for caches that do not know the latter (§5.2.2.3).
        if directives.no_store && !directives.must_understand {
            return Err(Reason::NoStore);
        }
        if directives.private == Scope::Everything {
            return Err(Reason::Private);
        }
        // §3.5 takes `must-revalidate` for a permission as well. Many origins send it with everything,
        // personal answers included, so a policy that guards does not.
        let beyond_credentials = directives.public
            || directives.s_maxage != Delta::Absent
            || (directives.must_revalidate && !policy.guards);
        if request.headers.contains(AUTHORIZATION.as_str()) && !beyond_credentials {
            return Err(Reason::Authorization);
        }
        match Personal::of(policy, request.headers) {
            Some(Personal::Authorization) if !beyond_credentials => Err(Reason::Authorization),
            Some(Personal::Cookie) if !self.shareable() => Err(Reason::Cookie),
            _ => Ok(()),
        }
    }

    /// Meant for everybody in so many words: by a directive that only concerns shared caches, or a
    /// field that does.
    fn shareable(&self) -> bool {
        self.directives.public
            || self.directives.s_maxage != Delta::Absent
            || self.source == Source::Targeted
    }

    /// What the origin says of how long it may be used.
    fn said(
        &self,
        policy: &Policy,
        request: RequestHead<'_>,
        response: ResponseHead<'_>,
        dated: &Dated,
    ) -> Said {
        let directives = &self.directives;
        let named = self.named_ttl(response.headers, dated.date);
        let unchanged = || {
            let modified = response.headers.first(LAST_MODIFIED.as_str()).and_then(date::parse);
            modified.and_then(|modified| dated.date.duration_since(modified).ok())
        };
        let windows = (directives.stale_while_revalidate.secs(), directives.stale_if_error.secs());
        let by_default = heuristically_cacheable(response.status) || directives.public;
        let is_silent = named.is_none() && self.is_silent(response.headers);
        let never_stale = directives.must_revalidate || directives.proxy_revalidate;
        let sayings = Sayings::default()
            .with(Saying::NamesTtl, named.is_some())
            .with(Saying::IsSilent, is_silent)
            .with(Saying::NamesRefresh, windows.0.is_some())
            .with(Saying::NamesRescue, windows.1.is_some())
            .with(Saying::AlwaysValidate, directives.no_cache == Scope::Everything)
            .with(Saying::NeverStale, never_stale)
            .with(Saying::SharedTtl, directives.s_maxage != Delta::Absent)
            .with(Saying::Shareable, self.shareable())
            .with(Saying::Immutable, directives.immutable)
            .with(Saying::ByDefault, by_default)
            .with(Saying::AskedWithCookie, policy.has_strange_cookie(request.headers))
            .with(Saying::AskedWithCredential, policy.has_strange_credential(request.headers));
        Said {
            time: named.or_else(unchanged).unwrap_or_default().into(),
            stale_while_revalidate: windows.0.unwrap_or_default().into(),
            stale_if_error: windows.1.unwrap_or_default().into(),
            sayings,
        }
    }

    /// What the origin says: `s-maxage`, else `max-age`, else `Expires` − `Date` (RFC 9111 §4.2.1).
    /// What it says wrongly is zero, and does not pass the question on.
    fn named_ttl(&self, headers: Fields<'_>, date: SystemTime) -> Option<Duration> {
        match (self.directives.s_maxage, self.directives.max_age) {
            (Delta::Secs(ttl), _) | (Delta::Absent, Delta::Secs(ttl)) => Some(ttl),
            (Delta::Invalid, _) | (_, Delta::Invalid) => Some(Duration::ZERO),
            (Delta::Absent, Delta::Absent) if self.source == Source::Targeted => None,
            (Delta::Absent, Delta::Absent) => {
                let mut lines = headers.lines(EXPIRES.as_str());
                let first = lines.next()?;
                let expires = date::parse(first).filter(|_| lines.all(|l| l == first));
                // Not later than `Date` is stale, even if both lie ahead.
                Some(expires.and_then(|end| end.duration_since(date).ok()).unwrap_or_default())
            }
        }
    }

    /// Whether an origin that names no freshness leaves it to the cache. One that speaks HTTP/1.0 and says
    /// `Pragma: no-cache` has not been silent, whatever that is worth.
    fn is_silent(&self, headers: Fields<'_>) -> bool {
        self.source == Source::Targeted
            || headers.contains(CACHE_CONTROL.as_str())
            || !pragma_no_cache(headers)
    }

    /// What must not be stored goes (RFC 9111 §5.2.2.4, §5.2.2.7): the fields that may not be reused
    /// without asking, which are not missed until then; and the age, which is kept apart.
    fn strip(&self, headers: &mut HeaderMap) {
        headers.remove(AGE);
        for scope in [&self.directives.no_cache, &self.directives.private] {
            if let Scope::Fields(names) = scope {
                for name in names {
                    headers.remove(name);
                }
            }
        }
    }
}

/// When a response was made and how old it was when it came (RFC 9111 §4.2.3).
struct Dated {
    date: SystemTime,
    by_origin: bool,
    initial_age: Duration,
}

impl Dated {
    fn new(headers: Fields<'_>, exchange: Exchange) -> Dated {
        let Exchange { requested_at, received_at } = exchange;
        let named = headers.first(DATE.as_str()).and_then(date::parse);
        // `Date` is cut to whole seconds; a fraction that only stems from the cut is no age.
        let apparent_age = named
            .and_then(|date| received_at.duration_since(date).ok())
            .map_or(Duration::ZERO, |age| Duration::from_secs(age.as_secs()));
        let delay = received_at.duration_since(requested_at).unwrap_or_default();
        Dated {
            date: named.unwrap_or(received_at),
            by_origin: named.is_some(),
            initial_age: apparent_age.max(age_value(headers).saturating_add(delay)),
        }
    }
}

/// Whether it could ever answer anybody: by being fresh, by a stale window, or by being validated.
fn is_of_use(headers: Fields<'_>, terms: Terms) -> bool {
    has_validator(headers) || (!terms.always_validate && !terms.lifetime.end().is_zero())
}

fn weight(fields: &FieldBlock, extras: &Extras) -> usize {
    let names: usize = extras
        .tags
        .iter()
        .chain(&extras.groups)
        .map(|name| name.len() + size_of::<Box<str>>())
        .sum();
    let apart = if extras.is_empty() { 0 } else { size_of::<Extras>() };
    size_of::<StoredHead>() + fields.as_bytes().len() + apart + names + extras.selecting.weight()
}
