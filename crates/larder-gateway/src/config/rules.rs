//! Rules: what is stored, for how long, and for whom; of a route, or of all requests.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "these texts are for readers of a larder.toml: [memory] is a table there"
)]

use std::collections::BTreeMap;

use bytesize::ByteSize;
pub use larder::http::policy::text::{
    AuthorizationWord, CodingWord, ControlWord, PathTypeWord, PolicyText, PolicyWord,
    ResponseHeaders, SetCookieWord, TagWord,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    schema::{Table, Written},
    value::{
        CookieName, Count, Field, MediaType, OneCookie, Parameter, Part, Protocol, Share, Size,
        StatusText, Time,
    },
};
use crate::{
    RateLimit,
    routes::{FETCH_WAIT, Protocols, RouteLimits},
    upstream::Times,
};

/// What is said of rules. A route's go before those of `[defaults]`, each by itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Which service answers: its name. Default the only one
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"blog")]
    pub upstream: Option<String>,
    /// Whether answers are stored and shared at all. Default true; with false requests pass to the service
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = false)]
    pub cache: Option<bool>,
    /// Which rules to go by where no other key says so: guarded is the standard, and refusals where an answer looks
    /// personal (cookies, credentials); standard is RFC 9111 to the letter. Default guarded
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"guarded")]
    pub policy: Option<PolicyWord>,
    /// How long answers are fresh that do not say so themselves: those with content (200, 203, 206) and permanent
    /// redirects (301, 308), and what is not found (404, 410) for a minute at most. Default none: they are not stored
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"5m")]
    pub ttl: Option<Time>,
    /// How long answers are fresh whatever they say themselves; no-store, private and no-cache stay what they are.
    /// Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1h")]
    pub ttl_override: Option<Time>,
    /// The shortest time for which answers are fresh that say one themselves, where their status is one that ttl holds
    /// for; no-store, private and no-cache stay what they are. Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"10s")]
    pub min_ttl: Option<Time>,
    /// The longest time for which answers are fresh, whether they say so themselves, by ttl, or by heuristics. Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1day")]
    pub max_ttl: Option<Time>,
    /// How long answers with these statuses are fresh that do not say so themselves: 404, or 5xx for all from 500 to 599.
    /// 0s is never, whatever they say. Goes before ttl and ttl_override. Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Table>", example = Written("{ \"404\" = \"10s\", \"5xx\" = \"0s\" }"))]
    pub ttl_by_status: Option<BTreeMap<StatusText, Time>>,
    /// By up to which part of it the time is shortened for which an answer is fresh, so that what was stored together does
    /// not end together: 0.1 is a tenth. Default 0.0
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.1)]
    pub ttl_jitter: Option<Part>,
    /// How long after its freshness an answer is served while it is fetched anew, where it does not say so itself.
    /// Default 0s
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"30s")]
    pub stale_while_revalidate: Option<Time>,
    /// How long after its freshness an answer is served if the service fails, where it does not say so itself.
    /// Default 0s
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1h")]
    pub stale_if_error: Option<Time>,
    /// How long after its freshness an answer is served if the service cannot be reached at all, where nothing forbids it.
    /// Default 1day
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1day")]
    pub stale_if_disconnected: Option<Time>,
    /// How long a reader waits for the service where something stale would do: then that is served, and the request goes
    /// on behind. Default none: it waits
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"500ms")]
    pub soft_timeout: Option<Time>,
    /// How long the service may take for the head of an answer; then 504, or something stale. That of [defaults] does not
    /// hold for a route with stream = true. Default none: the timeouts of [upstream.NAME] hold
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"10s")]
    pub hard_timeout: Option<Time>,
    /// Whether answers that say nothing of their freshness are kept for a tenth of the time for which they had not
    /// changed, a day at most (RFC 9111 §4.2.2). Default true with policy standard only: nobody promised anything
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub heuristics: Option<bool>,
    /// Whether readers' Cache-Control counts (a reload fetches anew); of which readers, trusted_readers of [server] says.
    /// Default true
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = false)]
    pub obey_readers: Option<bool>,
    /// Whether a request's cookies make its answer personal. Default true with policy guarded; false is for what does
    /// not depend on cookies, as images
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = false)]
    pub cookies_matter: Option<bool>,
    /// Cookies that change nothing in an answer, by name; * stands for any characters, analytics for those of the usual
    /// visitor counters. The service does not see them on requests whose answer may be stored. Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["analytics", "theme"])]
    pub ignore_cookies: Option<Vec<CookieName>>,
    /// What becomes of answers that set a cookie and could be stored but for that. Default refuse with policy guarded,
    /// store with standard
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"store-without")]
    pub set_cookie: Option<SetCookieWord>,
    /// Whether an answer is stored whose media type is not what its path's extension stands for (/account/x.css, and it
    /// is a page): fitting or any. Default fitting with policy guarded, any with standard
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"any")]
    pub path_type: Option<PathTypeWord>,
    /// Request fields that tell answers apart, as if all varied by them. What guarded would keep from the service
    /// (fields that stand for the method, the host or the URI) reaches it if it is among them. Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["X-Tenant"])]
    pub key_fields: Option<Vec<Field>>,
    /// Content codings in which stored text is kept as well (zstd, br, gzip), the first choice first: made once, behind
    /// the first reader who wants it. The service is asked for plain bytes then. Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["zstd", "br", "gzip"])]
    pub compress: Option<Vec<CodingWord>>,
    /// The media types that are compressed, without parameters; * stands for any characters. Default text, JSON, XML,
    /// JavaScript, SVG, WebAssembly and their like
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["text/*", "application/json"])]
    pub compress_types: Option<Vec<MediaType>>,
    /// The shortest body that is compressed. Default 1KiB
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"512")]
    pub compress_min: Option<Size>,
    /// The longest body that is compressed. Default 8MiB
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1MiB")]
    pub compress_max: Option<Size>,
    /// What becomes of requests with Authorization: pass, and nothing is stored of their answers, nor are they answered from
    /// what is stored; if-public shares what says public or s-maxage. Default if-public
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"pass")]
    pub authorization: Option<AuthorizationWord>,
    /// Cookies by whose values answers are told apart. Requests that have no others do not look personal. Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["lang"])]
    pub key_cookies: Option<Vec<OneCookie>>,
    /// The parameters of the query that matter, by name; * stands for any characters. The service does not see the others
    /// on requests whose answer may be stored. Default all
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["page", "q"])]
    pub query_allow: Option<Vec<Parameter>>,
    /// Parameters of the query that do not matter, as for query_allow; tracking stands for those that advertisements and
    /// newsletters add to links (utm_*, gclid, fbclid and so on). Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["tracking", "session"])]
    pub query_deny: Option<Vec<Parameter>>,
    /// Whether the order of the parameters does not matter: they are sorted by name, also for the service. Default false
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub query_sort: Option<bool>,
    /// Tags of what is stored, beside its own, to purge it by; {id} is what stands in that place of the route's path.
    /// Holds for what is stored from then on. Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["posts", "post:{id}"])]
    pub tags: Option<Vec<String>>,
    /// Fields that all answers get (set: in place of the service's; add: beside those) or lose (remove) on their way to the
    /// reader: also what is stored, and what is answered here without a service, where type, freshness and place stay what
    /// they are. Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Table>", example = Written("{ set = { X-Frame-Options = \"DENY\" }, remove = [\"X-Powered-By\"] }"))]
    pub response_headers: Option<ResponseHeaders>,
    /// For how long caches outside (CDNs) may keep answers that are fresh here, as the directives of Cache-Control say it:
    /// max-age, stale-while-revalidate, stale-if-error in seconds, no-store, no-cache, must-revalidate, public. Answers that
    /// are stale here have max-age=0 for all, and those that are not stored here go out as they are. Default what the
    /// service says
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"max-age=3600, stale-while-revalidate=60")]
    pub cdn_cache_control: Option<String>,
    /// In which fields that is said. Default CDN-Cache-Control
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["Surrogate-Control"])]
    pub cdn_fields: Option<Vec<ControlWord>>,
    /// In which fields caches outside find the tags to purge an answer by. Only peers in trusted_peers get them, and nobody
    /// those that the service wrote; [] is for nobody at all. Tags that not all CDNs take go out as hashes, and what is
    /// more than 50 as larder-overflow. Default as the service wrote them, to all
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["Surrogate-Key"])]
    pub cdn_tags: Option<Vec<TagWord>>,
    /// How many tags stand in each of these fields, larder-overflow among them, which stands for all that did not fit.
    /// Default 50, which all CDNs take; from 1 to 1000
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 50)]
    pub cdn_tags_max: Option<Count>,
    /// How many bytes such a field may have. Default as its CDN takes: 16,384 in Surrogate-Key and Cache-Tag, 8000 in
    /// Edge-Cache-Tag and xkey, 1024 in CDN-Tag; from 64 bytes to 64KiB
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"8KiB")]
    pub cdn_tags_max_bytes: Option<Size>,
    /// Whether what is stored gets an ETag of its own where the service gave none. Default false
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub etag: Option<bool>,
    /// Longer bodies are not stored, where that is less than max_body of [memory]. Default that
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1MiB")]
    pub max_body: Option<Size>,
    /// How much of the memory of [memory] may be taken by what is stored here: a size, or a share of it in percent. Beyond
    /// that something else of the same goes first, and longer answers are not stored. Each route counts by itself.
    /// Default no bound but that of [memory]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"20%")]
    pub max_memory: Option<Share>,
    /// How many requests may be at the service at once, until their answers are whole; as many more wait for as long as
    /// fetch_wait says, and the others get 503, or something stale. Each route counts by itself. Default no bound but those
    /// of the service
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 20)]
    pub max_fetches: Option<Count>,
    /// How long a request may wait for its place where max_fetches are at the service. Default 5s; 0s: nobody waits
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1s")]
    pub fetch_wait: Option<Time>,
    /// The most bytes of a request's content; more is answered 413, and goes no further. Default what [server] says
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"16MiB")]
    pub max_request_body: Option<Size>,
    /// How many requests an address may send each second in the long run, whether they are answered from what is stored or
    /// not; more is answered 429. Each route counts by itself, beside the bound of [server]. Default no bound
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1)]
    pub requests_per_address: Option<Count>,
    /// How many requests an address may send at once after a pause. Default as many as requests_per_address
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 5)]
    pub requests_burst: Option<Count>,
    /// Whether answers are streams that may pause for as long as they like, or long polls, as event streams and calls of
    /// gRPC are: nothing is stored, and neither the service nor a request under way is cut off for saying nothing.
    /// Default false
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub stream: Option<bool>,
    /// From the request to the head of the answer. Default as the service's table says; none with stream
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"5m")]
    pub first_byte_timeout: Option<Time>,
    /// Between two pieces of the answer's body. Default as the service's table says; none with stream
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"5m")]
    pub idle_body_timeout: Option<Time>,
    /// From the request to the last byte of the answer. Default as the service's table says; none with stream
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1h")]
    pub whole_timeout: Option<Time>,
    /// The protocols in which connections may go on that begin with a request here, as readers name them in Upgrade.
    /// Default websocket; an empty list allows none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["websocket"])]
    pub upgrades: Option<Vec<Protocol>>,
    /// How long nothing may move on a connection that goes on in another protocol. Default 10m: most programs send
    /// something every half a minute
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"10m")]
    pub upgrade_idle_timeout: Option<Time>,
}

