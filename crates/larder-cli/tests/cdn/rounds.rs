//! Rounds: a page changes, is purged, and is read through the outer cache, with readers all the time.

use std::{
    env,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinSet};

use crate::{
    outer::Varnish,
    site::{PAGES, Pages, Site, read, state, tag},
    support::{eventually, free_port, nginx::Nginx, origin::Origin},
};

/// What answers that are on their way are waited for beyond their end.
const OUTBOX: &str = "[outbox]\nsettle = \"50ms\"\n";

/// How many rounds there are for all pages together: `LARDER_ROUNDS`, or few enough for each change to Larder.
fn rounds() -> usize {
    env::var("LARDER_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(304)
}

/// The oldest version of each page that may still be served: the last of which the receipt says that it is confirmed.
type Oldest = Arc<[AtomicU64; PAGES]>;

/// Readers of all pages, one after the other, until this is dropped.
struct Readers(Arc<AtomicBool>, JoinSet<()>);

impl Readers {
    fn of(outer: SocketAddr, oldest: &Oldest) -> Readers {
        let goes_on = Arc::new(AtomicBool::new(true));
        let mut readers = JoinSet::new();
        for first in 0..4 {
            let (goes_on, oldest) = (Arc::clone(&goes_on), Arc::clone(oldest));
            readers.spawn(async move {
                for page in (first..).map(|turn| turn % PAGES) {
                    if !goes_on.load(Relaxed) {
                        break;
                    }
                    let confirmed = oldest[page].load(SeqCst);
                    let found = read(outer, page).await;
                    assert!(found >= confirmed, "{found} of page {page} after {confirmed}");
                }
            });
        }
        Readers(goes_on, readers)
    }

    /// None of them has found anything that was no page, or was older than what was confirmed before it asked.
    async fn end(mut self) {
        self.0.store(false, Relaxed);
        while let Some(ended) = self.1.join_next().await {
            ended.unwrap();
        }
    }
}

async fn never_old(pages: Pages, site: Site, outer: SocketAddr, what: fn(usize) -> Value) {
    let oldest = Oldest::default();
    let readers = Readers::of(outer, &oldest);
    let site = Arc::new(site);
    let mut writers = JoinSet::new();
    for page in 0..PAGES {
        let (pages, site, oldest) = (pages.clone(), Arc::clone(&site), Arc::clone(&oldest));
        writers.spawn(async move {
            for _ in 0..rounds() / PAGES {
                let version = pages.change(page);
                let story = site.purge(what(page), Duration::from_secs(60)).await;
                assert_eq!(state(&story), "confirmed", "{story}\n{}", site.larder.log());
                oldest[page].store(version, SeqCst);
                let found = read(outer, page).await;
                assert!(found >= version, "{found} after {version} was confirmed: {story}");
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    readers.end().await;
    let calls = site.larder.metric("larder_cdn_calls_total{outcome=\"done\"}").await;
    assert!(calls >= (rounds() / PAGES) as f64, "{calls}");
}

async fn nginx_before(port: u16) -> Nginx {
    Nginx::start_with(
        "load_module /usr/lib/nginx/modules/ngx_http_cache_purge_module.so;",
        "access_log off; proxy_cache_path cache keys_zone=pages:1m;",
        // Debian's module crashes nginx where it is asked with the method PURGE.
        &format!(
            "location / {{
                proxy_pass http://127.0.0.1:{port}; proxy_set_header Host $host;
                proxy_cache pages; proxy_cache_key $scheme$host$uri;
            }}
            location ~ ^/purge(/.*) {{
                allow 127.0.0.1; deny all; proxy_cache_purge pages $scheme$host$1;
            }}"
        ),
    )
    .await
}

fn told_at(nginx: &Nginx) -> String {
    format!(
        "[[cdn]]\n[cdn.nginx]\napi = \"http://{}\"\nlocation = \"/purge\"\nabsent_status = 404\n{OUTBOX}",
        nginx.address
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn varnish_serves_nothing_old_once_a_purge_by_tag_is_confirmed() {
    let pages = Pages::new();
    let (origin, port) = (pages.serve().await, free_port());
    let varnish = Varnish::before(port).await;
    let cdn = format!("[[cdn]]\n[cdn.varnish]\napi = \"http://{}\"\n{OUTBOX}", varnish.address);
    let site = Site::at(port, origin.address, &cdn).await;
    never_old(pages, site, varnish.address, tag).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_serves_nothing_old_once_a_purge_by_url_is_confirmed() {
    let pages = Pages::new();
    let (origin, port) = (pages.serve().await, free_port());
    let nginx = nginx_before(port).await;
    let cdn = told_at(&nginx);
    let site = Site::at(port, origin.address, &cdn).await;
    let url = |page| json!({ "keys": [format!("http://larder.test/p{page}")] });
    never_old(pages, site, nginx.address, url).await;
}

/// By xkey, as Debian has it.
#[tokio::test]
async fn what_is_purged_softly_by_tag_varnish_serves_once_more_while_it_asks_for_it() {
    for (mode, first) in [("soft", 1), ("hard", 2)] {
        let pages = Pages::new();
        let (origin, port) = (pages.serve().await, free_port());
        let varnish = Varnish::with_grace(port, "60s").await;
        let cdn = format!("[[cdn]]\n[cdn.varnish]\napi = \"http://{}\"\n{OUTBOX}", varnish.address);
        let site = Site::at(port, origin.address, &cdn).await;
        assert_eq!((read(varnish.address, 0).await, read(varnish.address, 1).await), (1, 1));
        assert_eq!((pages.change(0), pages.change(1)), (2, 2));
        let purge = json!({ "tags": ["p0"], "mode": mode, "wait": "cdn", "timeout_ms": 30_000 });
        let story = site.post(&purge).await;
        assert_eq!(state(&story), "confirmed", "{story}");
        assert_eq!(read(varnish.address, 0).await, first, "{mode}");
        eventually("the new page", async || (read(varnish.address, 0).await == 2).then_some(()))
            .await;
        assert_eq!(read(varnish.address, 1).await, 1, "what does not carry the tag stays");
    }
}

#[tokio::test]
async fn an_answer_that_was_on_its_way_when_a_purge_came_is_purged_as_well() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let go_on = Arc::new(Notify::new());
    let held = Arc::clone(&go_on);
    // The first answer stops in the middle.
    let origin = Origin::playing(move |mut visit| {
        let held = Arc::clone(&held);
        async move {
            while visit.request().await.is_some() {
                let first = ASKED.fetch_add(1, SeqCst) == 0;
                let head =
                    "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 2\r\n\r\n";
                visit.send(format!("{head}{}", if first { 1 } else { 2 })).await;
                if first {
                    held.notified().await;
                }
                visit.send("0").await;
            }
        }
    })
    .await;
    let port = free_port();
    let nginx = nginx_before(port).await;
    let site = Site::at(port, origin.address, &told_at(&nginx)).await;
    let reader = tokio::spawn(read(nginx.address, 0));
    eventually("the origin to be asked", async || (ASKED.load(SeqCst) > 0).then_some(())).await;
    let url = json!({ "keys": ["http://larder.test/p0"], "mode": "hard" });
    let story = site.post(&url).await;
    let id = story["id"].as_str().unwrap();
    let is = |wanted: &'static str| {
        let site = &site;
        async move || (state(&site.story(id).await) == wanted).then_some(())
    };
    eventually("nginx to be told", is("sent")).await;
    go_on.notify_one();
    assert_eq!(reader.await.unwrap(), 10);
    eventually("it to be confirmed", is("confirmed")).await;
    assert_eq!(read(nginx.address, 0).await, 20);
}
