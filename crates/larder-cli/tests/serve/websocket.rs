//! WebSockets as programs of others speak them: Python's websockets and h2, and a browser.

use std::{net::SocketAddr, process::Command};

use tempfile::TempDir;

use crate::support::{
    Certificate, Process,
    larder::{Larder, tls_flags},
    program,
    python::{port, script},
};

/// A server of WebSockets that others wrote.
pub(crate) struct Server {
    _process: Process,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) async fn start() -> Server {
        let mut process = Process::read(&mut script("websocket_server.py"));
        let port = port(&mut process).await;
        Server { _process: process, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

/// With a route that allows no WebSockets, over TLS or in the open.
async fn larder(origin: SocketAddr, tls: Option<&Certificate>) -> (Larder, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream.app]\nurl = \"http://{origin}\"\n\
         [[route]]\npath = \"/none\"\nupgrades = []\n"
    );
    std::fs::write(folder.path().join("larder.toml"), text).unwrap();
    let flags = tls.map(tls_flags);
    let flags = flags.iter().flatten().map(String::as_str);
    let arguments: Vec<_> = ["serve"].into_iter().chain(flags).collect();
    (Larder::in_folder(folder.path(), &arguments, &[]).await, folder)
}

#[tokio::test]
async fn pythons_websockets_does_all_it_can_in_the_open_and_over_tls() {
    let server = Server::start().await;
    let certificate = Certificate::new();
    for tls in [None, Some(&certificate)] {
        let (larder, _folder) = larder(server.address, tls).await;
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let mut client = script("websocket_client.py");
        client.arg(format!("{scheme}://{}", larder.address));
        if let Some(certificate) = tls {
            client.arg(certificate.file());
        }
        let said = program::run(&mut client).await.stdout;
        assert_eq!(String::from_utf8(said).unwrap(), "9 cases\n");
    }
}

#[tokio::test]
async fn websockets_go_over_http2_each_by_itself() {
    let server = Server::start().await;
    let certificate = Certificate::new();
    for tls in [None, Some(&certificate)] {
        let (larder, _folder) = larder(server.address, tls).await;
        let mut client = script("websocket_http2.py");
        client.args([larder.address.ip().to_string(), larder.address.port().to_string()]);
        if let Some(certificate) = tls {
            client.arg(certificate.file());
        }
        let said = program::run(&mut client).await.stdout;
        assert_eq!(String::from_utf8(said).unwrap(), "all right\n");
    }
}

#[tokio::test]
async fn a_browser_opens_a_websocket_in_the_open_and_over_the_http2_that_its_page_came_by() {
    let certificate = Certificate::new();
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    for (tls, version) in [(None, "1.1"), (Some(&certificate), "2")] {
        let server = Server::start().await;
        let (larder, _folder) = larder(server.address, tls).await;
        // A profile of its own: what the browser had before is gone.
        let profile = tempfile::tempdir().unwrap();
        let profile = format!("--user-data-dir={}", profile.path().display());
        let flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", &profile];
        let quiet = ["--disable-background-networking", "--disable-component-update"];
        let ask = ["--ignore-certificate-errors", "--dump-dom", &larder.url("/")];
        let mut command = Command::new(&chromium);
        let page = program::run(command.args(flags).args(quiet).args(ask)).await.stdout;
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains(&format!("came by {version} larder, chat")), "{page}");
    }
}
