//! Turns at the gateway: what those are told who get none, and who counts as a client.

use std::{net::IpAddr, time::Duration};

use larder::{
    Cache,
    http::{HttpCache, Policy, Settings, Variants},
};
use larder_gateway::{
    Gateway, GatewayConfig, ListenerRules, ServerConfig, upstream::UpstreamConfig,
};

use crate::support::{Gate, Origin, Wire, field, status, until, upstream};

/// A gateway with sixteen turns of each kind before an origin that answers only what is not `/hang…`.
async fn crowded(config: GatewayConfig) -> (Gate, HttpCache, Origin) {
    let origin = Origin::playing(async |mut wire: Wire, _| {
        while wire.has_more().await {
            if wire.head().await.contains(" /hang") {
                wire.rest().await;
                return;
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").await;
        }
    })
    .await;
    let store = Cache::<Variants>::builder().max_concurrent_fetches(16).build();
    let turn_wait = Duration::from_millis(200);
    let settings = Settings { turn_wait, max_passing: Some(16), ..Settings::default() };
    let cache = HttpCache::with_settings(store, Policy::guarded(), settings);
    let upstream = upstream(origin.address, UpstreamConfig::default());
    let gateway = Gateway::new(&cache, upstream, config);
    (Gate::serving(ServerConfig::default(), gateway), cache, origin)
}

/// Asks on a connection of its own; `fields` are whole lines.
async fn ask(gate: &Gate, method: &str, path: &str, fields: &str) -> Wire {
    let mut wire = gate.connect().await;
    wire.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    wire
}

async fn until_taken(cache: &HttpCache, turns: usize) {
    until("all turns to be taken", || cache.turns_taken() >= turns).await;
}

#[tokio::test]
async fn who_gets_no_turn_in_time_is_told_when_to_ask_again() {
    for method in ["GET", "POST"] {
        let (gate, cache, _origin) = crowded(GatewayConfig::default()).await;
        let mut hanging = Vec::new();
        // Three quarters are the path's.
        for number in 0..12 {
            hanging.push(ask(&gate, method, &format!("/hang?{number}"), "").await);
            until_taken(&cache, number + 1).await;
        }
        let (head, body) =
            ask(&gate, method, "/hang?one-more", "").await.answer().await.into_text();
        assert_eq!((status(&head), field(&head, "retry-after")), (503, Some("1")), "{head}");
        assert_eq!(field(&head, "content-type"), Some("application/problem+json"));
        let said = field(&head, "proxy-status").unwrap();
        assert!(said.starts_with("Larder;error=connection_limit_reached"), "{said}");
        assert!(body.contains("too many requests wait for the origin"), "{body}");
        // Others find turns.
        assert_eq!(ask(&gate, method, "/other", "").await.answer().await.text(), "x");
        assert_eq!(cache.cache().stats().turns_refused, 1);
    }
}

#[tokio::test]
async fn behind_a_trusted_balancer_each_of_its_readers_is_a_client() {
    let balancer: IpAddr = [127, 0, 0, 1].into();
    for (trusted_peers, is_served) in [(vec![balancer], 200), (Vec::new(), 503)] {
        let trusted_peers = trusted_peers.into_iter().collect();
        let listeners = vec![ListenerRules { trusted_peers, ..ListenerRules::default() }];
        let config = GatewayConfig { listeners, ..GatewayConfig::default() };
        let (gate, cache, _origin) = crowded(config).await;
        let mut hanging = Vec::new();
        // Seven eighths are one client's.
        for number in 0..14 {
            let of_one = "X-Forwarded-For: 203.0.113.1\r\n";
            hanging.push(ask(&gate, "GET", &format!("/hang/{number}"), of_one).await);
            until_taken(&cache, number + 1).await;
        }
        let of_other = "X-Forwarded-For: 203.0.113.2\r\n";
        let (head, _) = ask(&gate, "GET", "/other", of_other).await.answer().await.into_text();
        assert_eq!(status(&head), is_served);
    }
}
