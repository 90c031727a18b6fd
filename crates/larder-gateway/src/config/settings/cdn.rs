//! The checks of CDNs, and of what they have still to be told.

use std::{
    cell::RefCell,
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use http::Uri;

use super::check::Check;
use crate::{
    cdn::{
        CdnConfig, MOST_CDNS, OutboxConfig, Public,
        driver::{Bounds, Driver},
        drivers::{OfProcess, Secret, Secrets, Wrong},
    },
    config::{
        mistake::Mistake,
        parts::{CdnPart, OutboxPart, SchemeWord},
        value::Time,
    },
    upstream::{OriginTls, OriginTlsOptions},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(300);
const LONGEST_PROPAGATION: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// Letters of a name.
const LONGEST_NAME: usize = 64;

const NAME: &str = "a name is up to 64 letters, digits, -, _ and .";

fn is_name_of(name: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(is_name)
}

/// Whether a URL leads to this address of this machine, as far as can be told without asking for names.
fn is_at(url: &str, address: SocketAddr) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    let host = url.host().unwrap_or_default();
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let is_here = match ip {
        Some(ip) => ip == address.ip() || (ip.is_loopback() && address.ip().is_unspecified()),
        None => {
            host == "localhost" && (address.ip().is_loopback() || address.ip().is_unspecified())
        }
    };
    port == address.port() && is_here
}

/// A driver, or what is wrong with its table.
type Made = Result<Arc<dyn Driver>, Wrong>;

/// Secrets in files that count from the folder of the configuration.
struct Beside<'a, 'c> {
    check: &'a Check<'c>,
    /// Of the vendor's table.
    path: String,
    /// Those that were asked for.
    read: &'a RefCell<Vec<Secret>>,
}

impl Secrets for Beside<'_, '_> {
    fn read(
        &self,
        key: &'static str,
        file: Option<&Path>,
        variable: Option<&str>,
    ) -> Result<Secret, Wrong> {
        let path = format!("{}.{key}_file", self.path);
        let file = file.map(|file| self.check.places.resolve(&path, file));
        let secret = OfProcess.read(key, file.as_deref(), variable)?;
        self.read.borrow_mut().push(secret.clone());
        Ok(secret)
    }
}

impl Check<'_> {
    /// `admin`: where its own admin API is.
    pub(super) fn cdns(&mut self, parts: &[CdnPart], admin: Option<SocketAddr>) -> Vec<CdnConfig> {
        if parts.len() > MOST_CDNS {
            self.note("cdn", format!("the most are {MOST_CDNS}"));
            return Vec::new();
        }
        let mut names = HashSet::new();
        let cdns = parts.iter().enumerate().filter_map(|(nth, part)| {
            let path = format!("cdn[{}]", nth + 1);
            let api = part.larder.as_ref().map(|larder| larder.api.as_str());
            if admin.is_some_and(|admin| api.is_some_and(|api| is_at(api, admin))) {
                self.note(
                    &format!("{path}.larder.api"),
                    "this is its own admin API: it would tell itself of each purge without end",
                );
            }
            let cdn = self.cdn(&path, part)?;
            if !names.insert(Arc::clone(&cdn.name)) {
                let what =
                    format!("there are two CDNs of the name {:?}: give each its own", cdn.name);
                self.note(&format!("{path}.name"), what);
            }
            Some(cdn)
        });
        cdns.collect()
    }

    fn cdn(&mut self, path: &str, part: &CdnPart) -> Option<CdnConfig> {
        let (driver, secrets) = self.driver(path, part)?;
        let name = part.name.as_deref().unwrap_or(driver.vendor());
        if !is_name_of(name) {
            self.note(&format!("{path}.name"), NAME);
        }
        let own = driver.bounds();
        let per_call = part.max_per_call.map_or(own.most_in_a_call, |count| count.0.get());
        if per_call > own.most_in_a_call {
            let what =
                format!("{} takes {} in a call at most", driver.vendor(), own.most_in_a_call);
            self.note(&format!("{path}.max_per_call"), what);
        }
        let most_bytes = part.max_bytes_per_call.as_ref().map_or(own.most_bytes, |bytes| {
            usize::try_from(bytes.0.as_u64()).unwrap_or(usize::MAX)
        });
        if most_bytes > own.most_bytes || most_bytes == 0 {
            let what = format!("{} takes 1 to {} bytes in a call", driver.vendor(), own.most_bytes);
            self.note(&format!("{path}.max_bytes_per_call"), what);
        }
        if part.account.as_ref().is_some_and(|account| !is_name_of(account)) {
            self.note(&format!("{path}.account"), NAME);
        }
        let bounds = Bounds {
            most_in_a_call: per_call,
            most_bytes,
            calls_a_second: part
                .calls_per_minute
                .map_or(own.calls_a_second, |count| count.0.get() as f64 / 60.0),
            burst: part
                .burst
                .map_or(own.burst, |count| u32::try_from(count.0.get()).unwrap_or(u32::MAX)),
            propagation: self.cdn_time(
                &format!("{path}.propagation"),
                part.propagation.as_ref(),
                (Duration::ZERO, LONGEST_PROPAGATION),
                own.propagation,
            ),
        };
        let timeout = self.cdn_time(
            &format!("{path}.call_timeout"),
            part.call_timeout.as_ref(),
            (Duration::from_millis(100), LONGEST_TIMEOUT),
            TIMEOUT,
        );
        let hosts = part.hosts.iter().flatten().map(|host| host.0.to_string()).collect();
        let scheme = part.scheme.map(|scheme| match scheme {
            SchemeWord::Http => "http".to_owned(),
            SchemeWord::Https => "https".to_owned(),
        });
        let of_ca = format!("{path}.ca_file");
        let ca_file = part.ca_file.as_ref().map(|file| self.places.resolve(&of_ca, file));
        let tls = OriginTls::new(&OriginTlsOptions { ca_file, ..OriginTlsOptions::default() });
        let tls = tls.map_err(|error| self.note(&of_ca, error.to_string())).ok();
        let (name, public) = (name.into(), Public { hosts, scheme });
        let account = part.account.as_deref().map(Arc::from);
        Some(CdnConfig { name, driver, secrets, public, bounds, account, timeout, tls })
    }

    fn driver(&mut self, path: &str, part: &CdnPart) -> Option<(Arc<dyn Driver>, Vec<Secret>)> {
        let read = RefCell::default();
        let mut drivers: Vec<(&str, Made)> = Vec::new();
        macro_rules! each {
            ($($vendor:ident),*) => {$(
                if let Some(config) = &part.$vendor {
                    let vendor = stringify!($vendor);
                    let secrets = Beside { check: self, path: format!("{path}.{vendor}"), read: &read };
                    let driver = config.driver(&secrets);
                    drivers.push((vendor, driver.map(|driver| Arc::new(driver) as Arc<dyn Driver>)));
                }
            )*};
        }
        each!(
            larder, varnish, nginx, fastly, cloudflare, cloudfront, akamai, bunny, google, template
        );
        if drivers.len() > 1 {
            let names: Vec<_> = drivers.iter().map(|(vendor, _)| *vendor).collect();
            let what = format!("this is {} at once: write a [[cdn]] for each", names.join(" and "));
            self.note(path, what);
            return None;
        }
        let Some((vendor, driver)) = drivers.pop() else {
            self.note(path, "say whose CDN this is, in a table below it: [cdn.varnish], say");
            return None;
        };
        let told = |Wrong { key, what }: Wrong| {
            let at = format!("{path}.{vendor}.{key}");
            // Of a secret it is the file that is known here.
            let at = match self.places.of(&at) {
                Some(_) => at,
                None => format!("{path}.{vendor}"),
            };
            self.note(&at, format!("{vendor}.{key}: {what}"));
        };
        Some((driver.map_err(told).ok()?, read.into_inner()))
    }

    pub(super) fn outbox(
        &mut self,
        part: &OutboxPart,
        has_cdns: bool,
        is_shared: bool,
    ) -> OutboxConfig {
        let OutboxPart { journal, old_answers, settle, give_up } = part;
        let usual = OutboxConfig::default();
        let time = |check: &mut Self, key: &str, time: &Option<Time>, bounds, usual| {
            check.cdn_time(&format!("outbox.{key}"), time.as_ref(), bounds, usual)
        };
        let old_answers = time(
            self,
            "old_answers",
            old_answers,
            (Duration::ZERO, Duration::from_secs(600)),
            usual.old_answers,
        );
        let minute = Duration::from_secs(60);
        let settle = time(self, "settle", settle, (Duration::ZERO, minute), usual.settle);
        let give_up = time(self, "give_up", give_up, (minute, DAY * 30), usual.give_up);
        let file = journal.as_ref().map(|file| self.places.resolve("outbox.journal", file));
        if has_cdns && file.is_none() {
            let what = match is_shared {
                false => {
                    "there is no journal in [outbox]: purges that a CDN does not have yet are lost with the process."
                }
                true => {
                    "there is no journal in [outbox]: purges that a CDN does not have yet are lost with the process while the shared tier is away."
                }
            };
            self.doubts.push(Mistake::new(self.places.of("cdn").cloned(), what));
        }
        if !has_cdns && file.is_some() {
            let what = "there is no [[cdn]]: nothing is written to this file";
            self.doubts.push(Mistake::new(self.places.of("outbox.journal").cloned(), what));
        }
        OutboxConfig { file, old_answers, settle, give_up, tells_tags: false }
    }

    fn cdn_time(
        &mut self,
        path: &str,
        time: Option<&Time>,
        (least, most): (Duration, Duration),
        usual: Duration,
    ) -> Duration {
        let Some(time) = time else { return usual };
        if !(least..=most).contains(&time.0) {
            let (least, most) =
                (humantime::format_duration(least), humantime::format_duration(most));
            self.note(path, format!("it is from {least} to {most}"));
        }
        time.0
    }
}
