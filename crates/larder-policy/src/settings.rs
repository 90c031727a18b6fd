//! Policy: what a cache was told to do, beyond what every message says itself.

use std::{sync::Arc, time::Duration};

use http::HeaderName;

use crate::{compression::Compression, cookies::IgnoredCookies};

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
    pub(crate) key_fields: Vec<HeaderName>,
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

const DAY: Duration = Duration::from_secs(86_400);

impl Policy {
    /// RFC 9111 to the letter, heuristics included.
    pub fn standard() -> Policy {
        Policy {
            heuristics: Some(Heuristics::default()),
            default_ttl: None,
            ttl_override: None,
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
            key_fields: Vec::new(),
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
    /// - errors that are about the one request (400, 401, 405 to 408, 411, 413 to 415, 417, 422, 426, 501,
    ///   505) are not stored, nor is a redirect of a URI to itself;
    /// - fields that tell the origin to answer for another method, host or URI are not sent to it where the
    ///   answer may be stored ([`key_fields`](Policy::key_fields));
    /// - an entity tag of one variant is not offered for another (some origins give one tag to all
    ///   encodings of a page);
    /// - `stale-while-revalidate` and `stale-if-error` hold beside `s-maxage`, as origins that send both
    ///   mean them.
    pub fn guarded() -> Policy {
        Policy {
            heuristics: None,
            guards: true,
            set_cookie: SetCookie::Refuse,
            s_maxage_forbids_stale: false,
            asks_for_other_variants: false,
            completes_unvalidated_parts: false,
            ..Policy::standard()
        }
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

    /// What decides which answers are stored, for whom, and what is left out of them: where two policies say the same
    /// here, what one has stored is for readers of the other.
    pub fn of_storing(&self) -> String {
        let Policy { targeted_fields, surrogate_control, guards, cookies_matter, .. } = self;
        let Policy { ignored_cookies, set_cookie, key_fields, .. } = self;
        let orders = (targeted_fields, surrogate_control);
        format!("{:?}", (orders, guards, cookies_matter, ignored_cookies, set_cookie, key_fields))
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
