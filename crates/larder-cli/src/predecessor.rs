//! Predecessor: the process whose place this one takes, as far as the two have to agree.
//!
//! Where it ends before its time this one goes on: it has the sockets.

use std::{io, os::unix::net as unix, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::upgrade::{GO_ON, PREPARED, READY, YOURS};

/// An answer that takes longer will not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The process before this one.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    pub(crate) fn new(talk: unix::UnixStream) -> io::Result<Predecessor> {
        talk.set_nonblocking(true)?;
        UnixStream::from_std(talk).map(Predecessor)
    }

    /// All is here that it takes to serve, but the outbox's file. Ready once the other one has given that up.
    pub(crate) async fn prepared(&mut self) {
        self.say(PREPARED, YOURS).await;
    }

    /// This process serves. Ready once the other one has said so where that counts, and accepts no more.
    pub(crate) async fn ready(mut self) -> UnixStream {
        self.say(READY, GO_ON).await;
        self.0
    }

    async fn say(&mut self, word: u8, answer: u8) {
        let Predecessor(talk) = self;
        let said = async {
            talk.write_all(&[word]).await?;
            talk.read_u8().await
        };
        match timeout(PATIENCE, said).await {
            Ok(Ok(heard)) if heard == answer => {}
            _ => tracing::warn!("the process before this one has gone before its time"),
        }
    }
}
