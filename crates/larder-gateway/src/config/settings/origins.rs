//! The check of a service's addresses, and of what becomes of those that fail.

use std::{collections::HashMap, fs, time::Duration};

use http::{HeaderValue, StatusCode, uri::PathAndQuery};

use super::check::Check;
use crate::{
    config::{
        mistake::Mistake,
        parts::{BreakerPart, HealthPart, RetryPart, UpstreamPart},
        value::{Count, Service},
    },
    origins::{
        Address, BreakerConfig, HealthConfig, MAX_ADDRESSES, MAX_PAGE_BYTES, OriginsConfig, Page,
        RetryConfig, RetryOn,
    },
    upstream::Origin,
};

/// More is no comparison.
const HEAVIEST: usize = 1000;

impl Check<'_> {
    /// The addresses, in their order, each with where it stands. None where any is wrong.
    pub(super) fn addresses(
        &mut self,
        name: &str,
        part: &UpstreamPart,
    ) -> Option<Vec<(Address, String)>> {
        let path = |key: &str| format!("upstream.{name}.{key}");
        let said = [
            ("url", part.url.is_some()),
            ("urls", part.urls.is_some()),
            ("server", part.server.is_some()),
        ];
        let said: Vec<_> = said.into_iter().filter(|(_, is_said)| *is_said).collect();
        match said.as_slice() {
            [] => {
                let what = format!("[upstream.{name}] has no url: where does it answer?");
                self.note(&path("url"), what);
                return None;
            }
            [_] => {}
            [(first, _), (second, _), ..] => {
                let what = format!(
                    "[upstream.{name}] says with {first} where it answers, and with {second}: one of them is enough"
                );
                self.note(&path(second), what);
                return None;
            }
        }
        let mut addresses = Vec::new();
        let mut places = Vec::new();
        if let Some(Service(origin)) = &part.url {
            addresses.push(Address::new(origin.clone()));
            places.push(path("url"));
        }
        for (index, Service(origin)) in part.urls.iter().flatten().enumerate() {
            addresses.push(Address::new(origin.clone()));
            places.push(path(&format!("urls[{}]", index + 1)));
        }
        for (index, server) in part.server.iter().flatten().enumerate() {
            let place = path(&format!("server[{}]", index + 1));
            let Some(Service(origin)) = &server.url else {
                let what =
                    format!("this address of [upstream.{name}] has no url: where does it answer?");
                self.note(&format!("{place}.url"), what);
                return None;
            };
            let weight = server.weight.map_or(1, |weight| weight.0.get());
            if weight > HEAVIEST {
                self.note(&format!("{place}.weight"), format!("the most is {HEAVIEST}"));
            }
            addresses.push(Address {
                origin: origin.clone(),
                weight: u32::try_from(weight.min(HEAVIEST)).unwrap_or(1),
                is_backup: server.backup.unwrap_or(false),
                max_connections: server.max_connections.map(|count| count.0.get()),
            });
            places.push(format!("{place}.url"));
        }
        let (list, _) = said[0];
        self.whole_pool(&path(list), &addresses, &places)?;
        Some(addresses.into_iter().zip(places).collect())
    }

    /// `list` is the key that they stand at.
    fn whole_pool(&mut self, list: &str, addresses: &[Address], places: &[String]) -> Option<()> {
        let before = self.mistakes.len();
        if addresses.is_empty() {
            self.note(list, "an empty list: where does it answer?");
        } else if addresses.len() > MAX_ADDRESSES {
            self.note(list, format!("at most {MAX_ADDRESSES} addresses"));
        } else if addresses.iter().all(|address| address.is_backup) {
            let what =
                "all addresses are backups: for which one? Leave backup = true out at one at least";
            self.note(list, what);
        }
        let mut seen: HashMap<&Origin, &str> = HashMap::new();
        for (address, place) in addresses.iter().zip(places) {
            if let Some(first) = seen.insert(&address.origin, place) {
                let at =
                    self.places.of(first).map(|place| format!(" ({place})")).unwrap_or_default();
                let what = format!(
                    "{} stands there twice{at}: an address that is to get more requests gets a weight",
                    address.origin
                );
                self.note(place, what);
            }
        }
        (self.mistakes.len() == before).then_some(())
    }

    /// What becomes of failures.
    pub(super) fn origins(
        &mut self,
        name: &str,
        part: &UpstreamPart,
        count: usize,
    ) -> OriginsConfig {
        let path = |key: &str| format!("upstream.{name}.{key}");
        let usual = OriginsConfig::default();
        let slow_start = part.slow_start.as_ref().map(|time| time.0);
        if slow_start.is_some_and(|time| time > Duration::from_secs(86_400)) {
            self.note(&path("slow_start"), "that is more than a day");
        }
        if count == 1 {
            self.of_no_use_to_one(name, part);
        }
        OriginsConfig {
            balance: part.balance.map_or(usual.balance, Into::into),
            breaker: self.breaker(&path("breaker"), &part.breaker),
            retry: self.retry(&path("retry"), &part.retry),
            slow_start: slow_start.unwrap_or(usual.slow_start),
            health: self.health(&path("health"), &part.health),
            page: part.maintenance_page.as_ref().and_then(|file| {
                let path = path("maintenance_page");
                let file = self.places.resolve(&path, file);
                let read = page(&file);
                read.map_err(|what| self.note(&path, what)).ok()
            }),
        }
    }

    /// There is nothing to choose, and no other address to send anything to.
    fn of_no_use_to_one(&mut self, name: &str, part: &UpstreamPart) {
        for (key, is_said) in [
            ("balance", part.balance.is_some()),
            ("slow_start", part.slow_start.is_some()),
            ("retry.on", part.retry.on.is_some()),
        ] {
            let path = format!("upstream.{name}.{key}");
            if is_said && self.places.of(&path).is_some() {
                let what = format!("{key} changes nothing: [upstream.{name}] has one address");
                self.doubts.push(Mistake::new(self.places.of(&path).cloned(), what));
            }
        }
    }

    fn breaker(&mut self, path: &str, part: &BreakerPart) -> BreakerConfig {
        let usual = BreakerConfig::default();
        let back_off = self.time(&format!("{path}.back_off"), part.back_off.as_ref());
        let most = self.time(&format!("{path}.max_back_off"), part.max_back_off.as_ref());
        let config = BreakerConfig {
            failures: number(part.failures, usual.failures),
            back_off: back_off.unwrap_or(usual.back_off),
            max_back_off: most.unwrap_or(usual.max_back_off.max(back_off.unwrap_or_default())),
        };
        if config.back_off > config.max_back_off {
            let shown = humantime::format_duration;
            let what = format!(
                "max_back_off ({}) is below back_off ({})",
                shown(config.max_back_off),
                shown(config.back_off)
            );
            self.note(&format!("{path}.max_back_off"), what);
        }
        config
    }

    fn retry(&mut self, path: &str, part: &RetryPart) -> RetryConfig {
        let usual = RetryConfig::default();
        if part.percent.is_some_and(|percent| percent > 100) {
            self.note(&format!("{path}.percent"), "of a hundred requests at most 100");
        }
        let on = part
            .on
            .as_ref()
            .map(|words| words.iter().fold(RetryOn::default(), |on, word| on.with((*word).into())));
        RetryConfig {
            on: on.unwrap_or(usual.on),
            attempts: number(part.attempts, usual.attempts),
            percent: part.percent.unwrap_or(usual.percent).min(100),
            per_second: part.per_second.unwrap_or(usual.per_second),
        }
    }

    fn health(&mut self, path: &str, part: &HealthPart) -> Option<HealthConfig> {
        let at = |key: &str| format!("{path}.{key}");
        let every = self.time(&at("every"), part.every.as_ref());
        let timeout = self.time(&at("timeout"), part.timeout.as_ref());
        let Some(text) = &part.path else {
            if let Some(place) = self.places.of(path) {
                let what = "nothing is asked without a path: path = \"/health\"";
                self.doubts.push(Mistake::new(Some(place.clone()), what));
            }
            return None;
        };
        let asked = text.parse::<PathAndQuery>().ok().filter(|_| text.starts_with('/'));
        if asked.is_none() {
            self.note(&at("path"), format!("{text:?} is not a path: it begins with a slash"));
        }
        let host = part.host.as_ref().map(|host| host.parse::<http::uri::Authority>());
        let host = host.and_then(|host| match host {
            Ok(host) => HeaderValue::from_str(host.as_str()).ok(),
            Err(_) => {
                self.note(&at("host"), "say the name of a host: \"blog.example\"");
                None
            }
        });
        let mut expect = Vec::new();
        for (index, status) in part.expect.iter().flatten().enumerate() {
            match StatusCode::from_u16(*status)
                .ok()
                .filter(|status| (200..600).contains(&status.as_u16()))
            {
                Some(status) => expect.push(status),
                None => {
                    let what = format!("{status} is no status of an answer: from 200 to 599");
                    self.note(&at(&format!("expect[{}]", index + 1)), what);
                }
            }
        }
        if part.expect.as_ref().is_some_and(Vec::is_empty) {
            self.note(&at("expect"), "no answer is good with an empty list");
        }
        let usual = HealthConfig::new(asked?);
        Some(HealthConfig {
            host,
            every: every.unwrap_or(usual.every),
            timeout: timeout.unwrap_or(usual.timeout),
            expect,
            healthy_after: number(part.healthy_after, usual.healthy_after),
            unhealthy_after: number(part.unhealthy_after, usual.unhealthy_after),
            path: usual.path,
        })
    }
}

fn number(said: Option<Count>, usual: u32) -> u32 {
    said.map_or(usual, |count| u32::try_from(count.0.get()).unwrap_or(u32::MAX))
}

fn page(file: &std::path::Path) -> Result<Page, String> {
    let shown = file.display();
    let unreadable = |error| format!("cannot read {shown}: {error}");
    let found = fs::metadata(file).map_err(unreadable)?;
    if !found.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if found.len() > MAX_PAGE_BYTES {
        return Err(format!("{shown} is too long for a page that lies in memory: at most 1MiB"));
    }
    Ok(Page::new(file, fs::read(file).map_err(unreadable)?))
}
