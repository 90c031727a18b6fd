//! Api: a double of a vendor's API, by what it answers to a request.

use std::sync::Arc;

use crate::support::origin::Origin;

/// `answer`: to a request's head and body. Where it has none, the vendor says nothing, and the connection stays.
pub(crate) async fn api(
    answer: impl Fn(&str, &str) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Origin {
    let answer = Arc::new(answer);
    Origin::playing(move |visit| {
        let answer = Arc::clone(&answer);
        async move {
            let mut wire = visit.into_wire();
            while wire.has_more().await {
                let head = wire.head().await;
                let Some(body) = wire.body(&head).await else { return };
                let body = String::from_utf8(body).unwrap();
                match answer(&head, &body) {
                    Some(answer) => {
                        if wire.try_send(answer).await.is_err() {
                            return;
                        }
                    }
                    None => std::future::pending().await,
                }
            }
        }
    })
    .await
}
