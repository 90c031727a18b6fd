//! Which address is asked.

use super::*;
use crate::support::{eventually, larder::request};

#[tokio::test]
async fn requests_are_shared_out_by_weights() {
    let [a, b, spare] = [saying("a").await, saying("b").await, saying("spare").await];
    let text = format!(
        "{LISTENERS}[upstream.app]\nbalance = \"round-robin\"\n\
         [[upstream.app.server]]\nurl = \"http://{}\"\nweight = 3\n\
         [[upstream.app.server]]\nurl = \"http://{}\"\n\
         [[upstream.app.server]]\nurl = \"http://{}\"\nbackup = true\n",
        a.address, b.address, spare.address
    );
    let site = Site::of(&text).await;
    let mut order = String::new();
    for _ in 0..8 {
        order += site.larder.get("/").await.text();
    }
    assert_eq!(order, "aabaaaba");
    let counts = [&a, &b, &spare].map(|origin| origin.requests().len());
    assert_eq!(counts, [6, 2, 0]);
    assert_eq!(site.number("larder_upstream_requests_total", a.address, "").await, 6.0);
    drop((a, b));
    // The others refuse, and this is what the backup is for.
    assert_eq!(site.larder.get("/").await.text(), "spare");
}

#[tokio::test]
async fn an_address_that_hangs_gets_no_more_requests_while_others_answer() {
    let (hanging, fine) = (silent().await, saying("fine").await);
    let site = Site::with(&[hanging.address, fine.address], "").await;
    let mut waiting = site.larder.connect().await;
    waiting.send(request("GET", "/waits", "")).await;
    let has_come = async || (!hanging.requests().is_empty()).then_some(());
    eventually("the first request", has_come).await;
    for _ in 0..10 {
        assert_eq!(site.larder.get("/").await.text(), "fine");
    }
    assert_eq!((hanging.requests().len(), fine.requests().len()), (1, 10));
    let outstanding = "larder_upstream_outstanding";
    assert_eq!(site.number(outstanding, hanging.address, "").await, 1.0);
    drop(waiting);
    // Who leaves takes his request along.
    let is_gone =
        async || (site.number(outstanding, hanging.address, "").await == 0.0).then_some(());
    eventually("no request there", is_gone).await;
}

#[tokio::test]
async fn an_address_without_a_connection_to_spare_is_passed_over() {
    let (narrow, wide) = (silent().await, silent().await);
    let text = format!(
        "{LISTENERS}[upstream.app]\nbalance = \"round-robin\"\n\
         [[upstream.app.server]]\nurl = \"http://{}\"\nmax_connections = 1\n\
         [[upstream.app.server]]\nurl = \"http://{}\"\n",
        narrow.address, wide.address
    );
    let site = Site::of(&text).await;
    let mut readers = Vec::new();
    for number in 1..=6 {
        let mut reader = site.larder.connect().await;
        reader.send(request("GET", &format!("/{number}"), "")).await;
        readers.push(reader);
        let asked = || narrow.requests().len() + wide.requests().len();
        eventually("the request", async || (asked() == number).then_some(())).await;
    }
    assert_eq!((narrow.requests().len(), wide.requests().len()), (1, 5));
}
