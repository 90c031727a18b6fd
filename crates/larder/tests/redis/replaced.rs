//! Replaced: any history of commits leaves the records, and the pieces, that a model of it leaves.

use std::time::Duration;

use bytes::Bytes;
use larder::{
    Lifetime,
    lower::{Body, BodyId, Commit, Head, LogPart, LowerError, LowerTier, Piece, Position, Record},
    redis::Redis,
};
use larder_test_support::redis::Redis as Server;

use crate::control::tier;

const MINUTE: Duration = Duration::from_secs(60);
const HISTORIES: u64 = 30;
const STEPS: u64 = 25;

/// What a key has: its variants in the order of their last commits, with their bodies.
#[derive(Default)]
struct Model(Vec<(String, Body)>);

impl Model {
    fn commit(&mut self, variant: &str, body: Body, most: usize) {
        self.0.retain(|(known, _)| known != variant);
        self.0.push((variant.to_owned(), body));
        let too_many = self.0.len().saturating_sub(most);
        self.0.drain(..too_many);
    }

    fn body(&self, variant: &str) -> Option<Body> {
        let known = self.0.iter().find(|(known, _)| known == variant);
        known.map(|(_, body)| body.clone())
    }

    fn names(&self, id: BodyId) -> bool {
        self.0
            .iter()
            .any(|(_, body)| matches!(body, Body::Pieces { id: named, .. } if *named == id))
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

async fn write(tier: &Redis, id: BodyId, pieces: u32) -> Body {
    for index in 0..pieces {
        let bytes = Bytes::from(format!("{}:{index}", id.0));
        tier.write(Piece { body: id, index, bytes, keep: MINUTE }).await.unwrap();
    }
    Body::Pieces { id, begin: Bytes::new(), pieces, bytes: 100 }
}

async fn are_there(tier: &Redis, id: BodyId, pieces: u32) -> Vec<bool> {
    let mut there = Vec::new();
    for index in 0..pieces {
        there.push(match tier.piece(id, index).await {
            Ok(bytes) => {
                assert_eq!(bytes, format!("{}:{index}", id.0));
                true
            }
            Err(LowerError::Gone) => false,
            Err(error) => panic!("{error}"),
        });
    }
    there
}

#[tokio::test]
async fn any_history_of_commits_leaves_what_a_model_of_it_leaves() {
    let server = Server::start().await;
    let one = tier(&server);
    for history in 0..HISTORIES {
        let (mut random, mut model, mut bodies) = (Random(history), Model::default(), Vec::new());
        let key = format!("key {history}");
        for step in 0..STEPS {
            let variant = ["", "b", "c", "\u{fc}"][random.below(4) as usize];
            let most = 1 + random.below(4) as usize;
            let body = match (random.below(3), model.body(variant)) {
                (0, _) => Body::Whole(Bytes::from(format!("text {step}"))),
                // A response that was confirmed has another head and the same body.
                (1, Some(body)) => body,
                _ => {
                    let id = BodyId(u128::from(history) << 32 | u128::from(step));
                    let pieces = 1 + random.below(3) as u32;
                    bodies.push((id, pieces));
                    write(&one, id, pieces).await
                }
            };
            let head = Head {
                variant: variant.to_owned(),
                fence: Position { generation: 1, number: step },
                lifetime: Lifetime::fresh_for(MINUTE),
                cost: Duration::ZERO,
                tags: Vec::new(),
                format: "bytes".to_owned(),
                extra: Bytes::new(),
                body: body.clone(),
            };
            let committed = one.commit(&key, Record { head, age: Duration::ZERO }, most).await;
            assert_eq!(committed.unwrap(), Commit::Stored);
            model.commit(variant, body, most);

            let heads = one.heads(&key, LogPart::Nothing).await.unwrap();
            let mut found: Vec<_> = heads
                .records
                .into_iter()
                .map(|record| (record.head.variant, record.head.body))
                .collect();
            let place = |variant: &str| model.0.iter().position(|(known, _)| known == variant);
            found.sort_by_key(|(variant, _)| place(variant));
            assert_eq!(found, model.0, "history {history}, step {step}");
            for (id, pieces) in &bodies {
                let is_named = model.names(*id);
                let there = are_there(&one, *id, *pieces).await;
                assert!(
                    there.iter().all(|there| *there == is_named),
                    "{history}.{step}: {there:?}"
                );
            }
        }
    }
}
