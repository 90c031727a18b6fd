//! Over Redis: what this process says of itself to those that share its tier, and what they say.

use std::time::Duration;

use larder::{
    Cache,
    redis::{
        Redis,
        instances::{InMemory, Instance},
    },
};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::instances::{Fleet, InstanceView, Told};

/// So often each says what it holds.
const EVERY: Duration = Duration::from_secs(5);
/// The server has so long to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The processes that share a tier on Redis, for [`Admin::fleet`](crate::Admin::fleet).
///
/// What they hold, each says itself: see [`say_what_it_holds`](OverRedis::say_what_it_holds).
#[derive(Debug)]
pub struct OverRedis<V> {
    tier: Redis,
    cache: Cache<V>,
}

impl<V> Clone for OverRedis<V> {
    fn clone(&self) -> Self {
        OverRedis { tier: self.tier.clone(), cache: self.cache.clone() }
    }
}

impl<V: Clone + Send + Sync + 'static> OverRedis<V> {
    /// `cache` lies over `tier`; it is what this process tells the others of.
    pub fn new(tier: Redis, cache: Cache<V>) -> OverRedis<V> {
        OverRedis { tier, cache }
    }

    /// Tells the others every five seconds what this process holds, until the future is dropped: a task of its own is the place
    /// for it. It must be within a tokio runtime with time enabled.
    pub async fn say_what_it_holds(self) {
        let mut turns = interval(EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if let Err(why) = self.tell().await {
                // That the tier is away is told where it is looked after.
                tracing::debug!("nobody was told what this process holds: {why}");
            }
        }
    }

    async fn tell(&self) -> Result<Vec<Instance>, String> {
        let stats = self.cache.stats();
        let holds = InMemory { entries: stats.entries, bytes: stats.bytes };
        match timeout(PATIENCE, self.tier.instances(Some(holds))).await {
            Ok(told) => told.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {}", humantime::format_duration(PATIENCE))),
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Fleet for OverRedis<V> {
    fn instances(&self) -> Told<'_> {
        Box::pin(async move {
            let view = |instance: Instance| InstanceView {
                name: instance.name,
                is_self: instance.is_self,
                alive: instance.is_alive,
                cursor: instance.cursor,
                behind: instance.behind,
                entries: instance.holds.map(|holds| holds.entries),
                bytes: instance.holds.map(|holds| holds.bytes),
                seen_seconds_ago: instance.silent_for.as_secs_f64(),
            };
            Ok(self.tell().await?.into_iter().map(view).collect())
        })
    }
}