impl Rules {
    /// Those of a route, with what `defaults` say where it says nothing. What is usual for answers that are waited for
    /// would end each stream that has nothing to say yet: the `hard_timeout` of `defaults` is not that of a stream.
    pub fn of_route(self, defaults: &Rules) -> Rules {
        let own = self.hard_timeout.clone();
        let rules = self.or(defaults);
        match rules.stream {
            Some(true) => Rules { hard_timeout: own, ..rules },
            _ => rules,
        }
    }

    /// These, and what `others` say where these say nothing.
    pub fn or(self, others: &Rules) -> Rules {
        let others = others.clone();
        Rules {
            upstream: self.upstream.or(others.upstream),
            cache: self.cache.or(others.cache),
            policy: self.policy.or(others.policy),
            ttl: self.ttl.or(others.ttl),
            ttl_override: self.ttl_override.or(others.ttl_override),
            stale_while_revalidate: self.stale_while_revalidate.or(others.stale_while_revalidate),
            stale_if_error: self.stale_if_error.or(others.stale_if_error),
            stale_if_disconnected: self.stale_if_disconnected.or(others.stale_if_disconnected),
            heuristics: self.heuristics.or(others.heuristics),
            obey_readers: self.obey_readers.or(others.obey_readers),
            cookies_matter: self.cookies_matter.or(others.cookies_matter),
            ignore_cookies: self.ignore_cookies.or(others.ignore_cookies),
            set_cookie: self.set_cookie.or(others.set_cookie),
            path_type: self.path_type.or(others.path_type),
            key_fields: self.key_fields.or(others.key_fields),
            compress: self.compress.or(others.compress),
            compress_types: self.compress_types.or(others.compress_types),
            compress_min: self.compress_min.or(others.compress_min),
            compress_max: self.compress_max.or(others.compress_max),
            min_ttl: self.min_ttl.or(others.min_ttl),
            max_ttl: self.max_ttl.or(others.max_ttl),
            ttl_by_status: self.ttl_by_status.or(others.ttl_by_status),
            ttl_jitter: self.ttl_jitter.or(others.ttl_jitter),
            soft_timeout: self.soft_timeout.or(others.soft_timeout),
            hard_timeout: self.hard_timeout.or(others.hard_timeout),
            authorization: self.authorization.or(others.authorization),
            key_cookies: self.key_cookies.or(others.key_cookies),
            query_allow: self.query_allow.or(others.query_allow),
            query_deny: self.query_deny.or(others.query_deny),
            query_sort: self.query_sort.or(others.query_sort),
            tags: self.tags.or(others.tags),
            response_headers: self.response_headers.or(others.response_headers),
            cdn_cache_control: self.cdn_cache_control.or(others.cdn_cache_control),
            cdn_fields: self.cdn_fields.or(others.cdn_fields),
            cdn_tags: self.cdn_tags.or(others.cdn_tags),
            cdn_tags_max: self.cdn_tags_max.or(others.cdn_tags_max),
            cdn_tags_max_bytes: self.cdn_tags_max_bytes.or(others.cdn_tags_max_bytes),
            etag: self.etag.or(others.etag),
            max_body: self.max_body.or(others.max_body),
            max_memory: self.max_memory.or(others.max_memory),
            max_fetches: self.max_fetches.or(others.max_fetches),
            fetch_wait: self.fetch_wait.or(others.fetch_wait),
            max_request_body: self.max_request_body.or(others.max_request_body),
            requests_per_address: self.requests_per_address.or(others.requests_per_address),
            requests_burst: self.requests_burst.or(others.requests_burst),
            stream: self.stream.or(others.stream),
            first_byte_timeout: self.first_byte_timeout.or(others.first_byte_timeout),
            idle_body_timeout: self.idle_body_timeout.or(others.idle_body_timeout),
            whole_timeout: self.whole_timeout.or(others.whole_timeout),
            upgrades: self.upgrades.or(others.upgrades),
            upgrade_idle_timeout: self.upgrade_idle_timeout.or(others.upgrade_idle_timeout),
        }
    }

