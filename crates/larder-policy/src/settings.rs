//! Policy: what a cache was told to do, beyond what every message says itself.

use std::time::Duration;

use http::HeaderName;

use crate::cookies::IgnoredCookies;

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
    pub(crate) s_maxage_forbids_stale: bool,
    pub(crate) obeys_readers: bool,
    pub(crate) asks_for_other_variants: bool,
    pub(crate) completes_unvalidated_parts: bool,
    pub(crate) fills_on_conditional_miss: bool,
    pub(crate) no_vary_search: bool,
    pub(crate) max_variants: usize,
    pub(crate) hit_for_miss: Duration,
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
            s_maxage_forbids_stale: true,
            obeys_readers: true,
            asks_for_other_variants: true,
            completes_unvalidated_parts: true,
            fills_on_conditional_miss: true,
            no_vary_search: false,
            max_variants: 32,
            hit_for_miss: Duration::from_secs(10),
        }
    }

    /// The default for real traffic: the standard, and refusals where an answer looks personal.
    ///
    /// What differs: no heuristics; `Set-Cookie` needs `public` or `s-maxage`; a request with `Cookie` or
    /// `Authorization` is answered only with what is shareable in so many words; an entity tag of one
    /// variant is not offered for another (some origins give one tag to all encodings of a page);
    /// `stale-while-revalidate` and `stale-if-error` hold beside `s-maxage`, as origins that send both
    /// mean them.
    pub fn guarded() -> Policy {
        Policy {
            heuristics: None,
            guards: true,
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

    /// How long answers without freshness information are fresh, instead of a heuristic. Holds for
    /// statuses that may be cached by default (RFC 9110 §15.1) and for what is marked `public`.
    pub fn default_ttl(mut self, ttl: Duration) -> Policy {
        self.default_ttl = Some(ttl);
        self
    }

    /// How long answers are fresh whatever they say themselves. Holds for the same statuses, and for
    /// others with freshness information of their own; `no-store`, `private` and `no-cache` stay what
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

    /// Whether `Cache-Control` of requests is honoured (RFC 9111 §5.2.1 leaves it to the cache).
    /// `no-store` and `only-if-cached` are in any case. Yes in both presets.
    pub fn obeys_readers(mut self, obeys: bool) -> Policy {
        self.obeys_readers = obeys;
        self
    }

    /// Whether `No-Vary-Search` counts, which is a draft. No in both presets.
    pub fn no_vary_search(mut self, counts: bool) -> Policy {
        self.no_vary_search = counts;
        self
    }

    /// Whether `No-Vary-Search` counts.
    pub fn uses_no_vary_search(&self) -> bool {
        self.no_vary_search
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

    /// How long it is remembered that a key's answers cannot be shared. Ten seconds in both presets.
    pub fn hit_for_miss(mut self, memory: Duration) -> Policy {
        self.hit_for_miss = memory;
        self
    }
}

/// The preset `guarded`.
impl Default for Policy {
    fn default() -> Self {
        Policy::guarded()
    }
}
