//! Addresses that come and go while requests are answered.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use rustix::process::Signal;

use super::*;
use crate::support::{Wire, eventually};

#[tokio::test]
async fn no_request_fails_while_addresses_come_and_go() {
    let origins = [saying("a").await, saying("b").await, saying("c").await];
    let [a, b, c] = [0, 1, 2].map(|index: usize| origins[index].address);
    let site = Site::with(&[a, b], "").await;
    let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let address = site.larder.address;
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut wire = Wire::connect(address).await;
                while !is_over.load(Ordering::Relaxed) {
                    wire.send("GET / HTTP/1.1\r\nhost: larder.test\r\n\r\n").await;
                    assert_eq!(wire.answer().await.status(), 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut applied = 0.0;
    for round in 0..15 {
        let now = match round % 4 {
            0 => vec![b, c],
            1 => vec![c],
            2 => vec![a, b, c],
            _ => vec![a, b],
        };
        fs::write(site.folder.path().join("larder.toml"), file(&now, "")).unwrap();
        applied += 1.0;
        site.larder.signal(Signal::HUP);
        let name = "larder_config_reloads_total{outcome=\"applied\"}";
        let is_applied = async || (site.larder.metric(name).await == applied).then_some(());
        eventually("the new file", is_applied).await;
        let before = answered.load(Ordering::Relaxed);
        let goes_on = async || (answered.load(Ordering::Relaxed) > before + 4).then_some(());
        eventually("further answers", goes_on).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(origins.iter().all(|origin| !origin.requests().is_empty()));
}

#[tokio::test]
async fn what_is_known_of_an_address_outlives_a_new_file() {
    let (bad, fine, new) = (resetting().await, saying("fine").await, saying("new").await);
    let text =
        "balance = \"round-robin\"\n[upstream.app.breaker]\nfailures = 1\nback_off = \"1m\"\n";
    let site = Site::with(&[bad.address, fine.address], text).await;
    assert_eq!(site.larder.get("/").await.text(), "fine");
    for (reloads, addresses) in
        [&[bad.address, fine.address][..], &[bad.address, fine.address, new.address]]
            .iter()
            .enumerate()
    {
        fs::write(site.folder.path().join("larder.toml"), file(addresses, text)).unwrap();
        site.larder.signal(Signal::HUP);
        let name = "larder_config_reloads_total{outcome=\"applied\"}";
        let is_applied =
            async || (site.larder.metric(name).await == (reloads + 1) as f64).then_some(());
        eventually("the new file", is_applied).await;
        for _ in 0..6 {
            assert_eq!(site.larder.get("/").await.status(), 200);
        }
        assert_eq!(bad.requests().len(), 1, "it is still left alone");
        assert_eq!(site.number("larder_upstream_requests_total", bad.address, "").await, 1.0);
    }
    assert!(!new.requests().is_empty());
}
