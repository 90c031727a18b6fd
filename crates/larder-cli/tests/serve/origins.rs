//! Ways to a service that a file says: TLS, Unix sockets, names that move, gateways in a row.

use std::{fs, path::Path};

use larder_test_support::{
    certificate::{Authority, Validity},
    nginx::Nginx,
    port::free_port,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixListener},
};

use crate::support::{eventually, larder::Larder, origin::Origin};

const LISTENERS: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";

/// A gateway in a folder of its own, by a file that says this of its service.
async fn by_file(folder: &Path, upstream: &str, variables: &[(&str, &str)]) -> Larder {
    let text = format!("{LISTENERS}[upstream.app]\n{upstream}");
    fs::write(folder.join("larder.toml"), text).unwrap();
    Larder::in_folder(folder, &["serve"], variables).await
}

#[tokio::test]
async fn a_service_over_tls_is_checked_by_a_file_beside_the_settings_and_spoken_to_in_http_2() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let certificate = authority.issue(&["localhost"], Validity::Now);
    let port = free_port();
    let _nginx = Nginx::start(
        "",
        &format!(
            "listen 127.0.0.1:{port} ssl http2; ssl_certificate {}; ssl_certificate_key {};
             location / {{ add_header Cache-Control max-age=60; return 200 $server_protocol; }}",
            certificate.file().display(),
            certificate.key().display()
        ),
    )
    .await;
    fs::copy(authority.file(), folder.path().join("ca.pem")).unwrap();
    let url = format!("url = \"https://localhost:{port}\"\n[upstream.app.tls]\n");
    let larder = by_file(folder.path(), &(url.clone() + "ca_file = \"ca.pem\"\n"), &[]).await;
    let answer = larder.get("/a").await;
    assert_eq!(answer.text(), "HTTP/2.0");
    assert_eq!(answer.field("via"), Some("2 larder"));
    assert!(larder.get("/a").await.field("cache-status").unwrap().contains("hit"));
    assert_eq!(larder.metric("larder_upstream_connections_made_total").await, 1.0);
    // By the system's roots nobody knows it.
    let larder =
        by_file(folder.path(), &(url.clone() + "server_name = \"localhost\"\n"), &[]).await;
    let answer = larder.get("/a").await;
    assert_eq!(answer.status(), 502);
    let said = answer.field("proxy-status").unwrap();
    assert!(said.starts_with("Larder;error=tls_certificate_error"), "{said}");
    larder.told("no root that is known vouches for its certificate").await;
    larder.told("(ca_file)").await;
    assert_eq!(larder.metric("larder_upstream_connections_failed_total").await, 1.0);
    // Whoever keeps these elsewhere says where, as to other programs.
    let roots = authority.file();
    let roots = [("SSL_CERT_FILE", roots.to_str().unwrap())];
    let larder =
        by_file(folder.path(), &(url.clone() + "server_name = \"localhost\"\n"), &roots).await;
    assert_eq!(larder.get("/a").await.text(), "HTTP/2.0");
    let larder = by_file(folder.path(), &(url + "verify = false\n"), &[]).await;
    larder.told("verify = false: anybody between here and https://localhost").await;
    assert_eq!(larder.get("/a").await.text(), "HTTP/2.0");
}

#[tokio::test]
async fn a_service_may_listen_on_a_socket_beside_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let larder = by_file(folder.path(), "url = \"unix:app.sock\"\n", &[]).await;
    larder.told("there is no socket of").await;
    let answer = larder.get("/a").await;
    assert_eq!(answer.status(), 502);
    let listener = UnixListener::bind(folder.path().join("app.sock")).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
            let host = head.lines().find(|line| line.starts_with("host: ")).unwrap();
            let length = host.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{host}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    assert_eq!(larder.get("/a").await.text(), "host: larder.test");
}

