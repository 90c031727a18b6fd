//! Accounts: CDNs that one vendor's account has share its calls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::time::Instant;

use super::{
    Cdn, CdnConfig,
    driver::{Account, Bounds},
    rate::Rate,
};

/// Those of one account share its calls: as many as the one takes that takes fewest.
pub(super) fn with_rates(configs: Vec<CdnConfig>) -> Vec<Cdn> {
    let now = Instant::now();
    let of_account = |config: &CdnConfig| {
        let account = account(config);
        let others = configs.iter().filter(|other| self::account(other) == account);
        let bounds = others.map(|other| other.bounds);
        let least = bounds.reduce(|one, other| Bounds {
            calls_a_second: one.calls_a_second.min(other.calls_a_second),
            burst: one.burst.min(other.burst),
            ..one
        });
        (account, least.unwrap_or(config.bounds))
    };
    let mut rates: HashMap<Account, Arc<Mutex<Rate>>> = HashMap::new();
    let rate = |config: &CdnConfig| {
        let new = |bounds: Bounds| {
            Arc::new(Mutex::new(Rate::new(bounds.calls_a_second, bounds.burst, now)))
        };
        match of_account(config) {
            (Some(account), least) => {
                Arc::clone(rates.entry(account).or_insert_with(|| new(least)))
            }
            (None, _) => new(config.bounds),
        }
    };
    let rates: Vec<_> = configs.iter().map(rate).collect();
    configs.into_iter().zip(rates).map(|(config, rate)| Cdn::new(config, rate)).collect()
}

/// By the name that its settings give it, or by its credentials.
fn account(config: &CdnConfig) -> Option<Account> {
    match &config.account {
        Some(name) => Some(Account::of(&["named", config.driver.vendor(), name])),
        None => config.driver.account(),
    }
}