    /// What holds where nothing is said, by the policy that is chosen.
    pub fn built_in(policy: PolicyWord) -> Rules {
        let is_guarded = policy == PolicyWord::Guarded;
        let time = |seconds| Some(Time(std::time::Duration::from_secs(seconds)));
        Rules {
            upstream: None,
            cache: Some(true),
            policy: Some(policy),
            ttl: None,
            ttl_override: None,
            stale_while_revalidate: time(0),
            stale_if_error: time(0),
            stale_if_disconnected: time(86_400),
            heuristics: Some(!is_guarded),
            obey_readers: Some(true),
            cookies_matter: Some(is_guarded),
            ignore_cookies: Some(Vec::new()),
            path_type: Some(if is_guarded { PathTypeWord::Fitting } else { PathTypeWord::Any }),
            set_cookie: Some(if is_guarded { SetCookieWord::Refuse } else { SetCookieWord::Store }),
            key_fields: Some(Vec::new()),
            compress: Some(Vec::new()),
            compress_types: None,
            compress_min: Some(Size(ByteSize::kib(1))),
            compress_max: Some(Size(ByteSize::mib(8))),
            min_ttl: None,
            max_ttl: None,
            ttl_by_status: None,
            ttl_jitter: Some(Part(0.0)),
            soft_timeout: None,
            hard_timeout: None,
            authorization: Some(AuthorizationWord::IfPublic),
            key_cookies: Some(Vec::new()),
            query_allow: None,
            query_deny: Some(Vec::new()),
            query_sort: Some(false),
            tags: Some(Vec::new()),
            response_headers: None,
            cdn_cache_control: None,
            cdn_fields: None,
            cdn_tags: None,
            cdn_tags_max: None,
            cdn_tags_max_bytes: None,
            etag: Some(false),
            max_body: None,
            max_memory: None,
            max_fetches: None,
            fetch_wait: Some(Time(FETCH_WAIT)),
            max_request_body: None,
            requests_per_address: None,
            requests_burst: None,
            stream: Some(false),
            first_byte_timeout: None,
            idle_body_timeout: None,
            whole_timeout: None,
            upgrades: Some(Protocols::default().allowed.iter().cloned().map(Protocol).collect()),
            upgrade_idle_timeout: Some(Time(Protocols::default().idle_timeout)),
        }
    }

