//! Policy: what a cache was told to do, beyond what every message says itself.

use std::{sync::Arc, time::Duration};

use http::HeaderName;

use crate::{
    answer_fields::AnswerFields,
    class::Class,
    compression::Compression,
    cookies::{IgnoredCookies, has_other_cookies, values},
    credentials,
    fields::Fields,
    outgoing::Outgoing,
    path_tags::PathTags,
    path_type::PathType,
    query::QueryRecipe,
    ttl::Statuses,
};

/// The rules of one cache, or of one route of it. Two presets, and a method per knob:
///
/// ```
/// use larder_policy::settings::Policy;
/// use std::time::Duration;
///
/// let policy = Policy::guarded().default_ttl(Duration::from_secs(300)).cookies_matter(false);
/// ```
///
/// No setting stores what an answer forbids to store: `no-store` and `private` hold always.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub(crate) heuristics: Option<Heuristics>,
    pub(crate) default_ttl: Option<Duration>,
    pub(crate) ttl_override: Option<Duration>,
    pub(crate) min_ttl: Option<Duration>,
    pub(crate) max_ttl: Option<Duration>,
    pub(crate) ttl_by_status: Vec<(Statuses, Duration)>,
    pub(crate) ttl_jitter: f64,
    pub(crate) default_stale_while_revalidate: Duration,
    pub(crate) default_stale_if_error: Duration,
    pub(crate) stale_if_disconnected: Duration,
    pub(crate) keep_for_validation: Duration,
    pub(crate) targeted_fields: Vec<HeaderName>,
    pub(crate) surrogate_control: bool,
    pub(crate) guards: bool,
    pub(crate) cookies_matter: bool,
    pub(crate) ignored_cookies: IgnoredCookies,
    pub(crate) set_cookie: SetCookie,
    pub(crate) path_type: PathType,
    pub(crate) key_fields: Vec<HeaderName>,
    pub(crate) key_cookies: Vec<Box<str>>,
    pub(crate) partition: Option<Box<str>>,
    pub(crate) class: Class,
    pub(crate) query: QueryRecipe,
    pub(crate) passes_credentials: bool,
    pub(crate) tags: PathTags,
    pub(crate) answer_fields: AnswerFields,
    pub(crate) outgoing: Outgoing,
    /// What both of them make of a hit.
    pub(crate) hit_fields: AnswerFields,
    pub(crate) own_tags: bool,
    pub(crate) max_body_bytes: Option<usize>,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) hard_timeout: Option<Duration>,
    pub(crate) s_maxage_forbids_stale: bool,
    pub(crate) obeys_readers: bool,
    pub(crate) asks_for_other_variants: bool,
    pub(crate) completes_unvalidated_parts: bool,
    pub(crate) fills_on_conditional_miss: bool,
    pub(crate) max_variants: usize,
    pub(crate) hit_for_miss: Duration,
    pub(crate) compression: Option<Arc<Compression>>,
}

/// What becomes of an answer that sets a cookie, and could be stored but for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCookie {
    /// It is not stored, whatever it says of others. There are frameworks that send `public` with every
    /// page and a new session with the first.
    Refuse,
    /// It is stored without the field, which only the reader gets who was asked for.
    StoreWithout,
    /// It is stored with it, and everybody is given the same cookie (RFC 9111 §7.3).
    Store,
}

/// How long an answer that says nothing about it may be fresh (RFC 9111 §4.2.2): a part of the time
/// for which it had not changed when it was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heuristics {
    /// The part, 0 to 1.
    pub fraction: f64,
    /// Never longer than this.
    pub max: Duration,
}

/// A tenth, as RFC 9111 §4.2.2 suggests, and a day at most, since nobody promised anything.
impl Default for Heuristics {
    fn default() -> Self {
        Heuristics { fraction: 0.1, max: DAY }
    }
}

/// Before the reason for which answers lie apart: nobody else's partition has it in it.
const APART: char = '\u{6}';

