//! Instances: what this gateway says of itself to those that share its tier, and what they say.

use std::time::Duration;

use larder::{
    Cache,
    http::Variants,
    redis::{
        Redis,
        instances::{InMemory, Instance},
    },
};
use larder_admin::instances::{Fleet, InstanceView, Told};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// So often each says what it holds.
const EVERY: Duration = Duration::from_secs(5);
/// The server has so long to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The instances over a tier.
pub(crate) struct OverRedis {
    tier: Redis,
    cache: Cache<Variants>,
}

impl OverRedis {
    /// `cache`: what is told of this one.
    pub(crate) fn new(tier: Redis, cache: Cache<Variants>) -> OverRedis {
        OverRedis { tier, cache }
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

/// Says every five seconds what this process holds, until it is dropped.
pub(crate) async fn tell(over: OverRedis) {
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        if let Err(why) = over.tell().await {
            // That the tier is away is told where it is looked after.
            tracing::debug!("nobody was told what this gateway holds: {why}");
        }
    }
}

impl Fleet for OverRedis {
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
