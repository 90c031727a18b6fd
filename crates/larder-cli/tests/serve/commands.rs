//! `larder purge`, `larder stats` and `larder entries`: commands that ask a gateway that runs.

use crate::support::{
    Redis, eventually,
    larder::{Larder, run, run_with},
    origin::{Origin, ok},
};

async fn tagged() -> Origin {
    Origin::saying(ok("cache-control: max-age=600\r\nsurrogate-key: all\r\n", "a")).await
}

#[tokio::test]
async fn whatever_names_a_page_purges_it() {
    let origin = tagged().await;
    let larder = Larder::before(origin.address).await;
    let admin = format!("http://{}/", larder.admin());
    for (arguments, what) in [
        (vec!["--url", "http://larder.test/a/b"], "key http://larder.test/a/b (soft"),
        (vec!["--url", "larder.test/a/b", "--hard"], "key //larder.test/a/b (hard"),
        (vec!["--tag", "all"], "tag all (soft"),
        (vec!["--prefix", "larder.test/a"], "prefix //larder.test/a (soft"),
        (vec!["--host", "larder.test"], "prefix //larder.test/ (soft"),
        (vec!["--glob", "larder.test/*/b"], "glob //larder.test/*/b (soft"),
        (vec!["--all"], "everything (soft"),
    ] {
        larder.get("/a/b").await;
        assert_eq!(larder.get("/a/b").await.handling(), "hit", "{arguments:?}");
        let arguments = [&["purge", "--admin", &admin], &arguments[..]].concat();
        let exit = run(&arguments).await;
        assert_eq!(exit.code, Some(0), "{arguments:?}: {}", exit.log);
        assert!(exit.out.contains(what), "{arguments:?}: {}", exit.out);
        assert!(exit.out.contains("memory  applied by 1 of 1"), "{}", exit.out);
        assert_ne!(larder.get("/a/b").await.handling(), "hit", "{arguments:?}");
    }
    let exit = run(&["purge", "--admin", &admin, "--url", "larder.test/a/c", "--json"]).await;
    assert!(exit.out.contains("\"did_you_mean\":[\"http://larder.test/a/b\"]"), "{}", exit.out);
    let exit = run_with(&["stats"], &[("LARDER_ADMIN", &admin)]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    assert!(exit.out.contains("hit ratio") && exit.out.contains("8 purges"), "{}", exit.out);
}

#[tokio::test]
async fn what_is_held_is_printed_in_an_order_and_by_route() {
    let (origin, folder) = (tagged().await, tempfile::tempdir().unwrap());
    let text = format!(
        "[server]\nlisten = 0\n[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{}\"\n\
         [[route]]\npath = \"/posts/{{id}}\"\nmax_ttl = \"5m\"\n",
        origin.address
    );
    std::fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    for path in ["/posts/2", "/posts/1", "/about"] {
        larder.get(path).await;
        assert_eq!(larder.get(path).await.handling(), "hit", "{path}");
    }
    let admin = larder.admin().to_string();
    let entries = async |arguments: &[&str]| {
        let exit = run(&[&["entries", "--admin", &admin], arguments].concat()).await;
        assert_eq!(exit.code, Some(0), "{arguments:?}: {}", exit.log);
        exit.out
    };
    let listed = entries(&["--order", "key"]).await;
    let places: Vec<_> = ["/about", "/posts/1", "/posts/2"].map(|path| listed.find(path)).into();
    assert!(places.is_sorted() && places[0].is_some(), "{listed}");
    assert!(listed.contains("3 of 3 entries"), "{listed}");
    let json = entries(&["--route", "/posts/{id}", "--limit", "1", "--json"]).await;
    let said: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&said["total"], said["entries"].as_array().unwrap().len()),
        (&2.into(), 1),
        "{said}"
    );
    let entry = &said["entries"][0];
    assert_eq!(
        (&entry["route"], &entry["tags"][0]),
        (&"/posts/{id}".into(), &"all".into()),
        "{entry}"
    );
    // By the rules of its route, whatever the answer says.
    assert!(entry["fresh_for_seconds"].as_f64().unwrap() <= 300.0, "{entry}");
    let prefix = entries(&["--prefix", "http://LARDER.test:80/about"]).await;
    assert!(prefix.contains("1 of 1 entries"), "{prefix}");
    assert!(entries(&["--contains", "/posts/"]).await.contains("2 of 2 entries"));
    assert!(
        entries(&["--contains", "abou", "--cache", "gateway"]).await.contains("1 of 1 entries")
    );
    assert!(entries(&["--tag", "none"]).await.contains("0 of 0 entries"));
    for (arguments, code) in [
        (vec!["entries", "--admin", "127.0.0.1:1"], 1),
        (vec!["entries", "--limit", "0", "--admin", &admin], 2),
        (vec!["entries", "--cache", "nobody", "--admin", &admin], 1),
        (vec!["entries", "--order", "size", "--admin", &admin], 2),
    ] {
        assert_eq!(run(&arguments).await.code, Some(code), "{arguments:?}");
    }
    // What a purge by tag has ended is there until it is swept, and is served to nobody.
    assert_eq!(run(&["purge", "--tag", "all", "--hard", "--admin", &admin]).await.code, Some(0));
    eventually("it is swept", async || {
        let listed = entries(&["--order", "bytes"]).await;
        listed.contains("0 of 0 entries").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_was_not_done_is_told_with_an_exit_code() {
    let origin = tagged().await;
    let larder = Larder::before(origin.address).await;
    let (admin, data) = (larder.admin().to_string(), larder.address.to_string());
    for (arguments, code, words) in [
        (vec!["purge"], 2, "--url <URL>"),
        (vec!["purge", "--all", "--host", "a"], 2, "cannot be used with"),
        (vec!["purge", "--url", "/a"], 2, "say the host as well"),
        (vec!["purge", "--all", "--admin", "127.0.0.1:1"], 1, "no gateway answers at"),
        (vec!["purge", "--all", "--admin", &data], 1, "is no admin API of Larder"),
        (
            vec!["purge", "--all", "--admin", &admin, "--wait", "shared"],
            2,
            "there is no tier shared",
        ),
        (vec!["purge", "--glob", "a", "--admin", &admin], 2, "there is no * in it"),
        (vec!["purge", "--all", "--token-file", "nowhere"], 2, "cannot read the token in nowhere"),
        (vec!["stats", "--admin", "127.0.0.1:1"], 1, "no gateway answers at"),
    ] {
        let exit = run(&arguments).await;
        assert_eq!(exit.code, Some(code), "{arguments:?}: {}", exit.log);
        assert!(exit.log.contains(words), "{arguments:?}: {}", exit.log);
    }
}

#[tokio::test]
async fn who_waits_for_all_gateways_is_told_whether_they_have_it() {
    let (origin, mut redis) = (tagged().await, Redis::start().await);
    let larder = Larder::with(origin.address, &["--shared", &redis.url()]).await;
    let admin = larder.admin().to_string();
    let arguments =
        ["purge", "--all", "--wait", "shared", "--timeout", "20s", "--admin", admin.as_str()];
    let exit = run(&arguments).await;
    assert_eq!(exit.code, Some(0), "{} {}", exit.out, exit.log);
    assert!(exit.out.contains("shared  applied by 1 of 1"), "{}", exit.out);
    redis.kill().await;
    let exit = run(&[&arguments[..4], &["--timeout", "100ms"], &arguments[6..]].concat()).await;
    assert_eq!(exit.code, Some(1), "{} {}", exit.out, exit.log);
    assert!(exit.log.contains("not everywhere yet"), "{}", exit.log);
}