/// A partition as people are told it.
pub(crate) fn partition_in_words(partition: &str) -> String {
    let parts: Vec<_> = partition.split(APART).filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}

const DAY: Duration = Duration::from_secs(86_400);

impl Policy {
    /// RFC 9111 to the letter, heuristics included.
    pub fn standard() -> Policy {
        Policy {
            heuristics: Some(Heuristics::default()),
            default_ttl: None,
            ttl_override: None,
            min_ttl: None,
            max_ttl: None,
            ttl_by_status: Vec::new(),
            ttl_jitter: 0.0,
            default_stale_while_revalidate: Duration::ZERO,
            default_stale_if_error: Duration::ZERO,
            stale_if_disconnected: DAY,
            keep_for_validation: DAY,
            targeted_fields: vec![
                HeaderName::from_static("larder-cache-control"),
                HeaderName::from_static("cdn-cache-control"),
            ],
            surrogate_control: true,
            guards: false,
            cookies_matter: true,
            ignored_cookies: IgnoredCookies::default(),
            set_cookie: SetCookie::Store,
            path_type: PathType::Any,
            key_fields: Vec::new(),
            key_cookies: Vec::new(),
            partition: None,
            class: Class::NONE,
            query: QueryRecipe::default(),
            passes_credentials: false,
            tags: PathTags::default(),
            answer_fields: AnswerFields::default(),
            outgoing: Outgoing::default(),
            hit_fields: AnswerFields::default(),
            own_tags: false,
            max_body_bytes: None,
            soft_timeout: None,
            hard_timeout: None,
            s_maxage_forbids_stale: true,
            obeys_readers: true,
            asks_for_other_variants: true,
            completes_unvalidated_parts: true,
            fills_on_conditional_miss: true,
            max_variants: 32,
            hit_for_miss: Duration::from_secs(120),
            compression: None,
        }
    }

    /// The default for real traffic: the standard, and refusals where an answer looks personal.
    ///
    /// What differs:
    ///
    /// - no heuristics;
    /// - an answer with `Set-Cookie` is not stored;
    /// - a request with `Cookie` or `Authorization` is answered only with what is shareable in so many
    ///   words;
    /// - a request with a field of [`credentials::NAMES`] (the key of an API, the user that a proxy has let in) is taken
    ///   for one with `Authorization`, unless the field is a part of the key;
    /// - errors that are about the one request (400, 401, 405 to 408, 411, 413 to 415, 417, 422, 426, 501,
    ///   505) are not stored, nor is a redirect of a URI to itself;
    /// - fields that tell the origin to answer for another method, host or URI are not sent to it where the
    ///   answer may be stored ([`key_fields`](Policy::key_fields));
    /// - an answer to HEAD without a validator does not make what is stored fresh again
    ///   ([`head_says`](crate::validate::head_says));
    /// - an answer whose media type is not what its path's extension stands for (`/account/x.css`, and it is a page) is
    ///   not stored ([`path_type`](crate::path_type));
    /// - an entity tag of one variant is not offered for another (some origins give one tag to all
    ///   encodings of a page);
    /// - `stale-while-revalidate` and `stale-if-error` hold beside `s-maxage`, as origins that send both
    ///   mean them.
    pub fn guarded() -> Policy {
        Policy {
            heuristics: None,
            guards: true,
            set_cookie: SetCookie::Refuse,
            path_type: PathType::Fitting,
            s_maxage_forbids_stale: false,
            asks_for_other_variants: false,
            completes_unvalidated_parts: false,
            ..Policy::standard()
        }
    }

    /// Whether an answer to HEAD has to have a validator to say that what is stored is current. In [`guarded`](Policy::guarded).
    pub fn wants_proof_of_heads(&self) -> bool {
        self.guards
    }

    /// Whether, and how, answers without any freshness information may be reused (RFC 9111 §4.2.2).
    pub fn heuristics(mut self, heuristics: Option<Heuristics>) -> Policy {
        self.heuristics = heuristics;
        self
    }

