//! Secrets: what proves who asks stands nowhere but in calls: in no log, however much is logged, no receipt, no metric, no file
//! of the outbox.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use serde_json::{Map, Value, json};

use crate::{
    api::api,
    site::{Site, write},
    support::{
        Certificate, eventually, free_port,
        larder::{Larder, run, run_in},
        nginx::Nginx,
        origin::{Origin, ok},
    },
};

/// All that is written by any crate that could see a call.
const LEVELS: &str = "trace,hyper=trace,hyper_util=trace,h2=trace,rustls=trace,tokio_rustls=trace,tower=trace,\
    tower_http=trace,tower_service=trace,http=trace,http_body_util=trace,tokio=trace,tokio_util=trace,mio=trace,\
    want=trace,serde=trace,axum=trace,aws_lc_rs=trace,log=trace,rustix=trace";

/// The files with secrets, each with a text that stands nowhere else.
const SECRETS: [&str; 11] = [
    "fastly",
    "cloudflare",
    "cloudfront",
    "session",
    "client-token",
    "client-secret",
    "access-token",
    "bunny",
    "google",
    "varnish",
    "template",
];

fn secret(name: &str) -> String {
    format!("s3cret/{name}+0123456789abcdef==")
}

fn json_answer(said: &Value) -> Vec<u8> {
    ok("content-type: application/json\r\n", said.to_string())
}

/// As each vendor answers to a purge that is well.
fn well(path: &str, body: &str) -> Vec<u8> {
    if path.starts_with("/service/") {
        let said: Value = serde_json::from_str(body).unwrap_or_default();
        let keys = said["surrogate_keys"].as_array().cloned().unwrap_or_default();
        let ids: Map<String, Value> =
            keys.iter().map(|key| (key.as_str().unwrap().to_owned(), "108-1".into())).collect();
        return json_answer(&ids.into());
    }
    if path.starts_with("/2020-05-31/") {
        let body = "<Invalidation><Id>I1</Id><Status>Completed</Status></Invalidation>";
        return ok("content-type: text/xml\r\n", body);
    }
    if path.starts_with("/ccu/") {
        let said = json!({ "httpStatus": 201, "purgeId": "e535071c" }).to_string();
        let length = said.len();
        return format!("HTTP/1.1 201 x\r\ncontent-length: {length}\r\n\r\n{said}").into_bytes();
    }
    if path.starts_with("/compute/") {
        return json_answer(&json!({ "name": "o1", "status": "DONE" }));
    }
    json_answer(
        &json!({ "success": true, "errors": [], "result": { "id": "1", "status": "active" } }),
    )
}

/// A vendor of any kind, that says back what it was asked with where it is hostile; and all that proved who asks.
async fn vendors(is_hostile: Arc<AtomicBool>, proofs: Arc<Mutex<BTreeSet<String>>>) -> Origin {
    api(move |head, body| {
        let proof = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            let is_one = ["authorization", "fastly-key", "accesskey", "x-amz-security-token"]
                .contains(&name.to_ascii_lowercase().as_str());
            is_one.then(|| value.to_owned())
        };
        let said: Vec<String> = head.lines().filter_map(proof).collect();
        proofs.lock().unwrap().extend(said.clone());
        if is_hostile.load(SeqCst) {
            let back = format!("I do not like {}", said.join(" or "));
            let body = json!({ "msg": back, "success": false, "errors": [{ "message": back }], "detail": back });
            let body = body.to_string();
            return Some(
                format!("HTTP/1.1 403 x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                    .into_bytes(),
            );
        }
        Some(well(head.split(' ').nth(1).unwrap(), body))
    })
    .await
}

/// One of each, at one address in the open; Fastly over TLS and HTTP/2.
fn tables(api: &str, over_tls: &str) -> String {
    let cdn = |name: &str, more: &str| {
        format!("[[cdn]]\nname = \"{name}\"\npropagation = \"0s\"\n{more}\n")
    };
    [
        cdn("fastly", &format!("ca_file = \"ca.pem\"\n[cdn.fastly]\nservice = \"S1\"\ntoken_file = \"fastly\"\napi = \"{over_tls}\"")),
        cdn("cloudflare", &format!("[cdn.cloudflare]\nzone = \"z1\"\nplan = \"enterprise\"\ntoken_file = \"cloudflare\"\napi = \"{api}\"")),
        cdn("cloudfront", &format!("[cdn.cloudfront]\ndistribution = \"E1\"\naccess_key_id = \"AKID\"\nsecret_file = \"cloudfront\"\nsession_file = \"session\"\napi = \"{api}\"")),
        cdn("akamai", &format!("[cdn.akamai]\nclient_token_file = \"client-token\"\nclient_secret_file = \"client-secret\"\naccess_token_file = \"access-token\"\napi = \"{api}\"")),
        cdn("bunny", &format!("[cdn.bunny]\npull_zone = 7\nkey_file = \"bunny\"\napi = \"{api}\"")),
        cdn("google", &format!("[cdn.google]\nproject = \"p\"\nurl_map = \"m\"\ntoken_file = \"google\"\napi = \"{api}\"")),
        cdn("varnish", &format!("[cdn.varnish]\ntoken_file = \"varnish\"\napi = \"{api}\"")),
        cdn("template", &format!("[cdn.template]\nsecret_file = \"template\"\n[cdn.template.tag]\nurl = \"{api}/purge\"\nheaders = {{ Authorization = \"Basic {{secret}}\" }}\nbody = '{{\"tags\":[{{items}}],\"id\":\"{{id}}\"}}'")),
        "[outbox]\njournal = \"cdn\"\nsettle = \"0s\"\n".to_owned(),
    ]
    .concat()
}