    /// In which other protocols connections may go on.
    pub fn protocols(&self) -> Protocols {
        let usual = Protocols::default();
        let said = self.upgrades.as_ref();
        Protocols {
            allowed: said.map_or(usual.allowed, |said| {
                said.iter().map(|protocol| protocol.0.clone()).collect()
            }),
            idle_timeout: self
                .upgrade_idle_timeout
                .as_ref()
                .map_or(usual.idle_timeout, |time| time.0),
        }
    }

    /// What the requests of this route may take together; `route` is what they have in common.
    pub fn limits(&self, route: &str) -> Option<RouteLimits> {
        let number = |count: Count| u32::try_from(count.0.get()).unwrap_or(u32::MAX);
        let rate = self.requests_per_address.map(|per_second| {
            let burst = self.requests_burst.unwrap_or(per_second);
            RateLimit { per_second: number(per_second), burst: number(burst) }
        });
        let max_fetches = self.max_fetches.map(|count| count.0.get());
        let has_any = rate.is_some() || max_fetches.is_some();
        let fetch_wait = self.fetch_wait.as_ref().map_or(FETCH_WAIT, |time| time.0);
        has_any.then(|| RouteLimits { route: route.into(), max_fetches, fetch_wait, rate })
    }

    /// How long the service may take, where that is another time than its table says.
    pub fn times(&self) -> Option<Times> {
        let said = |time: &Option<Time>| time.as_ref().map(|time| time.0);
        let times = Times {
            is_stream: self.stream.unwrap_or_default(),
            first_byte: said(&self.first_byte_timeout),
            idle_body: said(&self.idle_body_timeout),
            whole: said(&self.whole_timeout),
        };
        (times != Times::default()).then_some(times)
    }

