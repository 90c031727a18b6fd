//! Left: what a purge names that no CDN can have, and what waits for one that is taken away, is said.

use std::{fs, time::Duration};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    crash::Told,
    site::{Site, state, write},
    support::{
        eventually,
        larder::Larder,
        origin::{Origin, ok},
    },
};

const LONG: Duration = Duration::from_secs(30);

fn tables(names: &[&str], cdn: &Origin) -> String {
    let each = |name: &&str| {
        format!("[[cdn]]\nname = \"{name}\"\n[cdn.larder]\napi = \"http://{}\"\n", cdn.address)
    };
    let cdns: String = names.iter().map(each).collect();
    format!("{cdns}[outbox]\njournal = \"journal\"\nsettle = \"0s\"\n")
}

#[tokio::test]
async fn a_url_without_a_scheme_is_told_in_both_and_what_is_no_url_says_that_nothing_was() {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await;
    let told = Told::default();
    told.is_up.store(true, std::sync::atomic::Ordering::SeqCst);
    let cdn = told.serve().await;
    let site = Site::before(origin.address, &tables(&["edge"], &cdn)).await;
    let calls = || told.calls.load(std::sync::atomic::Ordering::SeqCst);
    for what in [
        json!({ "keys": ["www.example.org/q"] }),
        json!({ "prefix": "www.example.org/q" }),
        json!({ "glob": "www.example.org/q*" }),
        json!({ "keys": ["http://m\u{fc}nchen.example/\u{e4}"] }),
        json!({ "keys": ["m\u{fc}nchen.example/x"] }),
    ] {
        let before = calls();
        let story = site.purge(what.clone(), LONG).await;
        assert_eq!(state(&story), "confirmed", "{story}");
        assert!(calls() > before, "{what}: {story}");
        assert!(story["tiers"]["cdn"][0].get("reason").is_none(), "{story}");
        assert!(
            story["what"][0].as_str().is_some_and(|what| what.is_ascii() || what.contains("xn--")),
            "{story}"
        );
    }
    for what in [
        json!({ "keys": ["/q"] }),
        json!({ "keys": ["ftp://www.example.org/q"] }),
        json!({ "prefix": "/q" }),
    ] {
        let before = calls();
        let story = site.purge(what.clone(), LONG).await;
        assert_eq!((state(&story), calls()), ("confirmed", before), "{story}");
        let reason = story["tiers"]["cdn"][0]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("names no URL"), "{what}: {story}");
    }
}

#[tokio::test]
async fn who_takes_away_a_cdn_for_which_purges_wait_hears_of_it_and_the_others_are_told() {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await;
    let told = Told::default();
    let cdn = told.serve().await;
    let Site { larder, folder } = Site::before(origin.address, &tables(&["a", "b"], &cdn)).await;
    let site = Site { larder, folder };
    for tag in ["one", "two"] {
        site.post(&json!({ "tags": [tag], "mode": "hard" })).await;
    }
    let Site { larder, folder } = site;
    larder.signal(Signal::KILL);
    larder.exit().await;
    told.is_up.store(true, std::sync::atomic::Ordering::SeqCst);
    write(&folder, 0, origin.address, &tables(&["a"], &cdn));
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    eventually("the others to be told", async || {
        let tags = told.tags.lock().unwrap().clone();
        ["one", "two"].iter().all(|tag| tags.iter().any(|told| told == tag)).then_some(())
    })
    .await;
    let log = larder.log();
    let line = log.lines().find(|line| line.contains("no [[cdn]] is called so any more"));
    assert!(line.is_some_and(|line| line.contains('b') && line.contains("purges=2")), "{log}");
    assert_eq!(larder.metric("larder_cdn_purges_not_told_total").await, 2.0);
}

#[tokio::test]
async fn a_journal_whose_end_is_cut_off_is_said_and_one_that_is_taken_away_is_made_again() {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await;
    let told = Told::default();
    let cdn = told.serve().await;
    let site = Site::before(origin.address, &tables(&["a"], &cdn)).await;
    site.post(&json!({ "tags": ["one"], "mode": "hard" })).await;
    let journal = site.folder.path().join("journal");
    fs::remove_file(&journal).unwrap();
    let story = site.post(&json!({ "tags": ["two"], "mode": "hard" })).await;
    assert!(story["not_on_disk"].as_str().is_some_and(|why| why.contains("removed")), "{story}");
    eventually("the file to be there again", async || journal.exists().then_some(())).await;
    // Of what is there again its story says so.
    let id = story["id"].as_str().unwrap();
    eventually("all to be on disk", async || {
        site.story(id).await.get("not_on_disk").is_none().then_some(())
    })
    .await;
    site.larder.told("the journal is not on disk").await;
    site.larder.told("the journal is on disk again").await;
    site.post(&json!({ "tags": ["three"], "mode": "hard" })).await;
    let Site { larder, folder } = site;
    larder.signal(Signal::KILL);
    larder.exit().await;
    let whole = fs::read(&journal).unwrap();
    fs::write(&journal, &whole[..whole.len() - 3]).unwrap();
    told.is_up.store(true, std::sync::atomic::Ordering::SeqCst);
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    eventually("what is whole to be told", async || {
        let tags = told.tags.lock().unwrap().clone();
        ["one", "two"].iter().all(|tag| tags.iter().any(|told| told == tag)).then_some(())
    })
    .await;
    assert!(larder.log().contains("somebody has cut off the end"), "{}", larder.log());
}
