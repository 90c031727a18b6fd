//! Why a gateway that runs answers as it does: asked in its admin API and by `larder explain`, of requests to come and past.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::support::{
    answer::Answer,
    larder::{Larder, run, run_in},
    origin::{Origin, ok},
};

const LISTENERS: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";

/// A gateway with a route for `/posts/{id}`, in whose file that is line 9 on.
async fn routed(origin: &Origin) -> (tempfile::TempDir, Larder) {
    let route = "[[route]]\npath = \"/posts/{id}\"\nttl = \"5m\"\nquery_deny = [\"tracking\"]\n";
    let service = format!("[upstream.blog]\nurl = \"http://{}\"\n", origin.address);
    let text = format!("{LISTENERS}[defaults]\nobey_readers = false\n{service}{route}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    (folder, larder)
}

async fn explained(larder: &Larder, question: &Value) -> Answer {
    larder.post_to_admin("/v1/explain", &question.to_string()).await
}

async fn told(larder: &Larder, question: Value) -> Value {
    let answer = explained(larder, &question).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_str(answer.text()).unwrap()
}

#[tokio::test]
async fn a_request_is_explained_by_its_route_its_key_and_what_is_stored() {
    let origin = Origin::saying(ok("", "a")).await;
    let (_folder, larder) = routed(&origin).await;
    let question = json!({ "url": "http://larder.test/posts/1?utm_source=x" });
    let before = told(&larder, question.clone()).await;
    assert_eq!(before["verdict"]["reason"], "uri-miss");
    assert_eq!(before["next"]["asks_origin"], true);
    assert_eq!(origin.requests().len(), 0, "nobody is asked");
    let route = &before["route"];
    assert_eq!(
        (&route["route"], &route["upstream"], &route["is_cached"]),
        (&json!("/posts/{id}"), &json!("blog"), &json!(true))
    );
    assert!(route["line"].as_str().unwrap().ends_with("larder.toml:9"), "{route}");
    let ttl = route["rules"].as_array().unwrap().iter().find(|rule| rule["rule"] == "ttl").unwrap();
    assert!(ttl["line"].as_str().unwrap().ends_with("larder.toml:11"), "{ttl}");
    let key = &before["key"];
    assert_eq!(key["key"], "http://larder.test/posts/1");
    assert_eq!(
        key["left_out"],
        json!([{ "part": "query", "name": "utm_source", "why": "tracking parameter" }])
    );
    larder.get("/posts/1?utm_source=y").await;
    assert_eq!(larder.get("/posts/1").await.handling(), "hit");
    let after = told(&larder, question).await;
    assert_eq!(after["verdict"]["verdict"], "hit", "{after}");
    assert_eq!(after["tiers"][0]["holds"], "this");
    assert_eq!(after["tiers"][0]["variants"][0]["is_chosen"], true);
    let near = told(&larder, json!({ "url": "https://larder.test/posts/1/" })).await;
    assert_eq!(near["nearest"][0]["key"], "http://larder.test/posts/1", "{near}");
    assert_eq!(near["nearest"][0]["says"], "differs in scheme, path");
    let passing =
        told(&larder, json!({ "url": "http://larder.test/posts/1", "method": "POST" })).await;
    assert_eq!((&passing["verdict"]["verdict"], &passing["key"]), (&json!("pass"), &Value::Null));
}

#[tokio::test]
async fn another_policy_is_tried_on_the_same_request_and_opens_nothing() {
    let origin = Origin::saying(ok("", "a")).await;
    let (_folder, larder) = routed(&origin).await;
    larder.get("/posts/1").await;
    let url = "http://larder.test/posts/1";
    let policy = "[upstream.other]\nurl = \"http://127.0.0.1:1\"\n[[route]]\npath = \"/posts/*\"\ncache = false\n";
    let both = told(&larder, json!({ "url": url, "policy": policy })).await;
    assert_eq!(both["verdict"]["verdict"], "hit");
    let other = &both["with_policy"];
    assert_eq!(
        (&other["verdict"]["verdict"], &other["verdict"]["reason"]),
        (&json!("pass"), &json!("bypass-rule"))
    );
    assert_eq!(
        (&other["route"]["upstream"], &other["route"]["line"]),
        (&json!("other"), &json!("policy:3"))
    );
    for (policy, told) in [
        ("[sever]", "policy:1:2"),
        ("include = [\"/etc/*\"]\n[upstream.a]\nurl = \"http://a\"\n", "nothing is opened"),
        ("", "there is no service"),
        ("[upstream.a]\nurl = \"http://a\"\n[defaults]\nttl = \"soon\"\n", "policy:4"),
    ] {
        let answer = explained(&larder, &json!({ "url": url, "policy": policy })).await;
        assert_eq!(answer.status(), 422, "{policy}: {}", answer.text());
        assert!(answer.text().contains(told), "{policy}: {}", answer.text());
    }
    let named = "[upstream.a]\nurl = \"https://a\"\n[upstream.a.tls]\nca_file = \"/nowhere\"\n";
    let other = told(&larder, json!({ "url": url, "policy": named })).await;
    assert_eq!(other["with_policy"]["route"]["route"], "otherwise");
    let long = format!("# {}", "x".repeat(600 << 10));
    let answer = explained(&larder, &json!({ "url": url, "policy": long })).await;
    assert_eq!(answer.status(), 413, "{}", answer.text());
}

#[tokio::test]
async fn what_became_of_a_request_is_found_by_the_id_of_its_answer() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let (_folder, larder) = routed(&origin).await;
    let answer = larder.get_with("/posts/2?token=secret", "cookie: sid=secret\r\n").await;
    let id = answer.field("larder-request").unwrap().to_owned();
    assert_eq!(id.len(), 32);
    let past = larder.get_from_admin(&format!("/v1/requests/{id}")).await;
    let said: Value = serde_json::from_str(past.text()).unwrap();
    assert_eq!(
        (&said["verdict"], &said["reason"], &said["status"], &said["tier"], &said["route"]),
        (&json!("miss"), &json!("cookie"), &json!(200), &json!("origin"), &json!("/posts/{id}"))
    );
    assert_eq!(said["url"], "http://larder.test/posts/2?token=…");
    assert!(!past.text().contains("secret"), "{}", past.text());
    assert!(said["origin_seconds"].as_f64().unwrap() > 0.0);
    let next = told(&larder, json!({ "url": "http://larder.test/posts/2?token=secret" })).await;
    assert_eq!(next["last"]["reason"], "cookie", "{next}");
    assert_eq!(next["personal"], Value::Null, "it was asked without");
    let headers = json!([["cookie", "sid=secret; theme=dark"], ["cookie", "sid=another"]]);
    let url = "http://larder.test/posts/2?token=secret";
    let named = told(&larder, json!({ "url": url, "headers": headers })).await;
    assert_eq!(named["personal"]["cookies"], json!(["sid", "theme"]), "{named}");
    assert_eq!(named["personal"]["remedy"], "ignore_cookies = [\"sid\", \"theme\"]");
    assert!(!named["personal"].to_string().contains("dark"), "{named}");
    let other = told(&larder, json!({ "url": "http://larder.test/posts/2?token=another" })).await;
    assert_eq!(other["last"], Value::Null, "{other}");
    assert_eq!(larder.get_from_admin("/v1/requests/0").await.status(), 404);
    // A hit has one where it is asked for; one that a gateway behind this has given is of another request.
    let of_another = "cache-control: max-age=60\r\nlarder-request: of-another\r\n";
    let origin = Origin::saying(ok(of_another, "a")).await;
    let (_folder, larder) = routed(&origin).await;
    larder.get("/posts/3").await;
    assert_eq!(larder.get("/posts/3").await.field("larder-request"), None);
    let asked = larder.get_with("/posts/3", "larder-explain: 1\r\n").await;
    let past = larder
        .get_from_admin(&format!("/v1/requests/{}", asked.field("larder-request").unwrap()))
        .await;
    assert!(past.text().contains("\"verdict\":\"hit\""), "{}", past.text());
}

