//! Control: what the tests of the log have in common.

use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, aio::MultiplexedConnection};
use larder::{
    Mode, Scope,
    lower::{LowerError, LowerPurge, LowerTier, Position, PurgeId, Reader, Readers, Tail},
    redis::Redis,
};
use larder_test_support::{eventually::eventually, redis::Redis as Server};

/// A tier of its own, as another process would have.
pub(crate) fn tier(server: &Server) -> Redis {
    tier_for(server, Duration::from_secs(10))
}

/// The same above which nobody goes by what he knows for longer than this.
pub(crate) fn tier_for(server: &Server, max_incoherence: Duration) -> Redis {
    Redis::options(&server.url()).max_incoherence(max_incoherence).connect().unwrap()
}

/// Asks the server itself.
pub(crate) async fn ask<T: FromRedisValue>(server: &Server, command: &Cmd) -> T {
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut connection: MultiplexedConnection =
        client.get_multiplexed_async_connection().await.unwrap();
    command.query_async(&mut connection).await.unwrap()
}

/// The same, in words.
pub(crate) async fn tell<T: FromRedisValue>(server: &Server, words: &[&str]) -> T {
    let mut command = ::redis::cmd(words[0]);
    words[1..].iter().for_each(|word| _ = command.arg(word));
    ask(server, &command).await
}

pub(crate) fn id(number: u64) -> PurgeId {
    PurgeId { source: 1, number }
}

/// The hard purge of one tag.
pub(crate) fn purge(number: u64) -> LowerPurge {
    let scopes = vec![Scope::Tag(tag(number))];
    LowerPurge { id: id(number), scopes, mode: Mode::Hard }
}

pub(crate) fn tag(number: u64) -> String {
    format!("tag {number}")
}

pub(crate) fn reader(id: u64) -> Reader {
    Reader { id, name: format!("reader {id}") }
}

/// The ids of the purges that are told one by one.
pub(crate) fn told(tail: &Tail) -> Vec<u64> {
    tail.purges.iter().map(|logged| logged.purge.id.number).collect()
}

/// What a cache does with a tier: it reads the log, and says how far it has.
pub(crate) struct Instance {
    pub(crate) tier: Redis,
    pub(crate) reader: Reader,
    pub(crate) read: Option<Position>,
    /// The ids of all purges that it was told one by one, in that order.
    pub(crate) told: Vec<u64>,
    /// How often it was told that there were others.
    pub(crate) gaps: usize,
}

impl Instance {
    pub(crate) fn new(tier: Redis, number: u64) -> Self {
        Instance { tier, reader: reader(number), read: None, told: Vec::new(), gaps: 0 }
    }

    /// Reads the log once, and says so.
    pub(crate) async fn try_to_keep_up(&mut self) -> Result<Position, LowerError> {
        self.tier.renew(&self.reader, self.read).await?;
        let tail = self.tier.tail(self.read).await?;
        let known = self.read.filter(|read| read.generation == tail.position.generation);
        let is_gap = self.read.is_some_and(|read| {
            known.is_none() || tail.whole_since > read.number || !tail.folded.is_empty()
        });
        self.gaps += usize::from(is_gap);
        let news = |number| known.is_none_or(|known| number > known.number);
        let news = tail.purges.iter().filter(|logged| news(logged.number));
        self.told.extend(news.map(|logged| logged.purge.id.number));
        assert!(
            known.is_none_or(|known| known.number <= tail.position.number),
            "{known:?} {tail:?}"
        );
        self.read = Some(tail.position);
        self.tier.renew(&self.reader, self.read).await
    }
}

/// Until all have read the log to its end, and have said so.
pub(crate) async fn all_keep_up(instances: &mut [&mut Instance]) -> Position {
    eventually("all to have read the log", async || {
        let mut ends = Vec::new();
        for instance in instances.iter_mut() {
            ends.push(instance.try_to_keep_up().await.ok());
        }
        let end = ends[0]?;
        let have_read = |instance: &&mut Instance| instance.read == Some(end);
        (ends.iter().all(|it| *it == Some(end)) && instances.iter().all(have_read)).then_some(end)
    })
    .await
}

/// The numbers of all entries of the log.
pub(crate) async fn numbers(server: &Server) -> Vec<u64> {
    let entries: ::redis::Value = tell(server, &["XRANGE", "{larder:larder}:log", "-", "+"]).await;
    let entries: Vec<(String, ::redis::Value)> = FromRedisValue::from_redis_value(entries).unwrap();
    entries.iter().map(|(id, _)| id.split_once('-').unwrap().0.parse().unwrap()).collect()
}

/// What a tier answers once its connections are open again.
pub(crate) async fn answer<T>(
    ask: impl AsyncFn() -> Result<T, LowerError>,
) -> Result<T, LowerError> {
    let look = async || Some(ask().await).filter(|it| !matches!(it, Err(LowerError::Failed(_))));
    eventually("an answer", look).await
}
