//! Varnish: the two files of `docs/from-varnish.md`, each run before the same kind of service.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use tokio::net::TcpStream;

use crate::{
    side_by_side::{asked, service, settled},
    support::{Process, eventually, free_port, larder::Larder, origin::Origin},
};

/// The first block of this language on the page.
fn block(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/from-varnish.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Runs the page's VCL before `origin`, at a port of its own.
async fn varnish(folder: &Path, origin: &Origin) -> (Process, u16) {
    let port = free_port();
    let text = block("vcl").replace("\"8001\"", &format!("\"{}\"", origin.address.port()));
    let file = folder.join("default.vcl");
    fs::write(&file, text).unwrap();
    // Debian keeps it where a user's PATH does not lead.
    let kept = Path::new("/usr/sbin/varnishd");
    let mut command = Command::new(if kept.exists() { kept } else { Path::new("varnishd") });
    command.args([
        "-F",
        "-j",
        "none",
        "-a",
        &format!("127.0.0.1:{port}"),
        "-s",
        "malloc,16m",
        "-n",
    ]);
    command.arg(folder.join("work")).arg("-f").arg(&file);
    let mut process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    eventually("varnishd to listen", async || {
        if let Some(status) = process.ended() {
            panic!("varnishd ended with {status}: {}", process.log.all());
        }
        TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    (process, port)
}

/// The reader whose request fetched an answer gets its cookie: it is his, and only not stored.
fn without_cookie(told: &str, request: &[&str]) -> String {
    if request == ["/static/cookie"] {
        told.replace("[\"set-cookie: a=1\"]", "[]")
    } else {
        told.to_owned()
    }
}

#[tokio::test]
async fn the_page_says_the_same_twice() {
    let (behind_varnish, behind_larder) = (service().await, service().await);
    let folder = tempfile::tempdir().unwrap();
    let (_varnish, port) = varnish(folder.path(), &behind_varnish).await;
    let text = block("toml").replace("8001", &behind_larder.address.port().to_string());
    let text =
        text.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9191", "127.0.0.1:0");
    fs::write(folder.path().join("larder.toml"), &text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let (before, after) = (format!("http://127.0.0.1:{port}"), larder.url(""));
    let requests: [&[&str]; 16] = [
        &["/a"],
        &["/a?utm_source=x"],
        &["/a?b=c"],
        &["/admin"],
        &["/admin/a"],
        &["--header", "cookie: session=1", "/a"],
        &["--header", "cookie: _ga=1", "/a"],
        &["/static/a"],
        &["--header", "cookie: session=1", "/static/a"],
        &["/static/cookie"],
        &["/cookie"],
        &["/none"],
        &["/a-minute"],
        &["/private"],
        &["/no-store"],
        &["--header", "cache-control: no-cache", "/a"],
    ];
    let mut wrong = Vec::new();
    for request in requests.iter().flat_map(|request| [request, request]) {
        let of_varnish = asked(&before, request).await;
        let of_larder = asked(&after, request).await;
        settled(&larder).await;
        if of_varnish != of_larder && of_varnish != without_cookie(&of_larder, request) {
            wrong.push(format!("{request:?}\n  varnish: {of_varnish}\n  larder:  {of_larder}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), larder.log());
}
