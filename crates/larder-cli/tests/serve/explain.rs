//! Why a gateway that runs answers as it does: asked in its admin API and by `larder explain`, of requests to come and past.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::support::{
    answer::Answer,
    eventually, free_port,
    larder::{Larder, request, run, run_in},
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
    for (url, reason) in [
        ("http://u:p@larder.test/posts/1", "malformed"),
        ("http://larder.test:99999/posts/1", "malformed"),
    ] {
        let refused = told(&larder, json!({ "url": url })).await;
        assert_eq!(refused["verdict"]["reason"], reason, "{refused}");
        assert_eq!(refused["next"]["asks_origin"], false, "{refused}");
    }
    for (url, is_said) in
        [("http://larder.test./posts/1", true), ("http://larder.test/posts/1", false)]
    {
        let said = told(&larder, json!({ "url": url })).await.to_string();
        assert_eq!(said.contains("written otherwise than the key"), is_said, "{said}");
    }
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
async fn a_url_may_be_asked_for_as_people_write_it() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let (_folder, larder) = routed(&origin).await;
    larder.get("/posts/b%C3%A4r%20a").await;
    let told = told(&larder, json!({ "url": "http://larder.test/posts/bär a" })).await;
    assert_eq!(told["verdict"]["reason"], "hit", "{told}");
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
    assert_eq!(named["personal"]["remedy"], "ignore_cookies = [\"theme\"]");
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
async fn a_fence_and_an_offer_of_another_protocol_are_judged_as_a_request_s_are() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let text = format!(
        "{LISTENERS}[server.read_your_writes]\nsecret_file = \"secret\"\n\
         [upstream.blog]\nurl = \"http://{}\"\n[[route]]\npath = \"/plain\"\nupgrades = []\n",
        origin.address
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    for path in ["/posts/1", "/plain"] {
        larder.get(path).await;
        assert_eq!(larder.get(path).await.handling(), "hit");
    }
    let mut wire = larder.connect().await;
    wire.send(request("POST", "/posts/2", "content-length: 0\r\n")).await;
    let written = wire.answer().await;
    let fence = written.field("larder-fence").unwrap().to_owned();
    let websocket = json!([["connection", "upgrade"], ["upgrade", "websocket"]]);
    for (path, headers, verdict, says) in [
        ("/posts/1", json!([["cookie", "Larder-Fence=none"]]), "hit", ""),
        ("/posts/1", json!([["larder-fence", fence]]), "miss", "fence of its reader's own write"),
        ("/posts/1", json!([["cookie", format!("Larder-Fence={fence}")]]), "miss", "fence"),
        ("/posts/1", websocket.clone(), "pass", "go on in websocket"),
        ("/plain", websocket, "hit", "that is left out"),
    ] {
        let url = format!("http://larder.test{path}");
        let said = told(&larder, json!({ "url": url, "headers": headers })).await;
        assert_eq!(said["verdict"]["verdict"], verdict, "{said:#}");
        assert!(said["next"]["says"].as_str().unwrap().contains(says), "{said:#}");
        assert_eq!(said["personal"], Value::Null, "{said:#}");
    }
}

#[tokio::test]
async fn the_listener_that_a_url_comes_to_says_whether_it_is_answered_in_the_open() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = [free_port(), free_port()];
    let text = format!(
        "[[listener]]\nname = \"outside\"\nlisten = \"127.0.0.1:{one}\"\nredirect_to_https = 443\n\
         [[listener]]\nname = \"inside\"\nlisten = \"127.0.0.1:{two}\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[upstream.blog]\nurl = \"http://{}\"\n",
        origin.address
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let remark = "Where it comes to another listener: the listener outside answers over https only";
    for (url, verdict, says) in [
        (
            format!("http://larder.test:{one}/a"),
            "refused",
            "The listener outside answers over https only",
        ),
        (format!("http://larder.test:{two}/a"), "miss", "asks blog"),
        ("http://larder.test/a".to_owned(), "miss", remark),
        (format!("https://larder.test:{one}/a"), "miss", "asks blog"),
    ] {
        let said = told(&larder, json!({ "url": url })).await;
        assert_eq!(said["verdict"]["verdict"], verdict, "{said:#}");
        assert!(said.to_string().contains(says), "{url}: {said:#}");
        assert_eq!(said.to_string().contains("another listener"), says == remark, "{said:#}");
    }
}

#[tokio::test]
async fn what_stands_in_the_way_of_the_next_request_is_told() {
    let slow = Origin::playing(|mut visit| async move {
        visit.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{LISTENERS}[upstream.blog]\nurl = \"http://{}\"\n[upstream.gone]\nurl = \"http://127.0.0.1:{}\"\n\
         [defaults]\nupstream = \"blog\"\n\
         [[route]]\npath = \"/login\"\nupstream = \"gone\"\nrequests_per_address = 1\nrequests_burst = 1\n\
         [[route]]\npath = \"/slow/**\"\nmax_fetches = 1\n\
         [[route]]\npath = \"/gone/**\"\nupstream = \"gone\"\n",
        slow.address,
        free_port()
    );
    fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let question =
        |path: &str| json!({ "url": format!("http://larder.test{path}"), "client": "127.0.0.1" });
    let before = told(&larder, question("/login")).await;
    assert_eq!(before["verdict"]["verdict"], "miss", "{before:#}");
    // Each asks for what the next may not have at once.
    let limited = eventually("the rate", async || {
        let mut wire = larder.connect().await;
        wire.send("GET /login HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
        wire.answer().await;
        let said = told(&larder, question("/login")).await;
        (said["verdict"]["reason"] == "rate-limit").then_some(said)
    })
    .await;
    assert_eq!(limited["route"]["route"], "/login", "{limited:#}");
    assert!(limited["next"]["says"].as_str().unwrap().contains("429"), "{limited:#}");
    let mut waiting = larder.connect().await;
    waiting.send("GET /slow/a HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
    let says = async |path: &str, words: &str| {
        eventually(words, async || {
            let said = told(&larder, question(path)).await;
            said["next"]["says"].as_str().unwrap().contains(words).then_some(())
        })
        .await;
    };
    says("/slow/b", "as many as may be (max_fetches): it waits for a place").await;
    let mut line = larder.connect().await;
    line.send("GET /slow/c HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
    says("/slow/b", "as many wait (max_fetches)").await;
    eventually("an upstream that is down", async || {
        larder.get("/gone/a").await;
        let said = told(&larder, question("/gone/b")).await;
        said["next"]["says"].as_str().unwrap().contains("No address of gone answers").then_some(())
    })
    .await;
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