    /// How long answers without freshness information are fresh, instead of a heuristic. Holds for 200,
    /// 203, 206, 301 and 308, and for a minute at most for 404 and 410: others are errors, or about the
    /// one request.
    pub fn default_ttl(mut self, ttl: Duration) -> Policy {
        self.default_ttl = Some(ttl);
        self
    }

    /// How long answers are fresh whatever they say themselves. Holds for answers with freshness information
    /// of their own, and like [`default_ttl`](Policy::default_ttl) for those without; `no-store`, `private` and `no-cache` stay what
    /// they are.
    pub fn ttl_override(mut self, ttl: Duration) -> Policy {
        self.ttl_override = Some(ttl);
        self
    }

    /// Answers that name a shorter TTL are fresh for as long as this. Holds for the statuses of
    /// [`default_ttl`](Policy::default_ttl); `no-store`, `private` and `no-cache` stay what they are, and so does what
    /// names no TTL at all. None in both presets.
    pub fn min_ttl(mut self, floor: Duration) -> Policy {
        self.min_ttl = Some(floor);
        self
    }

    /// No answer is fresh for longer, whether it says so itself, by a heuristic, or by
    /// [`default_ttl`](Policy::default_ttl). An [override](Policy::ttl_override), and what is said of a
    /// [status](Policy::ttl_by_status), are as long as they are. None in both presets.
    pub fn max_ttl(mut self, ceiling: Duration) -> Policy {
        self.max_ttl = Some(ceiling);
        self
    }

    /// How long answers with these statuses are fresh that do not say so themselves; zero is never, whatever they say.
    /// Goes before [`default_ttl`](Policy::default_ttl) and [`ttl_override`](Policy::ttl_override), a status by itself
    /// before its hundred. None in both presets.
    pub fn ttl_by_status(mut self, rows: Vec<(Statuses, Duration)>) -> Policy {
        self.ttl_by_status = rows;
        self
    }

