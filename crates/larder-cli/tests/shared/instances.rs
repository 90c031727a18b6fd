//! Instances: each gateway tells who shares its tier, how far they are, and what they hold.

use serde_json::Value;

use crate::{
    fleet::Fleet,
    support::{Wire, eventually},
    versions::Versions,
};

pub(crate) async fn instances(place: crate::fleet::Place) -> Option<Vec<Value>> {
    let mut wire = Wire::try_connect(place.admin).await.ok()?;
    let head = "GET /v1/instances HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    wire.try_send(head).await.ok()?;
    let answer = wire.try_answer().await?;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let told: Value = serde_json::from_str(answer.text()).unwrap();
    Some(told["instances"].as_array().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_gateway_tells_of_all_and_which_one_is_killed() {
    let versions = Versions::default();
    let origin = versions.origin().await;
    let mut fleet = Fleet::before(origin.address).await;
    let places = fleet.places();
    places[0].get("/page").await;
    fleet.holds_for_all(0, "none").await;
    let is = |instance: &Value, key: &str| instance[key].as_bool().unwrap();
    eventually("all to be told of", async || {
        let all = instances(places[0]).await?;
        let own: Vec<_> = all.iter().filter(|one| is(one, "is_self")).collect();
        assert!(own.len() <= 1, "{all:?}");
        // It has just said what it holds.
        let has_page = own.first()?["entries"] == 1 && own.first()?["bytes"].as_u64()? > 0;
        let are_even = all.iter().all(|one| is(one, "alive") && one["behind"] == 0);
        let have_said = all.iter().all(|one| one["entries"].is_u64());
        (all.len() == 3 && has_page && are_even && have_said).then_some(())
    })
    .await;
    let all = instances(places[1]).await.unwrap();
    let cursor = all[0]["cursor"].as_u64().unwrap();
    assert!(cursor > 0 && all.iter().all(|one| one["cursor"] == cursor), "{all:?}");
    fleet.gateways[2].kill().await;
    eventually("the one that was killed to be silent", async || {
        let all = instances(places[0]).await?;
        let silent: Vec<_> = all.iter().filter(|one| !is(one, "alive")).collect();
        let seconds = silent.first()?["seen_seconds_ago"].as_f64()?;
        (all.len() == 3 && silent.len() == 1 && seconds > 1.0).then_some(())
    })
    .await;
}
