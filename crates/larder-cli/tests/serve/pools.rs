//! Several addresses behind one name: who is asked, what is sent once more, and what happens while some are down. What
//! was sent is counted at the addresses.

mod choice;
mod down;
mod health;
mod reload;
mod retries;
mod storm;

use std::{fs, net::SocketAddr};

use larder_test_support::port::free_port;
use tempfile::TempDir;

use crate::support::{
    answer::Answer,
    larder::Larder,
    origin::{Origin, ok},
};

const LISTENERS: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
const NO_STORE: &str = "cache-control: no-store\r\n";

/// A gateway that runs by a file, before the service `app`.
struct Site {
    folder: TempDir,
    larder: Larder,
}

impl Site {
    /// `text` is what stands in `[upstream.app]`, and after it.
    async fn with(addresses: &[SocketAddr], text: &str) -> Site {
        Site::of(&file(addresses, text)).await
    }

    async fn of(text: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("larder.toml"), text).unwrap();
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        Site { folder, larder }
    }

    /// A number about one address.
    async fn number(&self, name: &str, address: SocketAddr, more: &str) -> f64 {
        let labels = format!("upstream=\"app\",address=\"http://{address}\"{more}");
        self.larder.metric(&format!("{name}{{{labels}}}")).await
    }
}

fn file(addresses: &[SocketAddr], text: &str) -> String {
    let urls: Vec<_> = addresses.iter().map(|address| format!("\"http://{address}\"")).collect();
    format!("{LISTENERS}[upstream.app]\nurls = [{}]\n{text}", urls.join(", "))
}

/// Nobody listens there.
fn nobody() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

/// Says its name.
async fn saying(name: &'static str) -> Origin {
    Origin::saying(ok(NO_STORE, name)).await
}

/// Ends each connection once it has a request.
async fn resetting() -> Origin {
    Origin::playing(|mut visit| async move {
        visit.request().await;
        visit.reset();
    })
    .await
}

/// Takes requests and says nothing.
async fn silent() -> Origin {
    Origin::playing(|mut visit| async move { while visit.request().await.is_some() {} }).await
}

async fn post(larder: &Larder, body: &str) -> Answer {
    let mut wire = larder.connect().await;
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: larder.test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    wire.send(head + body).await;
    wire.answer().await
}
