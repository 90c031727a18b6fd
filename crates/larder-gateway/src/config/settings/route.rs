//! The check of routes, and of the rules that they have.

use std::sync::Arc;

use bytesize::ByteSize;
use http::{HeaderName, uri::Authority};
use larder::http::Policy;
use larder::http::policy::{
    forward::{self, ForwardedFields, LineFate},
    path::PathPattern,
};

use super::check::Check;
use crate::{
    GatewayConfig,
    cdn::CdnConfig,
    config::{
        mistake::Mistake,
        nearest::nearest,
        route::Route,
        rules::Rules,
        value::{Field, Wanted, is_one_host},
    },
    routes::{Fitting, HostPattern, OTHERWISE, PathRegex, Rewrite, RouteName, Way},
};

/// A page or two fit into less, and nothing else.
const LEAST_BOUND: ByteSize = ByteSize::kib(64);

impl Check<'_> {
    /// The way of requests by `effective` rules, of which `said` stand at `path`.
    pub(super) fn way(
        &mut self,
        path: &str,
        (said, effective): (&Rules, &Rules),
        upstreams: &[&str],
        (route, fitting): (Option<&Route>, Option<&Fitting>),
        trusted_readers: bool,
    ) -> Option<Way> {
        self.of_no_use(path, said, effective);
        if said.cdn_fields.is_some() && effective.cdn_cache_control.is_none() {
            let what = "cdn_fields says where cdn_cache_control stands: say that as well";
            self.note(&format!("{path}.cdn_fields"), what);
        }
        for (key, is_said) in [
            ("cdn_tags_max", said.cdn_tags_max.is_some()),
            ("cdn_tags_max_bytes", said.cdn_tags_max_bytes.is_some()),
        ] {
            if is_said && effective.cdn_tags.is_none() {
                let what = format!("{key} is a bound of cdn_tags: say that as well");
                self.note(&format!("{path}.{key}"), what);
            }
        }
        if said.cdn_fields.as_ref().is_some_and(Vec::is_empty) {
            self.note(
                &format!("{path}.cdn_fields"),
                "name a field: cdn_cache_control stands in none",
            );
        }
        self.sizes_of_compression(path, said, effective);
        self.timeouts(path, said, effective);
        self.fields_of_keys(path, said);
        let upstream = match (&effective.upstream, upstreams) {
            (None, []) => None,
            (None, [_]) => Some(0),
            (None, _) => {
                // It is the same for all routes: said once.
                if path == "defaults" {
                    let several = upstreams.join(", ");
                    let what = format!(
                        "which service answers what fits no route? There are {several}: say upstream in [defaults]"
                    );
                    let second = format!("upstream.{}", upstreams[1]);
                    let place = self.places.of(&second).cloned();
                    self.mistakes.push(Mistake::new(place, what).about("defaults.upstream"));
                }
                None
            }
            (Some(name), names) => {
                let found = names.iter().position(|known| known == name);
                if found.is_none() && said.upstream.is_some() {
                    let what = match nearest(name, names.iter().copied()) {
                        Some(meant) => {
                            format!("there is no [upstream.{name}]: did you mean {meant:?}?")
                        }
                        None if names.is_empty() => format!("there is no [upstream.{name}]"),
                        None => format!(
                            "there is no [upstream.{name}], but there is {}",
                            names.join(", ")
                        ),
                    };
                    self.note(&format!("{path}.upstream"), what);
                }
                found
            }
        };
        let text = effective.text(route.and_then(|route| route.path.as_deref()));
        let policy = match text.policy() {
            Ok(policy) => policy,
            Err(wrong) => {
                // What is said of all requests is told once, and of the path elsewhere.
                let own = self.said_at(path, said);
                for (key, what) in wrong.into_iter().filter(|(key, _)| *key != "path") {
                    match own(key) {
                        true => self.note(&format!("{path}.{key}"), what),
                        // It is wrong together with what the route says.
                        false if self.mistakes.is_empty() => self.note(path, what),
                        false => {}
                    }
                }
                return None;
            }
        };
        let partition = fitting.and_then(Fitting::partition);
        let policy = Arc::new(policy.partition(partition));
        let obeys_some = trusted_readers && effective.obey_readers.unwrap_or(true);
        let for_strangers =
            obeys_some.then(|| Arc::new(Policy::clone(&policy).obeys_readers(false)));
        let rewrite = match route {
            Some(route) => self.rewrite(path, route)?,
            None => Rewrite::default(),
        };
        let rewrite = (!rewrite.changes_nothing()).then(|| Arc::new(rewrite));
        let words = route.map_or_else(|| OTHERWISE.to_owned(), Route::words);
        let limits = effective.limits(&words);
        let line = self.places.of(path).map(|place| place.without_column().into());
        Some(Way {
            name: RouteName { words: words.into(), line },
            policy,
            for_strangers,
            upstream: upstream?,
            is_cached: effective.is_cached(),
            rewrite,
            protocols: effective.protocols(),
            times: effective.times().map(Arc::new),
            limits,
            // What the memory is, is said elsewhere.
            max_memory: None,
            max_request_body: None,
        })
    }

    /// How much of the memory may be taken by what is stored by `effective` rules, of which `said` stand at `path`.
    pub(super) fn max_memory(
        &mut self,
        path: &str,
        (said, effective): (&Rules, &Rules),
        memory: ByteSize,
    ) -> Option<u64> {
        let bound = effective.max_memory.as_ref()?.0.of(memory);
        if said.max_memory.is_some() && bound > memory {
            let what = format!("all that is stored may take {memory}, and this is more");
            self.note(&format!("{path}.max_memory"), what);
        }
        if said.max_memory.is_some() && bound < LEAST_BOUND {
            let what =
                "with so little next to nothing can be stored: say 64KiB or more, or cache = false";
            self.note(&format!("{path}.max_memory"), what);
        }
        Some(bound.as_u64())
    }

    /// Whether a key is said at `path`, and not only in `[defaults]`.
    fn said_at(&self, path: &str, said: &Rules) -> impl Fn(&str) -> bool + use<> {
        let said = serde_json::to_value(said).unwrap_or_default();
        let is_route = path != "defaults";
        move |key| !said[key].is_null() || (is_route && key == "tags")
    }

    fn of_no_use(&mut self, path: &str, rules: &Rules, effective: &Rules) {
        for (key, said) in [
            ("first_byte_timeout", &rules.first_byte_timeout),
            ("idle_body_timeout", &rules.idle_body_timeout),
            ("whole_timeout", &rules.whole_timeout),
            ("upgrade_idle_timeout", &rules.upgrade_idle_timeout),
        ] {
            self.time(&format!("{path}.{key}"), said.as_ref());
        }
        if rules.upgrades.as_ref().is_some_and(Vec::is_empty)
            && rules.upgrade_idle_timeout.is_some()
        {
            let what = "upgrade_idle_timeout says nothing where upgrades = []: there are none";
            self.note(&format!("{path}.upgrade_idle_timeout"), what);
        }
        // In the defaults they are for routes that say the bound.
        let is_route = path != "defaults";
        if is_route && rules.requests_burst.is_some() && effective.requests_per_address.is_none() {
            let what = "there is no bound until requests_per_address says one";
            self.note(&format!("{path}.requests_burst"), what);
        }
        self.time_or_none(&format!("{path}.fetch_wait"), rules.fetch_wait.as_ref());
        if is_route && rules.fetch_wait.is_some() && effective.max_fetches.is_none() {
            let what = "nobody waits until max_fetches says a bound";
            self.note(&format!("{path}.fetch_wait"), what);
        }
        let why = match rules {
            Rules { cache: Some(false), .. } => "cache = false",
            Rules { stream: Some(true), .. } => "stream = true",
            _ => return,
        };
        if let Some(key) = of_no_use(rules) {
            let what = format!("{key} says nothing where {why}: nothing is stored there");
            self.note(&format!("{path}.{key}"), what);
        }
    }

    /// Tags that are said in fields which nobody gets.
    pub(super) fn doubt_of_tags(
        &mut self,
        (defaults, routes): (&Rules, &[Rules]),
        gateway: &GatewayConfig,
    ) {
        let tells = |rules: &Rules| rules.cdn_tags.as_ref().is_some_and(|tags| !tags.is_empty());
        let has_trusted = gateway.listeners.iter().any(|rules| !rules.trusted_peers.is_empty());
        if has_trusted {
            return;
        }
        let of_route = routes.iter().position(tells).map(|at| format!("route[{}]", at + 1));
        let path = if tells(defaults) { Some("defaults".to_owned()) } else { of_route };
        if let Some(path) = path {
            let what = "nobody is told these tags: say in trusted_peers from where the CDN asks";
            let place = self.places.of(&format!("{path}.cdn_tags")).cloned();
            self.doubts.push(Mistake::new(place, what));
        }
    }

    /// Without a rule a CDN has its tags with two lines of configuration, and so has everybody else.
    pub(super) fn doubt_of_shown_tags(
        &mut self,
        (defaults, routes): (&Rules, &[Rules]),
        cdns: &[CdnConfig],
    ) {
        let knows_tags = |cdn: &CdnConfig| cdn.driver.vendor() != "nginx";
        let mut all = routes.iter().chain([defaults]);
        if cdns.iter().any(knows_tags) && all.all(|rules| rules.cdn_tags.is_none()) {
            let what = "answers tell their tags to every visitor, as services write them: say cdn_tags in [defaults], and \
                        in trusted_peers from where the CDN asks";
            self.doubts.push(Mistake::new(self.places.of("cdn").cloned(), what));
        }
    }

    fn sizes_of_compression(&mut self, path: &str, said: &Rules, effective: &Rules) {
        let built_in = Rules::built_in(effective.policy.unwrap_or_default());
        let least = effective.compress_min.as_ref().or(built_in.compress_min.as_ref());
        let most = effective.compress_max.as_ref().or(built_in.compress_max.as_ref());
        let (Some(least), Some(most)) = (least, most) else { return };
        let key = match (&said.compress_max, &said.compress_min) {
            (Some(_), _) => "compress_max",
            (None, Some(_)) => "compress_min",
            (None, None) => return,
        };
        if least.0 > most.0 {
            let what = "no body is compressed where compress_min is more than compress_max";
            self.note(&format!("{path}.{key}"), what);
        }
    }

    fn rewrite(&mut self, path: &str, route: &Route) -> Option<Rewrite> {
        self.stripped(path, route);
        let mut prefix = |key: &str, said: &Option<String>| {
            let text = said.as_deref().unwrap_or_default();
            let is_prefix = text.starts_with('/') && !text.ends_with('/') && !text.contains("//");
            let is_plain = text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"?#%{}*\\\"<>".contains(&byte));
            let has_dots = text.split('/').any(|part| matches!(part, "." | ".."));
            if said.is_none() || (is_prefix && is_plain && !has_dots) {
                return Some(text.into());
            }
            let what = "a prefix begins with a slash and ends without one, and is written as it is: \"/api\"";
            self.note(&format!("{path}.{key}"), what);
            None
        };
        let strip = prefix("strip_prefix", &route.strip_prefix);
        let add = prefix("add_prefix", &route.add_prefix);
        let host = route.upstream_host.as_deref().map(str::parse::<Authority>).transpose();
        let host = host.ok().filter(|host| host.as_ref().is_none_or(is_one_host));
        if host.is_none() {
            let what = "say the host, with a port if it has one: \"shop.internal\"";
            self.note(&format!("{path}.upstream_host"), what);
        }
        Some(Rewrite { strip: strip?, add: add?, host: host? })
    }

    /// A field below `prefix` that is said twice. In a file its case may differ, and one of the two would be lost.
    fn said_twice(&self, prefix: &str) -> Option<String> {
        let keys = self.places.all().filter_map(|(key, _)| key.strip_prefix(prefix));
        let mut names: Vec<_> = keys.map(str::to_ascii_lowercase).collect();
        names.sort_unstable();
        names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
    }

    /// A prefix that no path of the route begins with is taken off none.
    fn stripped(&mut self, path: &str, route: &Route) {
        let (Some(prefix), Some(pattern)) = (&route.strip_prefix, &route.path) else { return };
        let fixed = pattern.split('*').next().unwrap_or_default();
        let is_whole = fixed.len() == pattern.len();
        let rest = fixed.strip_prefix(prefix.as_str());
        // It ends where a segment does.
        let has_prefix = rest.is_some_and(|rest| rest.starts_with('/') || rest.is_empty());
        // What is fixed of the paths may end in the middle of the prefix.
        let may_have = !is_whole && prefix.starts_with(fixed);
        if !has_prefix && !may_have {
            let what = format!(
                "no path that fits {pattern} begins with {prefix}: there is nothing to take off"
            );
            let path = format!("{path}.strip_prefix");
            self.doubts.push(Mistake::new(self.places.of(&path).cloned(), what));
        }
    }

    /// Fields that the cache never sees tell no answers apart, and those that every key has none more.
    fn fields_of_keys(&mut self, path: &str, said: &Rules) {
        for (index, Field(name)) in said.key_fields.iter().flatten().enumerate() {
            if !may_be_asked_for(name) {
                let what = format!(
                    "{name} tells no answers apart: it is for one hop, claims who asks, or is in every key"
                );
                self.note(&format!("{path}.key_fields[{}]", index + 1), what);
            }
        }
    }

    /// Who is answered from the cache after `soft_timeout` is not, where the request has ended before.
    fn timeouts(&mut self, path: &str, said: &Rules, effective: &Rules) {
        let (Some(soft), Some(hard)) = (&effective.soft_timeout, &effective.hard_timeout) else {
            return;
        };
        let key = match (&said.soft_timeout, &said.hard_timeout) {
            (Some(_), _) => "soft_timeout",
            (None, Some(_)) => "hard_timeout",
            (None, None) => return,
        };
        if soft.0 > hard.0 {
            let what = "soft_timeout is above hard_timeout, which ends a request before";
            self.note(&format!("{path}.{key}"), what);
        }
    }

    pub(super) fn fitting(&mut self, path: &str, route: &Route) -> Option<Fitting> {
        let mut is_fine = true;
        let host = route.host.as_deref().map(HostPattern::parse);
        let host = host.transpose().map_err(|what| {
            is_fine = false;
            self.note(&format!("{path}.host"), what);
        });
        let pattern = route.path.as_deref().map(PathPattern::parse);
        let pattern = pattern.transpose().map_err(|what| {
            is_fine = false;
            self.note(&format!("{path}.path"), what);
        });
        let methods = route.methods.as_ref();
        let methods = methods.map(|verbs| verbs.iter().map(|verb| verb.0.clone()).collect());
        if methods.as_ref().is_some_and(Vec::is_empty) {
            is_fine = false;
            self.note(&format!("{path}.methods"), "no request fits an empty list");
        }
        let regex = route.path_regex.as_deref().map(PathRegex::parse).transpose();
        let regex = regex.map_err(|what| {
            is_fine = false;
            self.note(&format!("{path}.path_regex"), what);
        });
        if route.path.is_some() && route.path_regex.is_some() {
            is_fine = false;
            self.note(&format!("{path}.path_regex"), "say path or path_regex: a path fits one");
        }
        if route.header.is_some()
            && let Some(name) = self.said_twice(&format!("{path}.header."))
        {
            is_fine = false;
            self.note(&format!("{path}.header"), format!("{name} stands there twice"));
        }
        let mut fields = Vec::new();
        for (Field(name), Wanted(condition)) in route.header.iter().flatten() {
            if !may_be_asked_for(name) {
                is_fine = false;
                let what = format!(
                    "{name} is not what a reader says of the request: it is for one hop, or claims who asks"
                );
                self.note(&format!("{path}.header"), what);
            }
            fields.push((name.clone(), condition.clone()));
        }
        let mut parameters = Vec::new();
        for (name, Wanted(condition)) in route.query.iter().flatten() {
            if name.is_empty() {
                is_fine = false;
                self.note(&format!("{path}.query"), "a parameter has a name");
            }
            parameters.push((name.as_str().into(), condition.clone()));
        }
        let (host, path, regex) = (host.ok()?, pattern.ok()?, regex.ok()?);
        let fitting = Fitting { host, path, regex, methods, fields, parameters };
        is_fine.then_some(fitting)
    }
}

