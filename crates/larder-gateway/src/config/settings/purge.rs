//! The check of who may purge where requests come.

use std::num::NonZeroU32;

use larder::Mode;
use larder_admin::access::Token;

use super::check::{Check, first_line};
use crate::{
    PurgeConfig,
    config::{
        mistake::Mistake,
        parts::{ModeWord, PurgePart},
        value::Count,
    },
    downstream::TrustedPeer,
    gateway::RefreshLimits,
};

const RATE: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// More in a second are no limit.
const MOST_RATE: u32 = 1_000_000;
/// Each that waits is a URL in memory.
const MOST_QUEUED: u32 = 1_000_000;
/// More at once are a crowd.
const MOST_AT_ONCE: u32 = 1024;

impl Check<'_> {
    /// `None`: nobody may.
    pub(super) fn purge(
        &mut self,
        part: &PurgePart,
        of_environment: Option<String>,
    ) -> Option<PurgeConfig> {
        const TOKEN: &str = "purge.token_file";
        let PurgePart { allow, token_file, mode, refresh, rate, .. } = part;
        if allow.as_ref().is_some_and(Vec::is_empty) {
            self.note(
                "purge.allow",
                "an empty list lets nobody purge: leave it out, or name somebody",
            );
        }
        for peer in allow.iter().flatten() {
            match peer.0 {
                TrustedPeer::Unix => {
                    let what =
                        "whoever asks over a Unix socket is a proxy: name the clients behind it";
                    self.note("purge.allow", what);
                }
                TrustedPeer::Network(network) if network.prefix_len() == 0 => {
                    self.note(
                        "purge.allow",
                        format!("{network} is everybody: use token_file for that"),
                    );
                }
                TrustedPeer::Network(_) => {}
            }
        }
        let of_file = token_file.as_ref().and_then(|file| {
            let read = first_line(&self.places.resolve(TOKEN, file));
            read.map_err(|what| self.note(TOKEN, what)).ok()
        });
        let rate = match rate.map(|count| u32::try_from(count.0.get())) {
            None => RATE,
            Some(Ok(rate)) if rate <= MOST_RATE => NonZeroU32::new(rate).unwrap_or(RATE),
            Some(_) => {
                self.note("purge.rate", format!("the most is {MOST_RATE}"));
                RATE
            }
        };
        let token = of_environment.or(of_file);
        self.doubt_of_token(TOKEN, token.as_deref());
        let token = token.as_deref().and_then(Token::new);
        if token.is_none() && allow.is_none() {
            return None;
        }
        let mode = match mode.unwrap_or_default() {
            ModeWord::Soft => Mode::Soft,
            ModeWord::Hard => Mode::Hard,
        };
        let allow = allow.as_ref().map(|allow| allow.iter().map(|peer| peer.0).collect());
        let refreshes = refresh.unwrap_or(false);
        if refreshes && mode == Mode::Hard {
            self.note("purge.refresh", "nothing is left to refresh of what a hard purge names");
        }
        Some(PurgeConfig { allow, token, mode, refreshes, rate })
    }

    /// How what purges mark stale is asked for again.
    pub(super) fn refresh(&mut self, part: &PurgePart) -> RefreshLimits {
        let usual = RefreshLimits::default();
        let queue = self.at_most("purge.refresh_queue", part.refresh_queue, MOST_QUEUED);
        let at_once = self.at_most("purge.refresh_at_once", part.refresh_at_once, MOST_AT_ONCE);
        let rate = self.at_most("purge.refresh_per_second", part.refresh_per_second, MOST_RATE);
        RefreshLimits {
            queue: queue.map_or(usual.queue, |queue| queue.get() as usize),
            at_once: at_once.and_then(|most| most.try_into().ok()).unwrap_or(usual.at_once),
            per_second: rate.unwrap_or(usual.per_second),
        }
    }

    fn at_most(&mut self, path: &str, count: Option<Count>, most: u32) -> Option<NonZeroU32> {
        match u32::try_from(count?.0.get()) {
            Ok(count) if count <= most => NonZeroU32::new(count),
            _ => {
                self.note(path, format!("the most is {most}"));
                None
            }
        }
    }

    /// What is said of purges that nobody may make.
    pub(super) fn doubts_of_purges(
        &self,
        part: &PurgePart,
        purge: Option<&PurgeConfig>,
    ) -> Vec<Mistake> {
        let says_refresh = part.refresh_queue.is_some()
            || part.refresh_at_once.is_some()
            || part.refresh_per_second.is_some();
        let is_empty =
            part.mode.is_none() && part.refresh.is_none() && part.rate.is_none() && !says_refresh;
        let said = [
            ("purge", is_empty && self.places.of("purge").is_some()),
            ("purge.mode", part.mode.is_some()),
            ("purge.refresh", part.refresh.is_some()),
            ("purge.rate", part.rate.is_some()),
        ];
        let said = said.into_iter().filter(|(_, is_said)| *is_said && purge.is_none());
        let doubt = |(path, _)| {
            let what = "nobody may purge where requests come: say allow or token_file as well";
            Mistake::new(self.places.of(path).cloned(), what)
        };
        said.map(doubt).collect()
    }
}
