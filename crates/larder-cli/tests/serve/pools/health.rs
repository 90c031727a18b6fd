//! Addresses that are asked how they are.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::support::eventually;

/// Says at /health how it is, and is well otherwise.
async fn with_health(name: &'static str) -> (Origin, Arc<AtomicBool>) {
    let is_well = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&is_well);
    let origin = Origin::answering(move |head| {
        let is_check =
            head.starts_with("GET /health?deep=1 ") && head.contains("host: app.test\r\n");
        match is_check && !says.load(Ordering::Relaxed) {
            true => b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec(),
            false => ok(NO_STORE, name),
        }
    })
    .await;
    (origin, is_well)
}

const HEALTH: &str = "balance = \"round-robin\"\n[upstream.app.health]\npath = \"/health?deep=1\"\n\
                      host = \"app.test\"\nevery = \"20ms\"\nexpect = [200]\n";

fn asked(origin: &Origin) -> usize {
    origin.requests().iter().filter(|head| head.starts_with("GET / ")).count()
}

#[tokio::test]
async fn an_address_that_says_it_is_not_well_gets_no_requests_until_it_says_otherwise() {
    let (one, one_is_well) = with_health("one").await;
    let (other, other_is_well) = with_health("other").await;
    let site = Site::with(&[one.address, other.address], HEALTH).await;
    one_is_well.store(false, Ordering::Relaxed);
    site.larder.told(&format!("http://{} is not well", one.address)).await;
    let before = asked(&one);
    for _ in 0..10 {
        assert_eq!(site.larder.get("/").await.text(), "other");
    }
    assert_eq!(asked(&one), before);
    assert_eq!(site.number("larder_upstream_healthy", one.address, "").await, 0.0);
    // Where none says that it is well, those that answer are asked all the same.
    other_is_well.store(false, Ordering::Relaxed);
    site.larder.told(&format!("http://{} is not well", other.address)).await;
    for _ in 0..4 {
        assert_eq!(site.larder.get("/").await.status(), 200);
    }
    let ready = site.larder.get_from_admin("/readyz").await;
    assert_eq!(ready.status(), 200);
    assert!(ready.text().contains("upstream app is down"), "{}", ready.text());
    one_is_well.store(true, Ordering::Relaxed);
    other_is_well.store(true, Ordering::Relaxed);
    let is_ready =
        async || (site.larder.get_from_admin("/readyz").await.text() == "ready").then_some(());
    eventually("both to be well", is_ready).await;
    site.larder.told("is well again").await;
}

#[tokio::test]
async fn the_questions_end_with_their_service() {
    let (one, _) = with_health("one").await;
    let other = saying("other").await;
    let site = Site::with(&[one.address], HEALTH).await;
    let is_asked = async || (one.requests().len() > 2).then_some(());
    eventually("questions", is_asked).await;
    fs::write(site.folder.path().join("larder.toml"), file(&[other.address], "")).unwrap();
    site.larder.signal(rustix::process::Signal::HUP);
    site.larder.told("the settings are those of").await;
    assert_eq!(site.larder.get("/").await.text(), "other");
    let asked = one.requests().len();
    // As long as ten questions would have taken.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(one.requests().len() <= asked + 1, "{} after {asked}", one.requests().len());
}
