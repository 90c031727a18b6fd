//! The built console, as it is served: in the coding that a browser takes, and to those who take none.
//!
//! It has to be built (`make page`), as all tests of the whole product ask for.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

use std::{fs, path::Path};

use axum::body::{Body, Bytes};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use larder_admin::Admin;
use tower::ServiceExt;

async fn send(method: Method, path: &str, fields: &[(&str, &str)]) -> Response<Body> {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    let request =
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Admin::new().router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// With this `Accept-Encoding`.
async fn get(path: &str, accepted: &str) -> (HeaderMap, Bytes) {
    let response = send(Method::GET, path, &[("accept-encoding", accepted)]).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let (head, body) = response.into_parts();
    (head.headers, body.collect().await.unwrap().to_bytes())
}

fn built(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("console/built").join(name);
    fs::read(&file)
        .unwrap_or_else(|error| panic!("{}: {error}: build it with `make page`", file.display()))
}

/// Whether caches are told that there is a form for each coding. Pages of other origins make a difference of their own.
fn varies(head: &HeaderMap) -> bool {
    head.get_all(header::VARY).iter().any(|line| line == "accept-encoding")
}

/// The paths of the script and of the stylesheet, as the page names them.
fn assets() -> Vec<String> {
    let page = String::from_utf8(built("console.html")).unwrap();
    let names = page.split("\"./").skip(1).filter_map(|rest| rest.split('"').next());
    let assets: Vec<_> =
        names.filter(|name| name.starts_with("assets/")).map(|name| format!("/{name}")).collect();
    assert!(assets.len() >= 2, "{page}");
    assets
}

#[tokio::test]
async fn a_browser_gets_the_script_and_the_style_compressed() {
    for path in assets() {
        let (plain, bytes) = get(&path, "").await;
        assert_eq!(bytes, built(&path[1..]), "{path}");
        assert_eq!(plain.get(header::CONTENT_ENCODING), None);
        for accepted in ["gzip, deflate, br, zstd", "GZIP", "gzip;q=0.1", "*", "br, *;q=0.5"] {
            let (head, coded) = get(&path, accepted).await;
            assert_eq!(head[header::CONTENT_ENCODING], "gzip", "{accepted}");
            assert_eq!(coded, built(&format!("{}.gz", &path[1..])), "{accepted}");
            assert!(coded.starts_with(&[0x1f, 0x8b]) && coded.len() * 2 < bytes.len(), "{path}");
            assert_eq!(head[header::CONTENT_TYPE], plain[header::CONTENT_TYPE]);
            assert_eq!(head[header::CONTENT_LENGTH], coded.len().to_string().as_str());
            assert_ne!(head[header::ETAG], plain[header::ETAG], "each form has a tag of its own");
            for head in [&head, &plain] {
                assert!(varies(head), "{head:?}");
                assert!(head[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
                assert_eq!(head[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            }
        }
    }
}

/// It is on the screen at once, also where the line is not the best.
#[test]
fn all_script_of_the_console_is_small() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("console/built/assets");
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{error}: `make page`"));
    let scripts = files.map(|file| file.unwrap().path()).filter(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(".js.gz"))
    });
    let bytes: u64 = scripts.map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!((1..=150_000).contains(&bytes), "{bytes} bytes of compressed script");
}

#[tokio::test]
async fn whoever_takes_no_gzip_gets_the_plain_bytes() {
    for path in assets() {
        let plain = built(&path[1..]);
        for accepted in
            ["", "identity", "br", "gzip;q=0", "gzip;q=0, *", "gzip;q=0.5, identity", "*;q=0", ";;"]
        {
            let (head, bytes) = get(&path, accepted).await;
            assert_eq!(head.get(header::CONTENT_ENCODING), None, "{accepted}");
            assert_eq!(bytes, plain, "{accepted}");
        }
        let response = send(Method::GET, &path, &[]).await;
        assert_eq!(response.headers().get(header::CONTENT_ENCODING), None);
    }
}

#[tokio::test]
async fn a_head_says_what_the_answer_would_be() {
    for path in assets() {
        for accepted in ["gzip", "identity"] {
            let response = send(Method::HEAD, &path, &[("accept-encoding", accepted)]).await;
            let (expected, body) = get(&path, accepted).await;
            assert_eq!(response.headers(), &expected, "{path} {accepted}");
            assert_eq!(expected[header::CONTENT_LENGTH], body.len().to_string().as_str());
            assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
    }
}

#[tokio::test]
async fn what_is_known_in_one_coding_is_not_known_in_the_other() {
    let path = &assets()[0];
    let tag = |head: &HeaderMap| head[header::ETAG].to_str().unwrap().to_owned();
    let [coded, plain] = [get(path, "gzip").await, get(path, "").await].map(|(head, _)| tag(&head));
    for (accepted, tags, status) in [
        ("gzip", coded.clone(), StatusCode::NOT_MODIFIED),
        ("gzip", format!("\"x\", W/{coded}"), StatusCode::NOT_MODIFIED),
        ("gzip", "*".to_owned(), StatusCode::NOT_MODIFIED),
        ("gzip", plain.clone(), StatusCode::OK),
        ("gzip", String::new(), StatusCode::OK),
        ("", plain, StatusCode::NOT_MODIFIED),
        ("", coded, StatusCode::OK),
    ] {
        let fields = [("accept-encoding", accepted), ("if-none-match", tags.as_str())];
        let response = send(Method::GET, path, &fields).await;
        assert_eq!(response.status(), status, "{accepted:?} {tags}");
        assert!(varies(response.headers()));
        if status == StatusCode::NOT_MODIFIED {
            assert_eq!(response.headers().get(header::CONTENT_ENCODING), None);
            assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
    }
}

#[tokio::test]
async fn small_files_and_the_page_have_one_form_and_coded_ones_no_address() {
    for path in ["/", "/favicon.svg"] {
        let (head, bytes) = get(path, "gzip").await;
        assert_eq!(head.get(header::CONTENT_ENCODING), None);
        assert!(!varies(&head), "{path}: {head:?}");
        assert!(!bytes.starts_with(&[0x1f, 0x8b]), "{path}");
    }
    for path in assets() {
        let response = send(Method::GET, &format!("{path}.gz"), &[]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}.gz");
    }
}
