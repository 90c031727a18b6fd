//! Compression: what others' programs make of answers that the cache has compressed itself.

use std::process::Command;

use crate::support::{
    answer::{field, status},
    eventually,
    larder::Larder,
    nginx::Nginx,
    origin::{Origin, ok},
    program::{self, curl},
};

const HTML: &str = "cache-control: max-age=60\r\ncontent-type: text/html\r\netag: \"v1\"\r\n";
const COMPRESS: &str = "[defaults]\ncompress = [\"zstd\", \"br\", \"gzip\"]\n";

fn page() -> String {
    (0..2000).map(|line| format!("<p>this is line {line}\n")).collect()
}

/// A gateway by a file with these rules.
async fn before(url: &str, rules: &str) -> (tempfile::TempDir, Larder) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream.app]\nurl = \"{url}\"\n{rules}"
    );
    std::fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    (folder, larder)
}

/// Waits until so many forms were made.
async fn made(larder: &Larder, count: f64) {
    let name = "larder_compression_forms_total{outcome=\"made\"}";
    let are_made = async || (larder.metric(name).await == count).then_some(());
    eventually(name, are_made).await;
}

#[tokio::test]
async fn curl_reads_each_coding_over_either_protocol_and_knows_it_again() {
    let origin = Origin::saying(ok(HTML, page())).await;
    let (_folder, larder) = before(&format!("http://{}", origin.address), COMPRESS).await;
    let url = larder.url("/a");
    curl(&[&url]).await;
    for (count, coding) in [(1.0, "zstd"), (2.0, "br"), (3.0, "gzip")] {
        let accepts = format!("accept-encoding: {coding}");
        let asked = ["--compressed", "--header", &accepts, &url];
        assert!(curl(&asked).await == page(), "{coding}: plain, until it is made");
        made(&larder, count).await;
        for protocol in ["--http1.1", "--http2-prior-knowledge"] {
            let asked = [&asked[..], &[protocol]].concat();
            let said = curl(&[&asked[..], &["--dump-header", "-"]].concat()).await;
            let (head, body) = said.split_once("\r\n\r\n").unwrap();
            assert!(status(head) == 200 && body == page(), "{head}");
            assert_eq!(field(head, "content-encoding"), Some(coding));
            assert_eq!(field(head, "vary"), Some("accept-encoding"));
            let length: usize = field(head, "content-length").unwrap().parse().unwrap();
            assert!(length < page().len() / 5, "{length}");
            // As a browser asks again.
            let known = format!("if-none-match: {}", field(head, "etag").unwrap());
            let written = ["--header", &known, "--write-out", "%{http_code}"];
            assert_eq!(curl(&[&asked[..], &written].concat()).await, "304");
            // Not all of it came, and the rest is asked for.
            let part = format!("if-range: {}", field(head, "etag").unwrap());
            let rest = ["--range", "20-", "--header", &part, "--raw", "--write-out"];
            let accepts = ["--header", &accepts, &url, protocol];
            let rest = [&accepts[..], &rest, &["%{stderr}%{http_code} %{size_download}"]].concat();
            let mut command = Command::new("curl");
            let rest = program::run(command.arg("--silent").args(rest)).await;
            let said = String::from_utf8(rest.stderr).unwrap();
            assert_eq!(said, format!("206 {}", length - 20));
        }
    }
    assert!(curl(&[&url]).await == page(), "who takes no coding gets none");
    assert_eq!(origin.requests().len(), 1);
    let asked = &origin.requests()[0];
    assert_eq!(field(asked, "accept-encoding"), Some("identity"), "{asked}");
    let bytes = larder.metric("larder_compression_bytes_total{of=\"plain\"}").await;
    assert_eq!(bytes, 3.0 * page().len() as f64);
}

#[tokio::test]
async fn httpx_gets_what_it_takes() {
    let origin = Origin::saying(ok(HTML, page())).await;
    let (_folder, larder) = before(&format!("http://{}", origin.address), COMPRESS).await;
    let script = "import httpx, sys\n\
        with httpx.Client(trust_env=False, timeout=60) as client:\n    \
        answer = client.get(sys.argv[1])\n    \
        print(answer.headers.get('content-encoding'), len(answer.text))";
    let url = larder.url("/a");
    let mut said = Vec::new();
    for _ in 0..3 {
        let mut command = Command::new("/usr/bin/python3");
        let output = program::run(command.args(["-c", script, &url])).await;
        said.push(String::from_utf8(output.stdout).unwrap());
        if said.len() == 2 {
            made(&larder, 1.0).await;
        }
    }
    let len = page().len();
    assert_eq!(said, [format!("None {len}\n"), format!("None {len}\n"), format!("gzip {len}\n")]);
}

#[tokio::test]
async fn nginx_behind_it_zips_nothing_unless_told_to_and_what_is_stored_is_zipped_here() {
    for (proxied, zips) in [("", None), ("gzip_proxied any;", Some("gzip"))] {
        let settings = format!("gzip on; {proxied} gzip_types text/plain; gzip_vary on;");
        let server = "root files; default_type text/plain; location / { expires 1h; }";
        let nginx = Nginx::start(&settings, server).await;
        std::fs::create_dir_all(nginx.folder().join("files")).unwrap();
        std::fs::write(nginx.folder().join("files/a"), page()).unwrap();
        let url = format!("http://{}", nginx.address);
        let zipped = "accept-encoding: gzip\r\n";
        let (_folder, passes_on) = before(&url, "").await;
        let answer = passes_on.get_with("/a", zipped).await;
        assert_eq!(answer.field("content-encoding"), zips, "{proxied:?}");
        let (_folder, compresses) = before(&url, COMPRESS).await;
        let url = compresses.url("/a");
        let asked = ["--compressed", "--header", zipped.trim(), "--dump-header", "-", &url];
        for _ in 0..2 {
            let said = curl(&asked).await;
            assert_eq!(field(&said, "content-encoding"), None, "{proxied:?}");
        }
        made(&compresses, 1.0).await;
        let said = curl(&asked).await;
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert_eq!(field(head, "content-encoding"), Some("gzip"));
        assert!(body == page());
    }
}
