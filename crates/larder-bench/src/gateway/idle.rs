//! Idle: what a kept connection costs that has asked once and is silent since.

use anyhow::ensure;

use super::{case::PAGE, client::Client, contestant::Contestant};

const PATH: &str = "/fixed/2304/idle";
/// What is made once, by the first connections, is not what one more costs.
const WARM_UP: usize = 100;

/// Bytes of memory per connection.
pub(crate) async fn measure(contestant: &Contestant, connections: usize) -> anyhow::Result<f64> {
    let address = contestant.address(PAGE);
    let mut kept = Vec::with_capacity(connections);
    let mut before = 0;
    for number in 0..WARM_UP + connections {
        if number == WARM_UP {
            before = contestant.server.resident_bytes();
        }
        let mut client = Client::connect(address).await?;
        let answer = client.get(PATH, &[]).await?;
        ensure!(answer.status == 200, "status {}", answer.status);
        kept.push(client);
    }
    let after = contestant.server.resident_bytes();
    // Only what is still open was counted.
    let step = kept.len() / 100;
    for client in kept.iter_mut().step_by(step) {
        client.get(PATH, &[]).await?;
    }
    Ok(after.saturating_sub(before) as f64 / connections as f64)
}
