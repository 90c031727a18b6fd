//! Stats: what is known of an upstream and of each of its addresses.

use super::breaker::BreakerState;
use crate::upstream::UpstreamStats;

/// Of an upstream since it was made, and now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OriginsStats {
    /// What the file calls it.
    pub name: String,
    /// In the order of the file.
    pub addresses: Vec<AddressStats>,
    /// Requests sent to a second address or a third, by what was wrong with the one before.
    pub retries: Vec<(&'static str, u64)>,
    /// Requests that were not, because too many were already.
    pub retries_held_back: u64,
    /// Requests that were sent nowhere: all addresses were silent.
    pub turned_away: u64,
}

/// Of one address.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AddressStats {
    /// Where it is.
    pub address: String,
    /// Requests sent there.
    pub requests: u64,
    /// What came of those that failed.
    pub failures: Vec<(&'static str, u64)>,
    /// How often it was left alone.
    pub ejections: u64,
    /// Requests there now. Not counted while it is the only one.
    pub outstanding: usize,
    /// Whether requests go there.
    pub breaker: BreakerState,
    /// What the checks of its health say; true without any.
    pub is_healthy: bool,
    /// Its connections.
    pub connections: UpstreamStats,
}

impl AddressStats {
    /// Whether requests go there as a matter of course.
    pub fn is_up(&self) -> bool {
        self.is_healthy && self.breaker == BreakerState::Closed
    }
}

impl OriginsStats {
    /// What is wrong with it, in a line. `None`: nothing.
    pub fn trouble(&self) -> Option<String> {
        let down = self.addresses.iter().filter(|address| !address.is_up());
        let down: Vec<_> = down.map(|address| address.address.as_str()).collect();
        let (name, all) = (&self.name, self.addresses.len());
        match down.len() {
            0 => None,
            count if count == all => Some(format!("upstream {name} is down: {}", down.join(", "))),
            count => Some(format!(
                "{count} of {all} addresses of upstream {name} are down: {}",
                down.join(", ")
            )),
        }
    }
}