    /// Whether anything is stored.
    pub fn is_cached(&self) -> bool {
        self.cache.unwrap_or(true) && !self.stream.unwrap_or_default()
    }

    /// What of them is a policy's, in the words of one that has no gateway. `path`: the route's.
    pub fn text(&self, path: Option<&str>) -> PolicyText {
        let said = self.clone();
        PolicyText {
            path: path.map(str::to_owned),
            policy: said.policy,
            ttl: said.ttl,
            ttl_override: said.ttl_override,
            min_ttl: said.min_ttl,
            max_ttl: said.max_ttl,
            ttl_by_status: said.ttl_by_status,
            ttl_jitter: said.ttl_jitter,
            stale_while_revalidate: said.stale_while_revalidate,
            stale_if_error: said.stale_if_error,
            stale_if_disconnected: said.stale_if_disconnected,
            soft_timeout: said.soft_timeout,
            hard_timeout: said.hard_timeout,
            heuristics: said.heuristics,
            obey_readers: said.obey_readers,
            cookies_matter: said.cookies_matter,
            ignore_cookies: said.ignore_cookies,
            set_cookie: said.set_cookie,
            path_type: said.path_type,
            authorization: said.authorization,
            key_fields: said.key_fields,
            key_cookies: said.key_cookies,
            query_allow: said.query_allow,
            query_deny: said.query_deny,
            query_sort: said.query_sort,
            tags: said.tags,
            response_headers: said.response_headers,
            cdn_cache_control: said.cdn_cache_control,
            cdn_fields: said.cdn_fields,
            cdn_tags: said.cdn_tags,
            cdn_tags_max: said.cdn_tags_max.map(|count| count.0),
            cdn_tags_max_bytes: said.cdn_tags_max_bytes,
            etag: said.etag,
            max_body: said.max_body,
            compress: said.compress,
            compress_types: said.compress_types,
            compress_min: said.compress_min,
            compress_max: said.compress_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_what_the_presets_do() {
        for word in [PolicyWord::Guarded, PolicyWord::Standard] {
            let said = Rules { policy: Some(word), ..Rules::default() };
            // Cookies are of no matter to the standard at all, whatever the switch says.
            let built_in = Rules { cookies_matter: None, ..Rules::built_in(word) };
            let [built_in, said] = [built_in, said].map(|rules| rules.text(None).policy().unwrap());
            assert_eq!(built_in, said, "{word:?}");
        }
    }

    #[test]
    fn what_a_route_says_goes_before_what_all_say_and_that_before_what_is_built_in() {
        let time = |seconds| Some(Time(std::time::Duration::from_secs(seconds)));
        let route = Rules { ttl: time(1), ..Rules::default() };
        let all = Rules { ttl: time(2), stale_if_error: time(3), ..Rules::default() };
        let effective = route.or(&all).or(&Rules::built_in(PolicyWord::Guarded));
        assert_eq!((effective.ttl, effective.stale_if_error), (time(1), time(3)));
        assert_eq!(effective.stale_if_disconnected, time(86_400));
    }
}
