//! nginx with ngx_cache_purge: a URL a call, by the method `PURGE` or at a location of its own.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    credential::{Secrets, Wrong},
    exchange::{Api, With, call, failed},
    naming,
};
use crate::cdn::driver::{Answer, Bounds, Call, Driver, Said, What, Wish};

/// An nginx that takes purges.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it is, with http or https and without a path
    pub api: String,
    /// The location that purges what its path goes on with, asked with GET. Default none: the method PURGE
    pub location: Option<String>,
    /// Whether the module takes a star at the end of a URL (nginx-modules/ngx_cache_purge from 2.4 on; Debian's does not):
    /// then prefixes, hosts and everything can be purged. Default false
    #[serde(default)]
    pub wildcards: bool,
    /// What it answers where there was nothing to purge: 412, or 404 before version 2.5 of the module. Default 412
    pub absent_status: Option<u16>,
}

/// Purges at nginx.
#[derive(Debug)]
pub struct Nginx {
    api: Api,
    location: Box<str>,
    wildcards: bool,
    absent: StatusCode,
}

impl Config {
    /// The driver of it.
    ///
    /// # Errors
    ///
    /// A key is wrong.
    pub fn driver(&self, _secrets: &dyn Secrets) -> Result<Nginx, Wrong> {
        let location = self.location.as_deref().unwrap_or_default().trim_end_matches('/');
        let is_path = location.is_empty() || location.starts_with('/');
        let is_plain = location
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.'));
        if !(is_path && is_plain) {
            return Err(Wrong::new("location", "say the beginning of its path: \"/purge\""));
        }
        let absent = match self.absent_status {
            None | Some(412) => StatusCode::PRECONDITION_FAILED,
            Some(404) => StatusCode::NOT_FOUND,
            Some(_) => return Err(Wrong::new("absent_status", "it is 412 or 404")),
        };
        let api = Api::of(Some(&self.api), "")?;
        Ok(Nginx { api, location: location.into(), wildcards: self.wildcards, absent })
    }
}

/// For which host and path it is asked.
fn target(wish: &Wish) -> Option<(String, String)> {
    match &wish.what {
        What::Url(url) => naming::parts(url).map(|(host, path)| (host.to_owned(), path.to_owned())),
        What::Prefix(text) => {
            naming::prefix(text).map(|(host, path)| (host.to_owned(), format!("{path}*")))
        }
        What::Host(host) => Some((host.clone(), "/*".to_owned())),
        What::Tag(_) | What::Everything => None,
    }
}

impl Driver for Nginx {
    fn vendor(&self) -> &'static str {
        "nginx"
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            most_in_a_call: 1,
            most_bytes: naming::LONGEST_URL,
            calls_a_second: 100.0,
            burst: 100,
            propagation: Duration::ZERO,
        }
    }

    fn widen(&self, wish: &Wish) -> Result<Wish, String> {
        let is_right = match &wish.what {
            What::Tag(_) => return Err("nginx knows no tags: purge by URL".to_owned()),
            What::Url(url) => naming::whole(url).is_some(),
            What::Prefix(text) => self.wildcards && naming::prefix(text).is_some(),
            What::Host(host) => self.wildcards && naming::is_host(host),
            What::Everything => false,
        };
        match is_right {
            true => Ok(naming::hard(wish)),
            false if self.wildcards => {
                Err("nginx is asked for each host: everything cannot be purged".to_owned())
            }
            false => Err("this module of nginx purges one URL at a time".to_owned()),
        }
    }

    fn are_same(&self, one: &What, other: &What) -> bool {
        naming::are_same_but_for_schemes(one, other)
    }

    fn calls(&self, wishes: &[Wish], _id: &str, _now: SystemTime) -> Vec<Call> {
        let asked = |(place, wish): (usize, &Wish)| {
            let (host, path) = target(&self.widen(wish).ok()?)?;
            let method = match self.location.is_empty() {
                true => Method::from_bytes(b"PURGE").expect("a token"),
                false => Method::GET,
            };
            let url = format!("{}{}{path}", self.api.as_str(), self.location);
            let host = HeaderValue::from_str(&host).ok()?;
            Some(call(method, &url, "", vec![place]).with(header::HOST, host))
        };
        wishes.iter().enumerate().filter_map(asked).collect()
    }

    fn said(&self, _call: &Call, answer: &Answer, now: SystemTime) -> Said {
        match answer.head.status {
            StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {
                Said::Done { id: None }
            }
            absent if absent == self.absent => Said::Done { id: None },
            _ => failed(answer, now),
        }
    }

    /// It has none that changes nothing.
    fn probes(&self, _now: SystemTime) -> Vec<Call> {
        Vec::new()
    }
}
