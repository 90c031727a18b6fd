//! Stampede: a thousand readers, each with a connection of its own, ask for one thing at once.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use tokio::time::timeout;

use super::{
    case::{PAGE, calls},
    client::Client,
    contestant::Contestant,
};

/// Who has no answer by then is counted as without one.
const BUDGET: Duration = Duration::from_secs(30);

/// What is asked for.
pub(crate) struct Crowded {
    pub(crate) id: &'static str,
    pub(crate) label: &'static str,
    pub(crate) path: &'static str,
}

/// In the order in which they are asked: the third is the second once more.
pub(crate) const CROWDED: [Crowded; 4] = [
    Crowded { id: "stampede", label: "2 s and cacheable", path: "/slow/2000/2304/crowd" },
    Crowded {
        id: "stampede-no-store",
        label: "2 s and no-store, first time",
        path: "/slow-nostore/2000/2304/crowd",
    },
    Crowded {
        id: "stampede-no-store-known",
        label: "2 s and no-store, once known",
        path: "/slow-nostore/2000/2304/crowd",
    },
    Crowded { id: "stampede-6s", label: "6 s and cacheable", path: "/slow/6000/2304/crowd" },
];

pub(crate) struct Seen {
    pub(crate) calls: u64,
    pub(crate) last_seconds: f64,
    pub(crate) unanswered: usize,
}

pub(crate) async fn run(
    contestant: &Contestant,
    origin: &mut Client,
    path: &str,
    readers: usize,
) -> anyhow::Result<Seen> {
    let before = calls(origin, path).await?;
    let address = contestant.address(PAGE);
    let mut clients = Vec::with_capacity(readers);
    // In parts, for a queue of connections that are not yet accepted has an end.
    while clients.len() < readers {
        let part = 100.min(readers - clients.len());
        clients.extend(try_join_all((0..part).map(|_| Client::connect(address))).await?);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    let asked = clients.iter_mut().map(|client| async {
        let answer = timeout(BUDGET, client.get(path, &[])).await.ok()?.ok()?;
        (answer.status == 200 && answer.body.len() == PAGE.body_bytes).then(|| began.elapsed())
    });
    let answered = join_all(asked).await;
    let last = answered.iter().flatten().max().copied().unwrap_or(BUDGET);
    Ok(Seen {
        calls: calls(origin, path).await? - before,
        last_seconds: last.as_secs_f64(),
        unanswered: answered.iter().filter(|answer| answer.is_none()).count(),
    })
}