#[tokio::test]
async fn gateways_in_a_row_need_no_names_and_a_loop_is_found_all_the_same() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nfine",
    )
    .await;
    let shield = Larder::before(origin.address).await;
    let edge = Larder::before(shield.address).await;
    let outer = Larder::before(edge.address).await;
    let answer = outer.get("/a").await;
    assert_eq!((answer.status(), answer.text()), (200, "fine"));
    assert!(shield.get("/a").await.field("cache-status").unwrap().contains("hit"));
    assert_eq!(origin.requests().len(), 1);
    let head = origin.requests().remove(0).to_lowercase();
    assert_eq!(head.matches("larder;hop=").count(), 3, "{head}");
    // A ring of two.
    let [one, other] = [free_port(), free_port()];
    let at = |listen: u16, upstream: u16, name: &str| {
        format!(
            "[server]\nlisten = {listen}\n{name}[admin]\nlisten = \"127.0.0.1:0\"\n[upstream.app]\nurl = {upstream}\n"
        )
    };
    for names in [["", ""], ["name = \"one\"\n", "name = \"other\"\n"]] {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for (folder, (listen, upstream, name)) in
            folders.iter().zip([(one, other, names[0]), (other, one, names[1])])
        {
            fs::write(folder.path().join("larder.toml"), at(listen, upstream, name)).unwrap();
        }
        let first = Larder::in_folder(folders[0].path(), &["serve"], &[]).await;
        let _second = Larder::in_folder(folders[1].path(), &["serve"], &[]).await;
        assert_eq!(first.get("/loop").await.status(), 508, "{names:?}");
    }
    // What has one name is one gateway.
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("larder.toml"),
        at(one, shield.address.port(), "name = \"larder\"\n"),
    )
    .unwrap();
    let named = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let answer = named.get_with("/a", "cdn-loop: larder;hop=0000000000000000\r\n").await;
    assert_eq!(answer.status(), 508);
}

/// Answers each connection once with a word.
async fn saying(listener: TcpListener, word: &'static str) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut head = vec![0; 4096];
            // It goes on with the connection as long as it is kept.
            while matches!(stream.read(&mut head).await, Ok(1..)) {
                let length = word.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncache-control: no-store\r\ncontent-length: {length}\r\n\r\n{word}"
                );
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::test]
async fn a_name_that_moves_is_followed_and_one_that_goes_keeps_its_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let here = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = here.local_addr().unwrap().port();
    let there = TcpListener::bind(("127.0.0.3", port)).await.unwrap();
    tokio::spawn(saying(here, "here"));
    tokio::spawn(saying(there, "there"));
    let write = |text: &str| {
        // Whole or not at all: it may be read at any time.
        let new = folder.path().join("hosts.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &hosts).unwrap();
    };
    write("127.0.0.2 app.test\n");
    let library = fs::read_dir("/usr/lib")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path().join("libnss_wrapper.so")))
        .find(|path| path.exists())
        .expect("libnss_wrapper, which tools/install-test-deps installs");
    let variables =
        [("LD_PRELOAD", library.to_str().unwrap()), ("NSS_WRAPPER_HOSTS", hosts.to_str().unwrap())];
    let upstream = format!("url = \"http://app.test:{port}\"\nresolve_every = \"100ms\"\n");
    let larder = by_file(folder.path(), &upstream, &variables).await;
    assert_eq!(larder.get("/").await.text(), "here");
    write("127.0.0.3 app.test\n");
    // The connection that is kept still leads to the old address.
    let moved = async || (larder.get("/").await.text() == "there").then_some(());
    eventually("an answer from there", moved).await;
    write("127.0.0.9 other.test\n");
    let unknown = async || {
        assert_eq!(larder.get("/").await.text(), "there");
        (larder.metric("larder_upstream_names_unknown_total").await >= 2.0).then_some(())
    };
    eventually("the name to be unknown", unknown).await;
    assert_eq!(larder.told("is no longer known: the addresses that it had are kept").await, 1);
    write("127.0.0.2 app.test\n");
    let back = async || (larder.get("/").await.text() == "here").then_some(());
    eventually("an answer from here", back).await;
    larder.told("is known again").await;
}
