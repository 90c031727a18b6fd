//! Site: an origin whose pages change, a gateway before it, and a file that says which CDNs there are.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Wire,
    larder::Larder,
    origin::{Origin, ok},
};

/// So many pages there are: `/p0` and so on, each with the tag `p0` and so on.
pub(crate) const PAGES: usize = 8;

/// The pages, by their versions.
#[derive(Clone)]
pub(crate) struct Pages(Arc<[AtomicU64]>);

impl Pages {
    pub(crate) fn new() -> Pages {
        Pages((0..PAGES).map(|_| AtomicU64::new(1)).collect())
    }

    /// One more version; its number.
    pub(crate) fn change(&self, page: usize) -> u64 {
        self.0[page].fetch_add(1, SeqCst) + 1
    }

    /// An origin of them, which takes its time now and then.
    pub(crate) async fn serve(&self) -> Origin {
        let pages = self.clone();
        Origin::playing(move |mut visit| {
            let pages = pages.clone();
            async move {
                while let Some(head) = visit.request().await {
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    let page: usize = path.trim_start_matches("/p").parse().unwrap_or_default();
                    let version = pages.0[page].load(SeqCst);
                    // An answer that is on its way while a page changes is the old one.
                    if version.is_multiple_of(3) {
                        tokio::time::sleep(Duration::from_millis(15)).await;
                    }
                    let fields =
                        format!("cache-control: max-age=600\r\nsurrogate-key: p{page}\r\n");
                    visit.send(ok(&fields, format!("{version}"))).await;
                }
            }
        })
        .await
    }
}

/// A gateway that runs by a file in a folder of its own.
pub(crate) struct Site {
    pub(crate) larder: Larder,
    pub(crate) folder: TempDir,
}

impl Site {
    /// `cdns`: the tables of the CDNs, and of the outbox.
    pub(crate) async fn before(origin: SocketAddr, cdns: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, 0, origin, cdns);
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        Site { larder, folder }
    }

    /// At a port that was free, since what is before it has to know.
    pub(crate) async fn at(port: u16, origin: SocketAddr, cdns: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, port, origin, cdns);
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        Site { larder, folder }
    }

    /// Purges, and waits for the CDNs for so long.
    pub(crate) async fn purge(&self, what: Value, within: Duration) -> Value {
        let mut body = what;
        body["mode"] = "hard".into();
        body["wait"] = "cdn".into();
        body["timeout_ms"] = u64::try_from(within.as_millis()).unwrap().into();
        self.post(&body).await
    }

    pub(crate) async fn post(&self, body: &Value) -> Value {
        let answer = self.larder.post_to_admin("/v1/purge", &body.to_string()).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        serde_json::from_str(answer.text()).unwrap()
    }

    pub(crate) async fn story(&self, id: &str) -> Value {
        let answer = self.larder.get_from_admin(&format!("/v1/purges/{id}")).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        serde_json::from_str(answer.text()).unwrap()
    }
}

pub(crate) fn write(folder: &TempDir, port: u16, origin: SocketAddr, cdns: &str) {
    let text = format!(
        "[server]\nlisten = {port}\n[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{origin}\"\n{cdns}"
    );
    let text = text.replace("listen = 0", "listen = \"127.0.0.1:0\"");
    fs::write(folder.path().join("larder.toml"), text).unwrap();
}

/// How far the first CDN is.
pub(crate) fn state(story: &Value) -> &str {
    story["tiers"]["cdn"][0]["state"].as_str().unwrap_or_default()
}

pub(crate) fn tag(page: usize) -> Value {
    json!({ "tags": [format!("p{page}")] })
}

/// What a reader gets there now, as a number.
pub(crate) async fn read(outer: SocketAddr, page: usize) -> u64 {
    let mut wire = Wire::connect(outer).await;
    let head = format!("GET /p{page} HTTP/1.1\r\nhost: larder.test\r\nconnection: close\r\n\r\n");
    wire.send(head).await;
    let answer = wire.answer().await;
    answer.text().trim().parse().unwrap_or_else(|_| panic!("{}", answer.text()))
}