    /// By up to which part of it each answer's TTL is shortened, so that what was stored together does not end together:
    /// 0 to 1, and what is no number is 0. The same answer is always shortened alike. 0 in both presets.
    pub fn ttl_jitter(mut self, part: f64) -> Policy {
        self.ttl_jitter = if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) };
        self
    }

    /// For answers that name no `stale-while-revalidate` of their own. None in both presets.
    pub fn default_stale_while_revalidate(mut self, window: Duration) -> Policy {
        self.default_stale_while_revalidate = window;
        self
    }

    /// For answers that name no `stale-if-error` of their own. None in both presets.
    pub fn default_stale_if_error(mut self, window: Duration) -> Policy {
        self.default_stale_if_error = window;
        self
    }

    /// How long after its freshness an answer may stand in for an origin that cannot be reached at
    /// all, where nothing forbids it (RFC 9111 §4.2.4). A day in both presets.
    pub fn stale_if_disconnected(mut self, window: Duration) -> Policy {
        self.stale_if_disconnected = window;
        self
    }

    /// How long a stale answer with a validator is worth its memory. A day in both presets.
    pub fn keep_for_validation(mut self, window: Duration) -> Policy {
        self.keep_for_validation = window;
        self
    }

    /// The targeted fields this cache listens to, the most specific first (RFC 9213 §2.2).
    /// `Larder-Cache-Control`, then `CDN-Cache-Control`, in both presets.
    pub fn targeted_fields(mut self, names: Vec<HeaderName>) -> Policy {
        self.targeted_fields = names;
        self
    }

    /// Whether `Surrogate-Control` counts, after the targeted fields. Yes in both presets.
    pub fn surrogate_control(mut self, counts: bool) -> Policy {
        self.surrogate_control = counts;
        self
    }

    /// Whether a request's `Cookie` makes its answer personal. Only in `guarded`; a route whose
    /// answers do not depend on cookies says no.
    pub fn cookies_matter(mut self, matter: bool) -> Policy {
        self.cookies_matter = matter;
        self
    }

    /// Cookies that change nothing in an answer. They are taken out of each GET, HEAD and QUERY that the
    /// cache may answer, before anything else is decided: neither the cache nor the origin sees them.
    /// None in both presets.
    pub fn ignore_cookies(mut self, ignored: IgnoredCookies) -> Policy {
        self.ignored_cookies = ignored;
        self
    }

    /// Cookies that change nothing in an answer.
    pub fn ignored_cookies(&self) -> &IgnoredCookies {
        &self.ignored_cookies
    }

    /// What becomes of an answer with `Set-Cookie`. `guarded` refuses to store it, `standard` stores it as
    /// it is.
    pub fn set_cookie(mut self, treatment: SetCookie) -> Policy {
        self.set_cookie = treatment;
        self
    }

    /// What becomes of an answer whose media type is not one that its path's extension stands for. `guarded` does not
    /// store it, `standard` does.
    pub fn path_type(mut self, treatment: PathType) -> Policy {
        self.path_type = treatment;
        self
    }

    /// Request fields that are a part of every key, as if all answers varied by them (RFC 9111 §4.1). None
    /// in both presets.
    ///
    /// This is how a field reaches the origin that `guarded` would keep from it: those that stand for the
    /// method, the host or the URI, such as `X-HTTP-Method-Override` or `X-Original-URL`. Some origins obey
    /// them, so without being told apart one reader could choose what all others are answered.
    /// `X-Forwarded-Host` and its kin are a part of the key in `guarded` wherever a request has them.
    pub fn key_fields(mut self, names: Vec<HeaderName>) -> Policy {
        self.key_fields = names;
        self
    }

    /// The request fields that are a part of every key.
    pub fn fields_in_key(&self) -> &[HeaderName] {
        &self.key_fields
    }

    /// Cookies by whose values answers are told apart, by name, as fields are by [`key_fields`](Policy::key_fields). A
    /// request that has no others does not look personal. None in both presets.
    pub fn key_cookies(mut self, names: Vec<String>) -> Policy {
        self.key_cookies = names.into_iter().map(String::into_boxed_str).collect();
        self.key_cookies.sort_unstable();
        self.key_cookies.dedup();
        self
    }

    /// Answers are only for requests whose policy has the same text here. Where requests for one URI go to different
    /// services, or by different rules, by something that is not in the URI, this keeps their answers apart. None in both
    /// presets.
    pub fn partition(mut self, name: Option<String>) -> Policy {
        self.partition = name.map(String::into_boxed_str);
        self
    }

    /// What is stored by these rules is accounted for under this number. [`Class::NONE`] in both presets.
    pub fn accounted_for(mut self, class: Class) -> Policy {
        self.class = class;
        self
    }

    /// The number under which what is stored by these rules is accounted for.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Which parameters of a query matter, and whether their order does. All and yes in both presets.
    pub fn query(mut self, recipe: QueryRecipe) -> Policy {
        self.query = recipe;
        self
    }

    /// Which parameters of a query matter.
    pub fn query_recipe(&self) -> &QueryRecipe {
        &self.query
    }

    /// Whether requests with `Authorization` pass: nothing stored answers them, and nothing is stored of their answers,
    /// even where those say that they are for all. No in both presets: then what says `public` or `s-maxage` is shared (RFC
    /// 9111 §3.5).
    pub fn passes_credentials(mut self, pass: bool) -> Policy {
        self.passes_credentials = pass;
        self
    }

    /// Tags of what is stored, beside those that answers name themselves. None in both presets.
    pub fn tags(mut self, tags: PathTags) -> Policy {
        self.tags = tags;
        self
    }

    /// The tags that this policy gives to answers for a URI.
    pub fn tags_of_path(&self, uri: &http::Uri) -> Vec<String> {
        self.tags.of(uri)
    }

    /// Fields that all answers get or lose on their way to the reader. None in both presets.
    pub fn answer_fields(mut self, fields: AnswerFields) -> Policy {
        self.answer_fields = fields;
        self.hit_fields = self.outgoing.on_hits(&self.answer_fields);
        self
    }

    /// Fields that all answers get or lose.
    #[inline]
    pub fn fields_of_answers(&self) -> &AnswerFields {
        &self.answer_fields
    }

    /// What answers say to caches outside. Nothing of its own in both presets.
    pub fn outgoing(mut self, outgoing: Outgoing) -> Policy {
        self.outgoing = outgoing;
        self.hit_fields = self.outgoing.on_hits(&self.answer_fields);
        self
    }

    /// What answers say to caches outside.
    #[inline]
    pub fn says_outside(&self) -> &Outgoing {
        &self.outgoing
    }

    /// Fields that fresh answers get or lose, to readers who may not know the tags.
    #[inline]
    pub fn fields_of_hits(&self) -> &AnswerFields {
        &self.hit_fields
    }

    /// Whether what is stored gets an entity tag where the origin gave none, made from its bytes. The first reader of an
    /// answer has none yet. No in both presets.
    pub fn own_tags(mut self, are_made: bool) -> Policy {
        self.own_tags = are_made;
        self
    }

    /// Whether all get the cookie that an answer sets.
    pub fn shares_cookies(&self) -> bool {
        self.set_cookie == SetCookie::Store
    }

    /// The longest body that is stored, if that is shorter than what the cache stores at all.
    pub fn max_body_bytes(mut self, most: usize) -> Policy {
        self.max_body_bytes = Some(most);
        self
    }

    /// The longest body that is stored by this policy.
    pub fn body_limit(&self) -> Option<usize> {
        self.max_body_bytes
    }

    /// How long a reader waits for the origin where something stale would do, instead of the cache's own soft timeout.
    pub fn soft_timeout(mut self, limit: Duration) -> Policy {
        self.soft_timeout = Some(limit);
        self
    }

    /// How long is waited where something stale would do, if this policy says so.
    pub fn patience_with_stale(&self) -> Option<Duration> {
        self.soft_timeout
    }

    /// How long the origin may take for the head of an answer, instead of the cache's own hard timeout.
    pub fn hard_timeout(mut self, limit: Duration) -> Policy {
        self.hard_timeout = Some(limit);
        self
    }

    /// How long the origin may take, if this policy says so.
    pub fn patience(&self) -> Option<Duration> {
        self.hard_timeout
    }

    /// The cookies by which answers are told apart, and what a request has there: for whoever asks what its key is.
    pub(crate) fn cookies_in_key(&self, headers: Fields<'_>) -> Vec<(String, Vec<String>)> {
        let of_one = |name: &str| {
            let values = values(headers, name).map(|value| String::from_utf8_lossy(value).into());
            (name.to_owned(), values.collect())
        };
        self.key_cookies.iter().map(|name| of_one(name)).collect()
    }

    /// The text of [`partition`](Policy::partition), where there is one.
    /// For people.
    pub(crate) fn told_apart_by(&self) -> Option<String> {
        self.partition.as_deref().map(partition_in_words)
    }

    /// Whether a request has a cookie that may make its answer personal: one that is neither ignored nor in the key.
    pub(crate) fn has_strange_cookie(&self, headers: Fields<'_>) -> bool {
        has_other_cookies(headers, &self.key_cookies)
    }

    /// The names of those cookies, for who asks why; the first 32, each once.
    pub(crate) fn strange_cookies(&self, headers: Fields<'_>) -> Vec<String> {
        const MOST: usize = 32;
        let mut names: Vec<String> = Vec::new();
        for name in self.ignored_cookies().others(headers, &self.key_cookies) {
            let name = String::from_utf8_lossy(name);
            if names.len() < MOST && !names.iter().any(|known| *known == name) {
                names.push(name.into_owned());
            }
        }
        names
    }

    /// The same for requests whose answers lie apart, for this reason, from those that the policy is for otherwise.
    pub fn apart(&self, reason: &str) -> Policy {
        let partition = match &self.partition {
            Some(partition) => format!("{partition}{APART}{reason}"),
            None => format!("{APART}{reason}"),
        };
        self.clone().partition(Some(partition))
    }

    /// Whether a request shows a credential that is no part of the key.
    pub(crate) fn has_strange_credential(&self, headers: Fields<'_>) -> bool {
        credentials::shown(headers).any(|name| !self.key_fields.iter().any(|key| key == name))
    }

    /// Whether answers are told apart by nothing but their URI and their own `Vary`.
    #[inline]
    pub(crate) fn tells_nothing_apart(&self) -> bool {
        self.key_fields.is_empty() && self.key_cookies.is_empty() && self.partition.is_none()
    }

    /// Writes what tells a request apart from others for the same URI beside its fields: requests that differ in it do
    /// not wait for each other.
    pub fn push_apart<'a>(&self, headers: impl Into<Fields<'a>>, out: &mut String) {
        let headers = headers.into();
        for name in &self.key_cookies {
            for value in values(headers, name) {
                out.push('\u{4}');
                out.push_str(name);
                out.push('=');
                out.extend(value.iter().copied().map(char::from));
            }
        }
        if let Some(partition) = &self.partition {
            out.push('\u{5}');
            out.push_str(partition);
        }
    }

    /// What decides which answers are stored, for whom, and what is left out of them: where two policies say the same
    /// here, what one has stored is for readers of the other.
    pub fn of_storing(&self) -> String {
        let Policy { targeted_fields, surrogate_control, guards, cookies_matter, .. } = self;
        let Policy { ignored_cookies, set_cookie, key_fields, path_type, .. } = self;
        let orders = (targeted_fields, surrogate_control);
        let cookies = (cookies_matter, ignored_cookies, set_cookie);
        format!("{:?}", (orders, guards, cookies, key_fields, path_type))
    }

    /// Whether `Cache-Control` of requests is honoured (RFC 9111 §5.2.1 leaves it to the cache).
    /// `no-store` and `only-if-cached` are in any case. Yes in both presets.
    pub fn obeys_readers(mut self, obeys: bool) -> Policy {
        self.obeys_readers = obeys;
        self
    }

    /// How many variants of one URI are worth keeping; the shell drops the oldest beyond it.
    pub fn max_variants(mut self, count: usize) -> Policy {
        self.max_variants = count;
        self
    }

    /// How many variants of one URI are kept: 32 in both presets.
    pub fn variant_limit(&self) -> usize {
        self.max_variants
    }

    /// How long it is remembered that a key's answers cannot be shared; each such answer says it anew.
    /// Two minutes in both presets: longer than most long polls, whose next round would otherwise wait
    /// for each other again.
    pub fn hit_for_miss(mut self, memory: Duration) -> Policy {
        self.hit_for_miss = memory;
        self
    }

    /// Which stored answers are kept in content codings as well, made by the cache behind its readers' backs, and
    /// in which. None in both presets, and where no coding is named.
    ///
    /// The origin is asked for plain bytes where the answer may be shared, so that one copy serves everybody; that an
    /// answer with plain bytes says `Vary: Accept-Encoding` makes no variants of it then.
    #[cfg(feature = "compress")]
    pub fn compress(mut self, compression: Compression) -> Policy {
        self.compression = (!compression.codings().is_empty()).then(|| Arc::new(compression));
        self
    }

    /// Which stored answers are kept in content codings as well.
    #[inline]
    pub fn compression(&self) -> Option<&Compression> {
        self.compression.as_deref()
    }
}

/// The preset `guarded`.
impl Default for Policy {
    fn default() -> Self {
        Policy::guarded()
    }
}
