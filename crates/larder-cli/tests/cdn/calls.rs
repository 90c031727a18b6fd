//! Calls: a receipt has every call to a CDN, by the names that the vendor gave them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::{Map, Value, json};

use crate::{
    api::api,
    site::{Site, state},
    support::{
        eventually,
        larder::run,
        origin::{Origin, ok},
    },
};

const OUTBOX: &str = "[outbox]\nsettle = \"0s\"\n";
const LONG: Duration = Duration::from_secs(60);

fn json_answer(said: &Value) -> Vec<u8> {
    ok("content-type: application/json\r\n", said.to_string())
}

fn tags(count: usize) -> Value {
    (0..count).map(|tag| format!("t{tag:04}")).collect()
}

/// All calls of the first CDN: what each was called, how far it came, and about how many purges it was.
fn calls(story: &Value) -> Vec<(String, String, u64)> {
    let calls = story["tiers"]["cdn"][0]["calls"].as_array().cloned().unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |call: &Value| {
        assert!(call["batch"].is_string() && call["at"].is_string(), "{call}");
        (word(&call["vendor_id"]), word(&call["state"]), call["purges"].as_u64().unwrap())
    };
    calls.iter().map(row).collect()
}

/// A gateway that tells this CDN; the vendor's table says whose it is.
async fn site_before(cdn: &str) -> (Origin, Site) {
    let origin = Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "s3cret").unwrap();
    crate::site::write(
        &folder,
        0,
        origin.address,
        &format!("[[cdn]]\npropagation = \"0s\"\n{cdn}{OUTBOX}"),
    );
    let larder = crate::support::larder::Larder::in_folder(folder.path(), &["serve"], &[]).await;
    (origin, Site { larder, folder })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_of_a_purge_at_fastly_has_its_id_in_the_receipt() {
    const TAGS: usize = 600;
    let given: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let giving = Arc::clone(&given);
    let cdn = api(move |_, body| {
        let said: Value = serde_json::from_str(body).unwrap();
        let mut given = giving.lock().unwrap();
        let mut ids = Map::new();
        for key in said["surrogate_keys"].as_array().unwrap() {
            let id = format!("108-{}", given.len());
            ids.insert(key.as_str().unwrap().to_owned(), id.clone().into());
            given.insert(id);
        }
        Some(json_answer(&ids.into()))
    })
    .await;
    let table = format!(
        "[cdn.fastly]\nservice = \"S1\"\ntoken_file = \"secret\"\napi = \"http://{}\"\n",
        cdn.address
    );
    let (_origin, site) = site_before(&table).await;
    let story = site.purge(json!({ "tags": tags(TAGS) }), LONG).await;
    assert_eq!(state(&story), "confirmed", "{story}");
    let told = calls(&story);
    let ids: BTreeSet<String> = told.iter().map(|(id, ..)| id.clone()).collect();
    assert_eq!(ids, *given.lock().unwrap());
    assert_eq!(told.iter().map(|(.., purges)| purges).sum::<u64>(), TAGS as u64);
    assert!(told.iter().all(|(_, state, _)| state == "confirmed"));
    assert!(story["tiers"]["cdn"][0].get("calls_left_out").is_none());
    // In a list it is told shortly, and says so.
    let list = site.larder.get_from_admin("/v1/purges").await;
    let list: Value = serde_json::from_str(list.text()).unwrap();
    let told = calls(&list["purges"][0]).len();
    let left_out = list["purges"][0]["tiers"]["cdn"][0]["calls_left_out"].as_u64().unwrap();
    assert!(told > 0 && told as u64 + left_out == TAGS as u64, "{told} and {left_out}");
    // So does the command that has asked for it, and one more has all.
    let admin = site.larder.admin().to_string();
    let mut ask = vec!["purge", "--admin", &admin, "--wait", "cdn"];
    let names: Vec<String> = (0..10).map(|tag| format!("u{tag}")).collect();
    names.iter().for_each(|name| ask.extend(["--tag", name]));
    let exit = run(&ask).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.out.contains("5 calls before these"), "{exit:?}");
    let id = exit.out.split_once("purge ").unwrap().1.split(')').next().unwrap().to_owned();
    assert_eq!(exit.out.matches("vendor id: 108-").count(), 6, "{exit:?}");
    let exit = run(&["purges", "--admin", &admin, &id]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(exit.out.matches("call ").count(), 10, "{exit:?}");
    let exit = run(&["purges", "--admin", &admin, "--since", "1h"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(exit.out.matches("by admin API").count(), 2, "{exit:?}");
    assert_eq!(run(&["purges", "--admin", &admin, "0000"]).await.code, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_of_a_large_purge_at_cloudflare_is_in_the_receipt() {
    const TAGS: usize = 250;
    let given: Arc<Mutex<Vec<(String, usize)>>> = Arc::default();
    let giving = Arc::clone(&given);
    let cdn = api(move |_, body| {
        let said: Value = serde_json::from_str(body).unwrap();
        let mut given = giving.lock().unwrap();
        let id = format!("cf-{}", given.len());
        given.push((id.clone(), said["tags"].as_array().unwrap().len()));
        Some(json_answer(&json!({ "success": true, "errors": [], "result": { "id": id } })))
    })
    .await;
    let table = format!(
        "[cdn.cloudflare]\nzone = \"z1\"\nplan = \"enterprise\"\ntoken_file = \"secret\"\napi = \"http://{}\"\n",
        cdn.address
    );
    let (_origin, site) = site_before(&table).await;
    let story = site.purge(json!({ "tags": tags(TAGS) }), LONG).await;
    assert_eq!(state(&story), "confirmed", "{story}");
    let given = given.lock().unwrap().clone();
    let told: Vec<(String, usize)> =
        calls(&story).into_iter().map(|(id, _, purges)| (id, purges as usize)).collect();
    assert_eq!(told, given);
    assert!(given.len() >= 3 && given.iter().map(|(_, tags)| tags).sum::<usize>() == TAGS);
}

/// What the two say to an order, and to a question about it.
fn said_by(vendor: &'static str, is_done: bool) -> Vec<u8> {
    match vendor {
        "cloudfront" => {
            let status = if is_done { "Completed" } else { "InProgress" };
            let body = format!("<Invalidation><Id>I1</Id><Status>{status}</Status></Invalidation>");
            ok("content-type: text/xml\r\n", &body)
        }
        _ => {
            let status = if is_done { "DONE" } else { "RUNNING" };
            json_answer(&json!({ "kind": "compute#operation", "name": "I1", "status": status }))
        }
    }
}

async fn is_sent_until_a_question_says_that_it_is_done(vendor: &'static str, table: &str) {
    let (is_done, questions) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (done, asked) = (Arc::clone(&is_done), Arc::clone(&questions));
    let cdn = api(move |head, _| {
        let is_question = head.starts_with("GET ");
        asked.fetch_add(usize::from(is_question), SeqCst);
        Some(said_by(vendor, is_question && done.load(SeqCst)))
    })
    .await;
    let table = format!("{table}api = \"http://{}\"\n", cdn.address);
    let (_origin, site) = site_before(&table).await;
    let story = site.post(&json!({ "tags": ["a"], "mode": "hard" })).await;
    let id = story["id"].as_str().unwrap();
    eventually("two questions", async || (questions.load(SeqCst) >= 2).then_some(())).await;
    let story = site.story(id).await;
    assert_eq!(state(&story), "sent", "{story}");
    assert_eq!(calls(&story), [("I1".to_owned(), "sent".to_owned(), 1)], "{story}");
    is_done.store(true, SeqCst);
    let story = eventually("it to be confirmed", async || {
        let story = site.story(id).await;
        (state(&story) == "confirmed").then_some(story)
    })
    .await;
    assert_eq!(calls(&story), [("I1".to_owned(), "confirmed".to_owned(), 1)], "{story}");
    assert_eq!(story["tiers"]["cdn"][0]["vendor_id"], "I1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_at_cloudfront_is_sent_until_it_says_that_it_is_completed() {
    let table = "[cdn.cloudfront]\ndistribution = \"E1\"\naccess_key_id = \"AKID\"\nsecret_file = \"secret\"\n";
    is_sent_until_a_question_says_that_it_is_done("cloudfront", table).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_at_google_is_sent_until_its_operation_is_done() {
    let table = "[cdn.google]\nproject = \"p\"\nurl_map = \"m\"\ntoken_file = \"secret\"\n";
    is_sent_until_a_question_says_that_it_is_done("google", table).await;
}
