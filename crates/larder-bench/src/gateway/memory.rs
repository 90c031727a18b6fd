//! Memory: what an object takes over the bytes of its body.

use anyhow::ensure;

use super::{
    case::{PAGE, calls},
    client::{Client, get_each},
    contestant::Contestant,
};

const BODY_BYTES: usize = 1024;
const WARM_UP: usize = 1000;

pub(crate) struct Overhead {
    pub(crate) bytes_per_object: f64,
    /// How many of all are found again, by a sample.
    pub(crate) kept_share: f64,
}

pub(crate) async fn measure(
    contestant: &Contestant,
    origin: &mut Client,
    objects: usize,
) -> anyhow::Result<Overhead> {
    let address = contestant.address(PAGE);
    let path = |number| format!("/fixed/{BODY_BYTES}/m{number}");
    get_each(address, 0..WARM_UP, path).await?;
    let before = contestant.memory_bytes();
    get_each(address, WARM_UP..WARM_UP + objects, path).await?;
    let after = contestant.memory_bytes();

    let mut client = Client::connect(address).await?;
    let (mut sampled, calls_before) = (0, calls(origin, "").await?);
    for number in (WARM_UP..WARM_UP + objects).step_by((objects / 1000).max(1)) {
        client.get(&path(number), &[]).await?;
        sampled += 1;
    }
    let missed = calls(origin, "").await? - calls_before;
    let kept_share = 1.0 - missed as f64 / f64::from(sampled);
    let grown = after.saturating_sub(before) as f64;
    ensure!(grown > (objects * BODY_BYTES) as f64, "takes its memory before it needs it");
    Ok(Overhead { bytes_per_object: grown / objects as f64 - BODY_BYTES as f64, kept_share })
}
