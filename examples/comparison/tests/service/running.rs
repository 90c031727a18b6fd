//! Running: one of the services as a process of its own, before an origin that follows a script.

use std::{net::SocketAddr, process::Command, time::Duration};

use larder_test_support::{eventually::eventually, process::Process, wire::Wire};

use crate::origin::Origin;

/// The post that most tests are about.
pub(crate) const POST: u64 = 1;

/// Which service, and what its program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
    pub(crate) source: &'static str,
}

pub(crate) const LARDER: Service = Service {
    name: "larder",
    program: env!("CARGO_BIN_EXE_with_larder"),
    source: include_str!("../../src/bin/with_larder.rs"),
};
pub(crate) const MOKA: Service = Service {
    name: "moka",
    program: env!("CARGO_BIN_EXE_with_moka"),
    source: include_str!("../../src/bin/with_moka.rs"),
};
pub(crate) const CACHED: Service = Service {
    name: "cached",
    program: env!("CARGO_BIN_EXE_with_cached"),
    source: include_str!("../../src/bin/with_cached.rs"),
};
pub(crate) const SERVICES: [Service; 3] = [LARDER, MOKA, CACHED];

pub(crate) struct Running {
    pub(crate) origin: Origin,
    address: SocketAddr,
    _process: Process,
}

impl Running {
    /// `second` is how long a second of the service lasts.
    pub(crate) async fn start(service: Service, second: Duration) -> Running {
        let origin = Origin::start().await;
        let mut command = Command::new(service.program);
        command.env("ORIGIN", origin.url()).env("SECOND_MS", second.as_millis().to_string());
        let mut process = Process::read(&mut command);
        let address = process.until("its address", |process| {
            let said = process.out.text();
            said.lines().next()?.strip_prefix("http://")?.parse().ok()
        });
        let address = address.await;
        Running { origin, address, _process: process }
    }

    /// What a reader gets who waits for it.
    pub(crate) async fn read(&self, id: u64) -> Read {
        self.ask(id).await.answer().await
    }

    /// A reader whose request is on its way when this returns.
    pub(crate) async fn ask(&self, id: u64) -> Reader {
        self.request("GET", &format!("/posts/{id}")).await
    }

    pub(crate) async fn purge(&self, id: u64) {
        let purged = self.request("DELETE", &format!("/posts/{id}")).await.answer().await;
        assert_eq!(purged.status, 204);
    }

    /// Until the service has seen what was sent to it before, and which connections were closed: such news come
    /// to it in one queue, which it has worked on so often meanwhile.
    pub(crate) async fn catch_up(&self) {
        for _ in 0..100 {
            assert_eq!(self.request("GET", "/nothing").await.answer().await.status, 404);
        }
    }

    /// Until the posts service has been asked so often for a post.
    pub(crate) async fn until_asked(&self, id: u64, times: usize) {
        eventually("the posts service to be asked", async || {
            (self.origin.asked(id) >= times).then_some(())
        })
        .await;
    }

    async fn request(&self, method: &str, path: &str) -> Reader {
        let mut wire = Wire::connect(self.address).await;
        wire.send(format!("{method} {path} HTTP/1.1\r\nHost: posts\r\n\r\n")).await;
        Reader(wire)
    }
}

/// A reader who waits. Dropping it is to leave.
pub(crate) struct Reader(Wire);

impl Reader {
    pub(crate) async fn answer(mut self) -> Read {
        let answer = self.0.answer().await;
        Read { status: answer.status(), text: answer.into_text().1 }
    }

    /// What it gets, unless it waits for longer.
    pub(crate) async fn answer_within(self, limit: Duration) -> Option<Read> {
        tokio::time::timeout(limit, self.answer()).await.ok()
    }
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Read {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.status == 200 && self.text == text
    }
}
