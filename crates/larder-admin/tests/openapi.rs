//! The description of the admin API: the file is what the code says, and nothing is left out.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

use std::{collections::BTreeSet, env, fs, path::Path};

use axum::body::Body;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use larder_admin::Admin;
use serde_json::Value;
use tower::ServiceExt;

async fn description() -> Value {
    let request = Request::get("/openapi.json").header(header::HOST, "localhost");
    let request = request.body(Body::empty()).unwrap();
    let answer = Admin::new().router().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

/// `LARDER_BLESS=1 cargo test -p larder-admin --test openapi` writes it anew.
#[tokio::test]
async fn the_file_says_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let code = description().await;
    assert_eq!(code["openapi"], "3.1.0");
    if env::var_os("LARDER_BLESS").is_some() {
        fs::write(&path, serde_json::to_string_pretty(&code).unwrap() + "\n").unwrap();
    }
    let file = fs::read_to_string(&path).unwrap_or_default();
    let file: Value = serde_json::from_str(&file).unwrap_or_default();
    assert!(file == code, "openapi.json is older than the code: write it anew");
}

/// What the page is made of.
const OF_THE_PAGE: [&str; 4] = ["/", "/page.js", "/favicon.svg", "/assets/{*name}"];

/// But for the page and what belongs to it.
#[tokio::test]
async fn every_path_is_described() {
    let router = include_str!("../src/admin.rs");
    let routes = router.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let routes: BTreeSet<_> = routes.filter(|path| !OF_THE_PAGE.contains(path)).collect();
    let code = description().await;
    let described: BTreeSet<_> =
        code["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(described, routes);
    for (path, operations) in code["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(!summary.is_empty(), "{method} {path} says nothing of itself");
        }
    }
}
