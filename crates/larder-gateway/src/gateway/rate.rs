//! Rate: how many requests an address may send, with a bound on how many addresses are remembered.
//!
//! A token bucket for each client (GCRA, ITU-T I.371): of each only the time is kept at which its bucket is full
//! again. An address whose bucket is full need not be remembered. Where all places that an address may have are taken by
//! others that are in debt, the one with the least debt makes room, and the newcomer takes that debt over. So whoever
//! pushes its own entry out, with as many other addresses as it likes, is never better off than if it had waited: the
//! least debt of a place never falls but with time. Under such a flood newcomers have smaller bursts.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use larder::http::Client;

/// Places that an address may have.
const WAYS: usize = 8;
/// How many of these there usually are: of 65 536 addresses in all, which take 1.1 MiB.
const SETS: usize = 8192;

/// How many requests an address may send (with IPv6, a /64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// In the long run. 0 counts as 1.
    pub per_second: u32,
    /// At once, after a pause. 0 counts as 1.
    pub burst: u32,
}

/// The buckets of all addresses.
pub(super) struct Rates {
    pub(super) limit: RateLimit,
    began: Instant,
    /// Between two requests at the least rate that is never refused, and how far ahead of that a burst may run.
    interval: u64,
    tolerance: u64,
    hasher: RandomState,
    sets: Box<[Mutex<[Place; WAYS]>]>,
    forgotten: AtomicU64,
}

/// An address, and when its bucket is full again: nanoseconds after the beginning.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// 0: of nobody.
    address: u64,
    full_at: u64,
}

/// The bucket is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany {
    /// Until there is something in it again.
    pub(super) wait: Duration,
}

impl Rates {
    pub(super) fn new(limit: RateLimit) -> Rates {
        Rates::with_sets(limit, SETS)
    }

    /// With places for so many times [`WAYS`] addresses.
    pub(super) fn with_sets(limit: RateLimit, sets: usize) -> Rates {
        let interval = 1_000_000_000 / u64::from(limit.per_second.max(1));
        Rates {
            limit,
            began: Instant::now(),
            interval: interval.max(1),
            tolerance: interval.max(1).saturating_mul(u64::from(limit.burst.max(1) - 1)),
            hasher: RandomState::new(),
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            forgotten: AtomicU64::new(0),
        }
    }

    /// One more request of this client.
    pub(super) fn take(&self, client: Client) -> Result<(), TooMany> {
        self.take_at(client, self.now())
    }

    /// What the next request of this client would find, with nothing taken.
    pub(super) fn outlook(&self, client: Client) -> Result<(), TooMany> {
        let (address, now) = (short(client), self.now());
        let set = self.set(address).lock().unwrap_or_else(PoisonError::into_inner);
        let known = set.iter().find(|place| place.address == address);
        let place = known.or_else(|| set.iter().min_by_key(|place| place.full_at));
        let ahead = place.map_or(0, |place| place.full_at.saturating_sub(now));
        match ahead > self.tolerance {
            true => Err(TooMany { wait: Duration::from_nanos(ahead - self.tolerance) }),
            false => Ok(()),
        }
    }

    /// The one that was taken last was none.
    pub(super) fn give_back(&self, client: Client) {
        let address = short(client);
        let mut set = self.set(address).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = set.iter_mut().find(|place| place.address == address) {
            place.full_at = place.full_at.saturating_sub(self.interval);
        }
    }

    /// How many addresses were forgotten though their buckets were not full.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Relaxed)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn set(&self, address: u64) -> &Mutex<[Place; WAYS]> {
        // Seeded: nobody can choose addresses that share their places with somebody's.
        let hash = self.hasher.hash_one(address);
        &self.sets[usize::try_from(hash % self.sets.len() as u64).unwrap_or_default()]
    }

    fn take_at(&self, client: Client, now: u64) -> Result<(), TooMany> {
        let address = short(client);
        let mut set = self.set(address).lock().unwrap_or_else(PoisonError::into_inner);
        let known = set.iter().position(|place| place.address == address);
        let index = known.unwrap_or_else(|| {
            let least = (0..WAYS).min_by_key(|index| set[*index].full_at).unwrap_or_default();
            if set[least].full_at > now {
                self.forgotten.fetch_add(1, Relaxed);
            }
            least
        });
        let place = &mut set[index];
        place.address = address;
        let full_at = place.full_at.max(now);
        let ahead = full_at - now;
        if ahead > self.tolerance {
            return Err(TooMany { wait: Duration::from_nanos(ahead - self.tolerance) });
        }
        place.full_at = full_at.saturating_add(self.interval);
        Ok(())
    }
}

