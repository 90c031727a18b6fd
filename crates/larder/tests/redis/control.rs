//! Control: what the tests of the log have in common.

use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, aio::MultiplexedConnection};
use larder::{
    Mode, Scope,
    lower::{LowerPurge, PurgeId, Reader, Tail},
    redis::Redis,
};
use larder_test_support::redis::Redis as Server;

/// A tier of its own, as another process would have.
pub fn tier(server: &Server) -> Redis {
    tier_for(server, Duration::from_secs(10))
}

/// The same above which nobody goes by what he knows for longer than this.
pub fn tier_for(server: &Server, max_incoherence: Duration) -> Redis {
    Redis::options(&server.url()).max_incoherence(max_incoherence).connect().unwrap()
}

/// Asks the server itself.
pub async fn ask<T: FromRedisValue>(server: &Server, command: &Cmd) -> T {
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut connection: MultiplexedConnection =
        client.get_multiplexed_async_connection().await.unwrap();
    command.query_async(&mut connection).await.unwrap()
}

/// The same, in words.
pub async fn tell<T: FromRedisValue>(server: &Server, words: &[&str]) -> T {
    let mut command = ::redis::cmd(words[0]);
    words[1..].iter().for_each(|word| _ = command.arg(word));
    ask(server, &command).await
}

pub fn id(number: u64) -> PurgeId {
    PurgeId { source: 1, number }
}

/// The hard purge of one tag.
pub fn purge(number: u64) -> LowerPurge {
    let scopes = vec![Scope::Tag(tag(number))];
    LowerPurge { id: id(number), scopes, mode: Mode::Hard }
}

pub fn tag(number: u64) -> String {
    format!("tag {number}")
}

pub fn reader(id: u64) -> Reader {
    Reader { id, name: format!("reader {id}") }
}

/// The ids of the purges that are told one by one.
pub fn told(tail: &Tail) -> Vec<u64> {
    tail.purges.iter().map(|logged| logged.purge.id.number).collect()
}
