//! Varnish: the two files of `docs/from-varnish.md`, each run before the same kind of service.

use std::{fs, path::Path};

use crate::{
    side_by_side::{asked, service, settled},
    support::{Varnish, larder::Larder, origin::Origin},
};

/// The first block of this language on the page.
fn block(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/from-varnish.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Runs the page's VCL before `origin`, at a port of its own.
async fn varnish(origin: &Origin) -> Varnish {
    Varnish::start(&block("vcl").replace("\"8001\"", &format!("\"{}\"", origin.address.port())))
        .await
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
    let varnish = varnish(&behind_varnish).await;
    let text = block("toml").replace("8001", &behind_larder.address.port().to_string());
    let text =
        text.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9191", "127.0.0.1:0");
    fs::write(folder.path().join("larder.toml"), &text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let (before, after) = (format!("http://{}", varnish.address), larder.url(""));
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
