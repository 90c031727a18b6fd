//! The check of routes, and of the rules that they have.

use std::sync::Arc;

use super::check::Check;
use crate::{
    config::{mistake::Mistake, nearest::nearest, route::Route, rules::Rules},
    routes::{Fitting, HostPattern, PathPattern, Way},
};

impl Check<'_> {
    /// The way of requests by `effective` rules, of which `said` stand at `path`.
    pub(super) fn way(
        &mut self,
        path: &str,
        said: &Rules,
        effective: &Rules,
        upstreams: &[&str],
    ) -> Option<Way> {
        self.times_of_rules(path, said);
        self.sizes_of_compression(path, said, effective);
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
        let policy = Arc::new(effective.policy());
        Some(Way {
            policy,
            upstream: upstream?,
            is_cached: effective.is_cached(),
            protocols: effective.protocols(),
            times: effective.times().map(Arc::new),
        })
    }

    fn times_of_rules(&mut self, path: &str, rules: &Rules) {
        for (key, said) in [
            ("ttl", &rules.ttl),
            ("ttl_override", &rules.ttl_override),
            ("stale_while_revalidate", &rules.stale_while_revalidate),
            ("stale_if_error", &rules.stale_if_error),
            ("stale_if_disconnected", &rules.stale_if_disconnected),
        ] {
            // As long as RFC 9111 has a number for.
            if said.as_ref().is_some_and(|time| time.0.as_secs() > 1 << 31) {
                self.note(&format!("{path}.{key}"), "that is more than 68 years");
            }
        }
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
        let fitting = Fitting { host: host.ok()?, path: pattern.ok()?, methods };
        is_fine.then_some(fitting)
    }
}

/// A key that only counts for what is stored.
fn of_no_use(rules: &Rules) -> Option<&'static str> {
    let said = [
        ("ttl", rules.ttl.is_some()),
        ("ttl_override", rules.ttl_override.is_some()),
        ("stale_while_revalidate", rules.stale_while_revalidate.is_some()),
        ("stale_if_error", rules.stale_if_error.is_some()),
        ("set_cookie", rules.set_cookie.is_some()),
        ("compress", rules.compress.is_some()),
        ("cache", rules.cache == Some(true)),
    ];
    said.into_iter().find_map(|(key, is_said)| is_said.then_some(key))
}
