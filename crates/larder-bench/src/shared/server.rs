//! Server: a `redis-server` of the bench's own, on a free port and in a temporary folder, gone when dropped.

use anyhow::Context;
use larder_test_support::redis::Redis;
use redis::aio::MultiplexedConnection;

use crate::gateway::server::find_program;

pub(super) struct Server(Redis);

impl Server {
    /// One that keeps nothing on disk.
    pub(super) async fn start() -> anyhow::Result<Server> {
        find_program("redis-server").context("there is no redis-server here")?;
        Ok(Server(Redis::start().await))
    }

    pub(super) fn url(&self) -> String {
        self.0.url()
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port()
    }

    /// One connection, as anybody has who uses the crate `redis` as it is.
    pub(super) async fn connect(&self) -> anyhow::Result<MultiplexedConnection> {
        let client = redis::Client::open(self.url())?;
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    pub(super) async fn version(&self) -> anyhow::Result<String> {
        let mut connection = self.connect().await?;
        let said: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        let version = said.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(format!("redis-server {}", version.unwrap_or("of an unknown version")))
    }
}