/// Of an IPv6 address its network, which is one client's own; of an IPv4 address all, in a network that nobody has.
fn short(client: Client) -> u64 {
    match client.network() {
        IpAddr::V4(address) => 0xffff_0000_0000 | u64::from(address.to_bits()),
        IpAddr::V6(address) => ((address.to_bits() >> 64) as u64).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rates(per_second: u32, burst: u32) -> Rates {
        Rates::new(RateLimit { per_second, burst })
    }

    fn client(ip: &str) -> Client {
        Client(ip.parse().unwrap())
    }

    #[test]
    fn so_many_go_at_once_and_then_so_many_each_second() {
        for (per_second, burst) in [(1, 1), (1, 5), (10, 1), (10, 20), (0, 0), (u32::MAX, u32::MAX)]
        {
            let rates = rates(per_second, burst);
            let burst = burst.clamp(1, 1000);
            for _ in 0..burst {
                assert_eq!(rates.take_at(client("192.0.2.1"), SECOND), Ok(()));
            }
            if per_second == u32::MAX {
                continue;
            }
            let interval = SECOND / u64::from(per_second.max(1));
            let refused = rates.take_at(client("192.0.2.1"), SECOND);
            assert_eq!(refused, Err(TooMany { wait: Duration::from_nanos(interval) }));
            assert_eq!(rates.take_at(client("192.0.2.2"), SECOND), Ok(()), "another has its own");
            assert!(rates.take_at(client("192.0.2.1"), SECOND + interval - 1).is_err());
            assert_eq!(rates.take_at(client("192.0.2.1"), SECOND + interval), Ok(()));
            assert!(rates.take_at(client("192.0.2.1"), SECOND + interval).is_err());
            let later = SECOND + 3600 * SECOND;
            let again = (0..=burst).filter(|_| rates.take_at(client("192.0.2.1"), later).is_ok());
            assert_eq!(again.count(), usize::try_from(burst).unwrap(), "no more than a burst");
        }
    }

    #[test]
    fn a_64_of_ipv6_is_one_client_and_a_mapped_address_is_the_one_it_maps() {
        let rates = rates(1, 1);
        rates.take_at(client("2001:db8::1"), 0).unwrap();
        assert!(rates.take_at(client("2001:db8::2:3"), 0).is_err());
        rates.take_at(client("2001:db8:0:1::1"), 0).unwrap();
        rates.take_at(client("192.0.2.1"), 0).unwrap();
        assert!(rates.take_at(client("::ffff:192.0.2.1"), 0).is_err());
        rates.take_at(client("::"), 0).unwrap();
        assert!(rates.take_at(client("::1"), 0).is_err());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let rates = rates(1, 1);
        rates.take_at(client("192.0.2.1"), 0).unwrap();
        rates.give_back(client("192.0.2.1"));
        rates.take_at(client("192.0.2.1"), 0).unwrap();
        assert!(rates.take_at(client("192.0.2.1"), 0).is_err());
        rates.give_back(client("192.0.2.9"));
    }

    /// All of a whole network asks, again and again, and with it one that has nothing left.
    #[test]
    fn who_pushes_itself_out_with_other_addresses_is_no_better_off() {
        let rates = rates(1, 4);
        let own = client("2001:db8:ffff::1");
        let now = SECOND;
        while rates.take_at(own, now).is_ok() {}
        for network in 0..400_000_u64 {
            let ip = u128::from(0x2001_0db8_0000_0000_u64 + network) << 64;
            rates.take_at(Client(IpAddr::from(ip.to_be_bytes())), now).ok();
            if network % 1000 == 0 {
                assert!(rates.take_at(own, now).is_err(), "after {network}");
            }
        }
        assert!(rates.forgotten() > 100_000, "{}", rates.forgotten());
        // With time all are as good as new.
        assert_eq!(rates.take_at(own, now + 60 * SECOND), Ok(()));
    }
}
