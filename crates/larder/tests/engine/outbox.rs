//! Purges on their way below outlive their process where they have a file.

use std::path::{Path, PathBuf};

use larder::{
    AnswerSource, Cache, Mode, OnDisk, Purge, Scope, Tier, TierReceipt, TierState,
    lower::{Call, LowerTier, OutboxError, OutboxFile, Point},
};
use larder_test_support::eventually::eventually;
use tempfile::TempDir;

use crate::below::Cluster;

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox");
    (folder, path)
}

/// Once whoever had it has gone.
async fn opened(path: &Path) -> OutboxFile {
    eventually("the file to be free", async || match OutboxFile::open(path) {
        Err(OutboxError::InUse) => None,
        opened => Some(opened.unwrap()),
    })
    .await
}

impl Cluster {
    async fn with_outbox(&self, path: &Path) -> Cache<String> {
        self.builder().outbox(opened(path).await).build()
    }

    /// What its log has, in its order.
    async fn logged(&self) -> Vec<Scope> {
        let tail = self.tier.tail(None).await.unwrap();
        tail.purges.into_iter().flat_map(|logged| logged.purge.scopes).collect()
    }
}

async fn purged(cache: &Cache<String>, key: &str) -> TierReceipt {
    let receipt = cache.purge(Purge::key(key).mode(Mode::Hard)).await.unwrap();
    let shared = receipt.tiers.iter().find(|it| it.tier == Tier::Shared);
    shared.expect("there is such a tier").clone()
}

fn keys(names: impl IntoIterator<Item = usize>) -> Vec<Scope> {
    names.into_iter().map(|name| Scope::Key(name.to_string())).collect()
}

#[tokio::test]
async fn a_purge_that_is_queued_is_on_disk_and_the_next_process_sends_it_in_its_order() {
    let (cluster, (_folder, path)) = (Cluster::new(), place());
    let cache = cluster.with_outbox(&path).await;
    cluster.tier.go_away();
    for key in 0..500 {
        let shared = purged(&cache, &key.to_string()).await;
        assert_eq!(shared.outbox, Some(OnDisk::Yes), "{shared}");
        let tried = matches!(shared.state, TierState::Failed { .. });
        assert!(tried || shared.state == TierState::Queued, "{shared}");
    }
    drop(cache);
    // A process that is killed leaves as much: nothing is written when it ends.
    cluster.tier.come_back();
    assert_eq!(cluster.logged().await, []);
    let next = cluster.with_outbox(&path).await;
    purged(&next, "500").await;
    eventually("all to be sent", async || {
        (next.stats().lower.purges_outstanding == 0).then_some(())
    })
    .await;
    assert_eq!(cluster.logged().await, keys(0..=500));
    drop(next);
    assert_eq!(opened(&path).await.left(), 0);
}

#[tokio::test]
async fn nothing_from_below_is_served_that_an_earlier_process_has_purged() {
    let (cluster, (_folder, path)) = (Cluster::new(), place());
    let filled = cluster.filled("key", "old").await;
    eventually("it to be below", async || (cluster.tier.records() == 1).then_some(())).await;
    let cache = cluster.with_outbox(&path).await;
    cluster.tier.go_away();
    purged(&cache, "key").await;
    drop(cache);
    cluster.tier.come_back();
    cluster.tier.hold(Call::Append, Point::Request);
    let next = cluster.with_outbox(&path).await;
    eventually("it to be on its way", async || (cluster.tier.held() > 0).then_some(())).await;
    let reader = cluster.origin.ask(&next, "key");
    eventually("the origin to be asked", async || (cluster.origin.calls() == 2).then_some(()))
        .await;
    cluster.origin.reply(Ok("new".to_owned().into()));
    let answer = reader.await.unwrap().unwrap();
    assert_eq!(answer.value, "new");
    assert!(matches!(answer.source, AnswerSource::Fetched(_)), "{:?}", answer.source);
    cluster.tier.release_all();
    drop(filled);
}

#[tokio::test]
async fn one_too_many_is_everything_in_the_file_as_well() {
    let (cluster, (_folder, path)) = (Cluster::new(), place());
    let settings = larder::lower::Settings { max_outstanding: 3, ..Default::default() };
    let builder = Cache::<String>::builder();
    let builder = builder.lower_with(cluster.tier.clone(), larder::codec::Text, settings);
    let cache = builder.outbox(opened(&path).await).build();
    cluster.tier.go_away();
    for key in 0..5 {
        purged(&cache, &key.to_string()).await;
    }
    assert_eq!(cache.stats().lower.overflows, 1);
    drop(cache);
    cluster.tier.come_back();
    let next = cluster.with_outbox(&path).await;
    eventually("all to be sent", async || {
        (next.stats().lower.purges_outstanding == 0).then_some(())
    })
    .await;
    // Where that was not sent when it came, the last is a part of it.
    let logged = cluster.logged().await;
    assert_eq!(logged[0], Scope::Everything);
    assert!(logged.len() == 1 || logged[1..] == keys([4]), "{logged:?}");
}

#[tokio::test]
async fn a_file_of_which_a_part_is_lost_stands_for_everything() {
    let (cluster, (_folder, path)) = (Cluster::new(), place());
    let cache = cluster.with_outbox(&path).await;
    cluster.tier.go_away();
    for key in 0..3 {
        purged(&cache, &key.to_string()).await;
    }
    drop(cache);
    drop(opened(&path).await);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    cluster.tier.come_back();
    let file = opened(&path).await;
    assert!(file.is_damaged());
    let next = cluster.builder().outbox(file).build();
    eventually("all to be sent", async || {
        (next.stats().lower.purges_outstanding == 0).then_some(())
    })
    .await;
    assert_eq!(cluster.logged().await, [keys([1, 2]), vec![Scope::Everything]].concat());
}

#[tokio::test]
async fn an_outbox_is_of_one_cache_that_has_a_tier() {
    let (cluster, (_folder, path)) = (Cluster::new(), place());
    let cache = cluster.with_outbox(&path).await;
    assert!(matches!(OutboxFile::open(&path), Err(OutboxError::InUse)));
    drop(cache);
    let file = opened(&path).await;
    let error = Cache::<String>::builder().outbox(file).try_build().unwrap_err();
    assert_eq!(error, larder::BuildError::OutboxWithoutTier);
}