/// Whether a route may go by a field: one that is taken out of requests, or believed of some only, is not there for
/// each way that a request may go.
fn may_be_asked_for(name: &HeaderName) -> bool {
    const NOT: [&str; 7] =
        ["cdn-loop", "content-length", "expect", "forwarded", "host", "larder-explain", "via"];
    let fate = forward::fate(name.as_str().as_bytes(), b"", Some(ForwardedFields::XForwarded));
    let is_of_peer = name.as_str().starts_with("x-forwarded")
        || forward::names_the_client(name.as_str().as_bytes());
    fate == LineFate::Stays && !is_of_peer && !NOT.contains(&name.as_str())
}

/// A key that only counts for what is stored.
fn of_no_use(rules: &Rules) -> Option<&'static str> {
    let said = [
        ("ttl", rules.ttl.is_some()),
        ("ttl_override", rules.ttl_override.is_some()),
        ("stale_while_revalidate", rules.stale_while_revalidate.is_some()),
        ("stale_if_error", rules.stale_if_error.is_some()),
        ("set_cookie", rules.set_cookie.is_some()),
        ("path_type", rules.path_type.is_some()),
        ("compress", rules.compress.is_some()),
        ("min_ttl", rules.min_ttl.is_some()),
        ("max_ttl", rules.max_ttl.is_some()),
        ("ttl_by_status", rules.ttl_by_status.is_some()),
        ("ttl_jitter", rules.ttl_jitter.is_some()),
        ("soft_timeout", rules.soft_timeout.is_some()),
        ("key_fields", rules.key_fields.is_some()),
        ("key_cookies", rules.key_cookies.is_some()),
        ("query_allow", rules.query_allow.is_some()),
        ("query_deny", rules.query_deny.is_some()),
        ("query_sort", rules.query_sort.is_some()),
        ("tags", rules.tags.is_some()),
        ("cdn_cache_control", rules.cdn_cache_control.is_some()),
        ("etag", rules.etag.is_some()),
        ("max_body", rules.max_body.is_some()),
        ("max_memory", rules.max_memory.is_some()),
        ("cache", rules.cache == Some(true)),
    ];
    said.into_iter().find_map(|(key, is_said)| is_said.then_some(key))
}
