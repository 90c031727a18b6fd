//! Fleet: gateways that share, each with a line of its own to the server.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use larder_test_support::{redis::Redis, relay::Relay};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Wire,
    answer::Answer,
    eventually, free_port,
    larder::{Larder, request},
};

/// For so long they go by what they know.
pub(crate) const TRUST: Duration = Duration::from_secs(1);

/// Where a gateway is, whoever runs there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// A gateway that lasts over its restarts.
pub(crate) struct Gateway {
    /// `None` while it is down.
    pub(crate) larder: Option<Larder>,
    pub(crate) place: Place,
    /// Between it and the server.
    pub(crate) relay: Relay,
    origin: SocketAddr,
    /// Where its configuration and its access log lie.
    folder: TempDir,
}

/// Several of them, and the server.
pub(crate) struct Fleet {
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) server: Redis,
}

impl Fleet {
    /// Three, over a server that keeps nothing on disk. They are ready to share.
    pub(crate) async fn before(origin: SocketAddr) -> Fleet {
        Fleet::over(Redis::start().await, origin).await
    }

    /// Three over this server, ready to share: a purge holds for all of them.
    pub(crate) async fn over(server: Redis, origin: SocketAddr) -> Fleet {
        let mut gateways = Vec::new();
        for _ in 0..3 {
            gateways.push(Gateway::new(&server, origin).await);
        }
        let fleet = Fleet { gateways, server };
        fleet.settles().await;
        fleet
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        self.gateways.iter().map(|gateway| gateway.place).collect()
    }

    pub(crate) fn larders(&self) -> impl Iterator<Item = &Larder> {
        self.gateways.iter().map(Gateway::larder)
    }

    /// Until a purge holds for all of them.
    pub(crate) async fn settles(&self) {
        let all = format!("\"by\":{0},\"of\":{0}", self.gateways.len());
        for gateway in &self.gateways {
            eventually("a purge that holds for all", async || {
                let said = gateway.place.purge(r#"{"tags":["none"],"wait":"shared"}"#).await?;
                (said.state == State::Applied && said.answer.contains(&all)).then_some(())
            })
            .await;
        }
    }

    /// Until what has this tag is purged at all of them, as one of them says.
    pub(crate) async fn holds_for_all(&self, nth: usize, tag: &str) {
        let place = self.gateways[nth % self.gateways.len()].place;
        let purge = format!(r#"{{"tags":["{tag}"],"mode":"hard","wait":"shared"}}"#);
        eventually("a purge that holds for all", async || {
            place.purge(&purge).await?.state.holds().then_some(())
        })
        .await;
    }
}

impl Gateway {
    async fn new(server: &Redis, origin: SocketAddr) -> Gateway {
        let relay = Relay::to(server.address()).await;
        let port = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let place = Place { address: port(), admin: port() };
        let folder = tempfile::tempdir().unwrap();
        let config = "[access_log]\nto = \"access.log\"\n";
        fs::write(folder.path().join("larder.toml"), config).unwrap();
        let mut gateway = Gateway { larder: None, place, relay, origin, folder };
        gateway.start().await;
        gateway
    }

    /// How many bytes of lines it has written for its requests.
    pub(crate) fn logged(&self) -> u64 {
        fs::metadata(self.access_log()).map_or(0, |file| file.len())
    }

    /// Its hits, as it says itself in the lines behind so many bytes: how long each took, and whether it was in memory.
    pub(crate) fn hits_since(&self, bytes: u64) -> Vec<(Duration, bool)> {
        let lines = fs::read_to_string(self.access_log()).unwrap();
        let hits = lines[bytes as usize..].lines().filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let took = line["first_byte_ms"].as_f64().filter(|_| line["cache"] == "hit")?;
            Some((Duration::from_secs_f64(took / 1000.0), line["tier"] == "memory"))
        });
        hits.collect()
    }

    fn access_log(&self) -> PathBuf {
        self.folder.path().join("access.log")
    }

    /// Starts it where it was.
    pub(crate) async fn start(&mut self) {
        let Place { address, admin } = self.place;
        let trust = format!("{}ms", TRUST.as_millis());
        let config = self.folder.path().join("larder.toml");
        let arguments = [
            "serve",
            "--config",
            config.to_str().unwrap(),
            "--upstream",
            &format!("http://{}", self.origin),
            "--listen",
            &address.to_string(),
            "--admin",
            &admin.to_string(),
            "--shared",
            &format!("redis://{}", self.relay.address),
            "--max-incoherence",
            &trust,
        ];
        self.larder = Some(Larder::with_arguments(&arguments).await);
    }

    /// It is gone without a word.
    pub(crate) async fn kill(&mut self) {
        let larder = self.larder.take().expect("a gateway that is up");
        larder.signal(Signal::KILL);
        assert_eq!(larder.exit().await, None);
    }

    pub(crate) fn larder(&self) -> &Larder {
        self.larder.as_ref().expect("a gateway that is up")
    }
}

/// What a receipt says of the tier that is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Applied,
    Lapsed,
    /// It holds nowhere but at the one that was asked, as far as that knows.
    Not,
}

impl State {
    /// Whether nobody serves what is older.
    pub(crate) fn holds(self) -> bool {
        self != State::Not
    }
}

/// A purge that was asked for.
pub(crate) struct Said {
    pub(crate) state: State,
    pub(crate) answer: String,
}

impl Place {
    /// `None`: nobody is there, or nobody any more.
    pub(crate) async fn purge(&self, body: &str) -> Option<Said> {
        let mut wire = Wire::try_connect(self.admin).await.ok()?;
        let length = body.len();
        let head = format!(
            "POST /v1/purge HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        wire.try_send(head + body).await.ok()?;
        let answer = wire.try_answer().await?;
        let said = answer.text().to_owned();
        assert_eq!(answer.status(), 200, "{said}");
        let shared = said.split_once(r#""tier":"shared","state":""#);
        let state = match shared.and_then(|(_, rest)| rest.split_once('"')) {
            Some(("applied", _)) => State::Applied,
            Some(("lapsed", _)) => State::Lapsed,
            _ => State::Not,
        };
        Some(Said { state, answer: said })
    }

    pub(crate) async fn reader(&self) -> Option<Reader> {
        Some(Reader { wire: Wire::try_connect(self.address).await.ok()? })
    }

    /// On a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let mut wire = Wire::connect(self.address).await;
        wire.send(request("GET", path, "")).await;
        wire.answer().await
    }
}

/// Who asks again and again, over one connection.
pub(crate) struct Reader {
    wire: Wire,
}

impl Reader {
    /// `None`: the gateway has gone.
    pub(crate) async fn try_get(&mut self, path: &str) -> Option<Answer> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: larder.test\r\n\r\n");
        self.wire.try_send(head).await.ok()?;
        self.wire.try_answer().await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.try_get(path).await.expect("a gateway that is up")
    }
}