/// How many CDNs there are in it.
const CDNS: usize = 8;

fn is_confirmed(cdn: &Value) -> bool {
    cdn["state"] == "confirmed"
}

fn is_refused(cdn: &Value) -> bool {
    cdn["reason"].as_str().is_some_and(|reason| reason.starts_with("403"))
}

async fn are_all(site: &Site, id: &str, are_so: fn(&Value) -> bool) -> Value {
    eventually("all CDNs to be so far", async || {
        let story = site.story(id).await;
        let cdns = story["tiers"]["cdn"].as_array().unwrap();
        let are_all = cdns.len() == CDNS && cdns.iter().all(are_so);
        are_all.then_some(story.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_of_any_vendor_is_seen_whatever_is_logged_and_whatever_a_vendor_says() {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await;
    let (is_hostile, proofs) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let vendors = vendors(Arc::clone(&is_hostile), Arc::clone(&proofs)).await;
    let (certificate, port) = (Certificate::new(), free_port());
    let _nginx = Nginx::start(
        "",
        &format!(
            "listen 127.0.0.1:{port} ssl http2; ssl_certificate {}; ssl_certificate_key {};
             location / {{ proxy_pass http://{}; }}",
            certificate.file().display(),
            certificate.key().display(),
            vendors.address
        ),
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    for name in SECRETS {
        fs::write(folder.path().join(name), secret(name)).unwrap();
    }
    fs::copy(certificate.file(), folder.path().join("ca.pem")).unwrap();
    let api = format!("http://{}", vendors.address);
    write(&folder, 0, origin.address, &tables(&api, &format!("https://localhost:{port}")));
    let checked = run_in(folder.path(), &["check", "--live"]).await;
    let larder = Larder::in_folder(folder.path(), &["serve", "--log", LEVELS], &[]).await;
    let site = Site { larder, folder };
    let purge = json!({ "tags": ["a", "b"], "mode": "hard" });
    let story = site.post(&purge).await;
    let mut seen =
        vec![are_all(&site, story["id"].as_str().unwrap(), is_confirmed).await.to_string()];
    // What is in the file while it is under way is there from the next.
    is_hostile.store(true, SeqCst);
    let story = site.post(&purge).await;
    let admin = site.larder.admin().to_string();
    seen.push(
        String::from_utf8_lossy(&fs::read(site.folder.path().join("cdn")).unwrap()).into_owned(),
    );
    let failed = are_all(&site, story["id"].as_str().unwrap(), is_refused).await;
    for cdn in failed["tiers"]["cdn"].as_array().unwrap() {
        assert_eq!(cdn["state"], "sent", "it is asked until it takes the credentials: {cdn}");
    }
    seen.push(failed.to_string());
    let hostile = run_in(site.folder.path(), &["check", "--live"]).await;
    let told =
        run(&["purge", "--admin", &admin, "--tag", "a", "--wait", "cdn", "--timeout", "2s"]).await;
    let list = run(&["purges", "--admin", &admin, "--json"]).await;
    for exit in [&checked, &hostile, &told, &list] {
        seen.extend([exit.out.clone(), exit.log.clone()]);
    }
    assert!(hostile.out.contains("I do not like"), "{hostile:?}");
    for path in [
        "/",
        "/metrics",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/v1/stats",
        "/v1/purges",
        "/v1/routes",
        "/v1/entries",
        "/v1/tags",
        "/v1/gone",
        "/v1/history",
        "/v1/instances",
        "/v1/stage",
        "/v1/config",
    ] {
        seen.push(site.larder.get_from_admin(path).await.text().to_owned());
    }
    seen.push(
        String::from_utf8_lossy(&fs::read(site.folder.path().join("cdn")).unwrap()).into_owned(),
    );
    let log = site.larder.log();
    // It has told much, also of the fields of calls.
    let is_told = |words: &str| assert!(log.contains(words), "no {words} in {}", around(&log, 0));
    is_told("TRACE");
    is_told("send frame=Headers");
    is_told("does not take its credentials");
    seen.push(log);
    let proofs: BTreeSet<String> = std::mem::take(&mut proofs.lock().unwrap());
    assert!(proofs.len() >= 8, "{proofs:?}");
    let mut hidden: Vec<String> = proofs.into_iter().collect();
    hidden.extend(SECRETS.map(secret));
    for (nth, text) in seen.iter().enumerate() {
        for hidden in &hidden {
            let at = text.find(hidden.as_str());
            assert!(
                at.is_none(),
                "{hidden} in the text of number {nth}: {}",
                around(text, at.unwrap_or(0))
            );
        }
        assert!(!text.contains("0123456789abcdef"), "a part of one is in the text of number {nth}");
    }
}

fn around(text: &str, at: usize) -> &str {
    let start = text.floor_char_boundary(at.saturating_sub(200));
    &text[start..text.ceil_char_boundary((at + 200).min(text.len()))]
}
