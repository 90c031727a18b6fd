//! What a purge has marked stale is asked for again behind it, what was read most first, and no faster than it may.

use std::{fs, sync::Arc};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::support::{
    eventually,
    larder::{Larder, run},
    origin::{Origin, ok},
};

struct Site {
    origin: Origin,
    larder: Larder,
    /// Each request to the origin takes one before it is answered.
    answers: Arc<Semaphore>,
    _folder: TempDir,
}

/// Answers have the tag `all`; `/private` varies by a cookie, `/keyed` by a field that may be a secret, `/words` by language.
impl Site {
    async fn with(text: &str) -> Site {
        let answers = Arc::new(Semaphore::new(1000));
        let taken = Arc::clone(&answers);
        let origin = Origin::playing(move |mut visit| {
            let taken = Arc::clone(&taken);
            async move {
                while let Some(head) = visit.request().await {
                    taken.acquire().await.unwrap().forget();
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    let more = match path.as_str() {
                        "/private" => "vary: cookie\r\n",
                        "/keyed" => "vary: x-api-key\r\n",
                        "/words" => "vary: accept-language\r\n",
                        _ => "",
                    };
                    let fields = format!(
                        "cache-control: public, max-age=600, stale-while-revalidate=600\r\nsurrogate-key: all\r\n{more}"
                    );
                    if !visit.send(ok(&fields, &path)).await {
                        return;
                    }
                }
            }
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[server]\nlisten = 0\n[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{}\"\n{text}",
            origin.address
        );
        fs::write(folder.path().join("larder.toml"), text).unwrap();
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        Site { origin, larder, answers, _folder: folder }
    }

    /// Reads each so often, beyond the first time.
    async fn read(&self, reads: &[(&str, usize)]) {
        for (path, times) in reads {
            for _ in 0..=*times {
                self.larder.get(path).await;
            }
        }
    }

    async fn purge(&self, body: &str) -> Value {
        let answer = self.larder.post_to_admin("/v1/purge", body).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        serde_json::from_str(answer.text()).unwrap()
    }

    /// Which paths the origin was asked for since there were `before` requests.
    fn asked(&self, before: usize) -> Vec<String> {
        let heads = self.origin.requests().into_iter().skip(before);
        heads.map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect()
    }

    async fn refreshes(&self, outcome: &str) -> f64 {
        self.larder.metric(&format!("larder_purge_refreshes_total{{outcome=\"{outcome}\"}}")).await
    }
}

#[tokio::test]
async fn what_was_read_most_is_asked_for_first_and_the_rest_is_left_to_its_readers() {
    let site = Site::with("[purge]\nrefresh_queue = 2\nrefresh_at_once = 1\n").await;
    site.read(&[("/cold", 0), ("/hot", 6), ("/warm", 2)]).await;
    let before = site.origin.requests().len();
    let purged = site.purge(r#"{"tags":["all"],"refresh":true}"#).await;
    assert_eq!(purged["refresh"]["queued"], 2, "{purged}");
    assert_eq!(purged["refresh"]["left_out"], 1, "{purged}");
    eventually("two refreshes", async || (site.refreshes("answered").await == 2.0).then_some(()))
        .await;
    eventually("both requests", async || (site.asked(before).len() == 2).then_some(())).await;
    assert_eq!(site.asked(before), ["/hot", "/warm"]);
    assert_eq!(site.refreshes("left_out").await, 1.0);
    // They are fresh again, and nobody has read them meanwhile.
    eventually("a hit", async || {
        (site.larder.get("/hot").await.head.contains("detail=hit")).then_some(())
    })
    .await;
    assert_eq!(site.asked(before).len(), 2);
}

/// As applications purge that are set up for other caches, and say nothing of refreshing.
#[tokio::test]
async fn where_requests_come_as_well_what_is_purged_is_asked_for_again() {
    let site = Site::with("[purge]\nallow = [\"127.0.0.1\"]\nrefresh = true\n").await;
    site.read(&[("/cold", 0), ("/hot", 3)]).await;
    let before = site.origin.requests().len();
    let mut wire = site.larder.connect().await;
    wire.send("PURGE / HTTP/1.1\r\nhost: larder.test\r\nsurrogate-key: all\r\n\r\n").await;
    let purged = wire.answer().await;
    let told: Value = serde_json::from_str(purged.text()).unwrap();
    assert_eq!(told["refresh"], serde_json::json!({ "queued": 2, "left_out": 0 }), "{told}");
    eventually("two refreshes", async || (site.refreshes("answered").await == 2.0).then_some(()))
        .await;
    assert_eq!(site.asked(before), ["/hot", "/cold"]);
    // Of a hard one nothing is left to ask for.
    wire.send("PURGEKEYS / HTTP/1.1\r\nhost: larder.test\r\nxkey-purge: all\r\n\r\n").await;
    let purged = wire.answer().await;
    let told: Value = serde_json::from_str(purged.text()).unwrap();
    assert_eq!((&told["mode"], &told["refresh"]), (&"hard".into(), &Value::Null), "{told}");
}

#[tokio::test]
async fn no_more_are_under_way_at_once_than_may_be() {
    let site = Site::with("[purge]\nrefresh_at_once = 2\n").await;
    let paths: Vec<_> = (0..6).map(|number| format!("/{number}")).collect();
    for path in &paths {
        site.larder.get(path).await;
    }
    let before = site.origin.requests().len();
    // From here on the origin answers one request for each permit.
    let permits = site.answers.available_permits();
    site.answers.forget_permits(permits);
    let purged = site.purge(r#"{"prefix":"http://larder.test/","refresh":true}"#).await;
    assert_eq!(purged["refresh"]["queued"], 6, "{purged}");
    for answered in 0..=4 {
        eventually("two more", async || (site.asked(before).len() == answered + 2).then_some(()))
            .await;
        assert_eq!(
            site.larder.metric("larder_purge_refreshes_waiting").await,
            (4 - answered) as f64
        );
        site.answers.add_permits(1);
    }
    site.answers.add_permits(1);
    eventually("all of them", async || (site.refreshes("answered").await == 6.0).then_some(()))
        .await;
}

#[tokio::test]
async fn nobody_s_cookie_is_sent_and_fields_that_tell_of_nobody_are() {
    let site = Site::with("[defaults]\ncookies_matter = false\n").await;
    site.larder.get_with("/private", "cookie: session=1\r\n").await;
    site.larder.get_with("/keyed", "x-api-key: secret\r\n").await;
    site.larder.get_with("/words", "accept-language: de\r\n").await;
    let before = site.origin.requests().len();
    let purged = site.purge(r#"{"all":true,"refresh":true}"#).await;
    assert_eq!(purged["refresh"]["queued"], 1, "{purged}");
    assert_eq!(purged["refresh"]["left_out"], 2, "{purged}");
    eventually("one request", async || (site.asked(before).len() == 1).then_some(())).await;
    let heads = site.origin.requests();
    assert!(heads[before].contains("accept-language: de"), "{}", heads[before]);
    let tells = |head: &String| head.contains("cookie:") || head.contains("secret");
    assert!(!heads.iter().skip(before).any(tells), "{heads:?}");
}

#[tokio::test]
async fn the_command_says_what_is_asked_for_and_a_hard_purge_leaves_nothing_to() {
    let site = Site::with("").await;
    site.read(&[("/a", 1)]).await;
    let admin = site.larder.admin().to_string();
    let exit = run(&["purge", "--tag", "all", "--refresh", "--admin", &admin]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    assert!(
        exit.out.contains("1 to be asked for again, 0 left to their next readers"),
        "{}",
        exit.out
    );
    let both = r#"{"all":true,"mode":"hard","refresh":true}"#;
    let refused = site.larder.post_to_admin("/v1/purge", both).await;
    assert_eq!(refused.status(), 422, "{}", refused.text());
    let exit = run(&["purge", "--all", "--refresh", "--hard", "--admin", &admin]).await;
    assert_eq!(exit.code, Some(2), "{}", exit.log);
}
