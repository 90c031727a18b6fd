//! Slow: readers who ask for a large answer and hardly read it, as long as this is held.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::JoinSet,
};

use super::{client::request, limit::Baked};

pub(crate) const PATH: &str = "/fixed/1048576/slow";
pub(crate) const ANSWER: Baked = Baked { status: 200, body_bytes: 1 << 20 };

pub(crate) struct SlowClients {
    readers: JoinSet<()>,
}

impl SlowClients {
    /// Returns once all have asked; the server is still busy with filling their sockets.
    pub(crate) async fn hang_on(address: SocketAddr, count: usize) -> anyhow::Result<SlowClients> {
        let mut readers = JoinSet::new();
        for _ in 0..count {
            let socket = TcpSocket::new_v4()?;
            // What the kernel takes in for a reader is read as far as the server can tell.
            socket.set_recv_buffer_size(4096)?;
            let mut stream = socket.connect(address).await?;
            stream.write_all(request(PATH, &[]).as_bytes()).await?;
            readers.spawn(async move {
                let mut part = [0; 1024];
                while stream.read(&mut part).await.is_ok_and(|count| count > 0) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            });
        }
        Ok(SlowClients { readers })
    }

    /// How many were cut off.
    pub(crate) fn gone(&mut self) -> usize {
        std::iter::from_fn(|| self.readers.try_join_next()).count()
    }
}