#[tokio::test]
async fn a_plain_hit_has_an_id_where_chance_has_it() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let listeners = LISTENERS.replacen("[server]\n", "[server]\nsampled_hits = 1\n", 1);
    let text = format!("{listeners}[upstream.blog]\nurl = \"http://{}\"\n", origin.address);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    larder.get("/posts/3").await;
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let hit = larder.get("/posts/3").await;
        let id = hit.field("larder-request").unwrap().to_owned();
        let past = larder.get_from_admin(&format!("/v1/requests/{id}")).await;
        assert!(past.text().contains("\"verdict\":\"hit\""), "{}", past.text());
        ids.insert(id);
    }
    assert_eq!((ids.len(), origin.requests().len()), (3, 1));
}

#[tokio::test]
async fn the_command_prints_a_tree_and_tells_by_its_exit_code() {
    let origin = Origin::saying(ok("", "a")).await;
    let (folder, larder) = routed(&origin).await;
    let admin = larder.admin().to_string();
    let url = "http://larder.test/posts/1?utm_source=x";
    let with_admin = |arguments: &[&str]| -> Vec<String> {
        let all = ["explain", "--admin", &admin].into_iter().chain(arguments.iter().copied());
        all.map(str::to_owned).collect()
    };
    fs::write(
        folder.path().join("new.toml"),
        "[upstream.blog]\nurl = \"http://127.0.0.1:1\"\n[defaults]\ncache = false\n",
    )
    .unwrap();
    for (arguments, code, words) in [
        (
            &[url][..],
            0,
            &["miss (uri-miss)", "ttl = \"5m\"", "without utm_source (tracking parameter)"][..],
        ),
        (&[url, "-H", "accept-encoding: br", "-X", "HEAD", "--json"], 0, &["\"method\":\"HEAD\""]),
        (
            &[url, "--policy-file", "new.toml"],
            0,
            &["by new.toml", "verdict  miss → pass", "cache = false  new.toml:4"],
        ),
        (&["--", "curl", "-H", "x: 1", url], 0, &["miss (uri-miss)"]),
        (
            &["--", "curl 'http://larder.test/posts/1' \\\n -I"],
            0,
            &["HEAD http://larder.test/posts/1"],
        ),
        (&["/posts/1"], 2, &["not a whole URL"]),
        (&[url, "--policy-file", "nowhere.toml"], 2, &["cannot read nowhere.toml"]),
        (&[url, "--policy-file", "larder.log"], 2, &["cannot read larder.log"]),
        (&["--request", "00"], 1, &["no request of this id"]),
        (&[], 2, &["required"]),
    ] {
        let arguments = with_admin(arguments);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let exit = run_in(folder.path(), &arguments).await;
        assert_eq!(exit.code, Some(code), "{arguments:?}: {} {}", exit.out, exit.log);
        let said = format!("{}{}", exit.out, exit.log);
        assert!(words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
        assert!(!said.contains('\u{1b}'), "colours are for terminals");
    }
    let exit = run(&["explain", url, "--admin", "127.0.0.1:1"]).await;
    assert_eq!(exit.code, Some(1), "{}", exit.log);
}
