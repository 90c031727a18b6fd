//! Files: how many connections the limit of open files allows, and for whom.

use larder_gateway::{ServerConfig, upstream::UpstreamConfig};

/// Raised to this where that is allowed: a login usually has 1024.
pub(crate) const WANTED: u64 = 1 << 15;

/// What every system allows (POSIX), should it not tell.
pub(crate) const LEAST: u64 = 20;

/// Connections to the admin listener: a part of all files, and within these. Whatever programs of this machine
/// do there, the one that asks whether the gateway lives is to find a place.
const ADMIN_PART: usize = 32;
const LEAST_ADMIN: usize = 128;
const MOST_ADMIN: usize = 1024;
/// The log, the listeners, the certificate; and each event loop has a few.
const SUNDRY: usize = 64;
const OF_A_LOOP: usize = 4;

/// The most connections of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) readers: usize,
    /// For requests that wait for an answer.
    pub(crate) origin: usize,
    /// For answers whose bodies are under way.
    pub(crate) streams: usize,
    pub(crate) admin: usize,
}

impl Files {
    /// Shares out `limit` files. Readers never take what the origin and the admin listener need: a gateway that
    /// cannot ask the origin is of no use to those whom it lets in.
    pub(crate) fn of(limit: u64, loops: usize) -> Files {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(16);
        let sundry = OF_A_LOOP.saturating_mul(loops).saturating_add(SUNDRY);
        let admin = (limit / ADMIN_PART).clamp(LEAST_ADMIN, MOST_ADMIN);
        let kept = sundry.saturating_add(admin).min(limit / 2);
        let admin = admin.min(kept - sundry.min(kept / 2));
        let rest = limit - kept;
        let most = UpstreamConfig::default();
        let origin = (rest / 4).min(most.max_connections);
        let streams = (rest / 4).min(most.max_streams);
        let readers = rest - origin - streams;
        Files { readers, origin, streams, admin }
    }

    /// How many requests may be under way to each of several origins, and how many answers' bodies besides. What readers do
    /// not need is theirs, too: as far as it goes, none has less for there being others.
    pub(crate) fn of_each(self, origins: usize, readers: usize) -> (usize, usize) {
        let (most, spare) = (UpstreamConfig::default(), self.readers.saturating_sub(readers));
        let each = |all: usize, most: usize| {
            (all.saturating_add(spare / 2) / origins.max(1)).clamp(1, most)
        };
        (each(self.origin, most.max_connections), each(self.streams, most.max_streams))
    }

    /// How many readers there may be unless it is said otherwise.
    pub(crate) fn usual_readers(self) -> usize {
        self.readers.min(ServerConfig::default().max_connections)
    }

    /// How many fetches may wait for the origin at once. With those that pass (POST and the like) they are as
    /// many as there are connections to it, so a request that has a turn has a connection. No path may have more than
    /// three quarters of either: by default, 1024 long polls of one path are well within.
    pub(crate) fn fetches(self) -> usize {
        (self.origin - self.passing()).max(1)
    }

    /// How many requests that pass may wait for the origin at once.
    pub(crate) fn passing(self) -> usize {
        (self.origin / 3).max(1)
    }

    /// How many files it takes to let so many readers in.
    pub(crate) fn needed(readers: usize, loops: usize) -> u64 {
        let most = UpstreamConfig::default();
        let origin = most.max_connections.saturating_add(most.max_streams);
        let kept = OF_A_LOOP.saturating_mul(loops).saturating_add(SUNDRY + MOST_ADMIN);
        u64::try_from(readers.saturating_add(origin).saturating_add(kept)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_limit_all_together_stay_below_it_and_nobody_gets_nothing() {
        for limit in [0, 16, 17, 64, 256, 1024, 4096, 1 << 15, 1 << 20, u64::MAX] {
            for loops in [1, 2, 128, usize::MAX] {
                let files = Files::of(limit, loops);
                let Files { readers, origin, streams, admin } = files;
                assert!(
                    readers > 0 && origin > 0 && streams > 0 && admin > 0,
                    "{limit}: {files:?}"
                );
                let all = readers as u128 + (origin + streams + admin) as u128;
                assert!(all < u128::from(limit.max(16)), "{limit}: {files:?}");
                assert!(files.fetches() > 0 && files.passing() > 0, "{limit}: {files:?}");
            }
        }
    }

    #[test]
    fn several_origins_share_only_what_is_scarce() {
        let most = UpstreamConfig::default();
        let whole = (most.max_connections, most.max_streams);
        let files = Files::of(1 << 20, 2);
        assert_eq!(files.of_each(10, files.usual_readers()), whole);
        let files = Files::of(1024, 2);
        assert_eq!(files.of_each(1, files.usual_readers()), (206, 206));
        assert_eq!(files.of_each(2, files.usual_readers()), (103, 103));
        for (limit, origins) in [(0, 1), (64, 1000), (1024, 3), (1 << 15, 2), (1 << 20, 200)] {
            let files = Files::of(limit, 2);
            let readers = files.usual_readers();
            let (requests, bodies) = files.of_each(origins, readers);
            assert!(requests > 0 && bodies > 0);
            let all = readers + files.admin + origins * (requests + bodies);
            let is_within = all as u64 <= limit.max(16) + 2 * origins as u64;
            assert!(is_within, "{limit} {origins}: {files:?} {requests} {bodies}");
        }
    }

    #[test]
    fn a_usual_limit_gives_readers_the_most_and_enough_is_the_default() {
        assert_eq!(
            Files::of(1024, 2),
            Files { readers: 412, origin: 206, streams: 206, admin: 128 }
        );
        let files = Files::of(WANTED, 2);
        assert_eq!((files.usual_readers(), files.origin, files.admin), (16_384, 3072, 1024));
        assert_eq!((files.fetches(), files.passing()), (2048, 1024));
        assert!(Files::of(Files::needed(50_000, 2), 2).readers >= 50_000);
    }
}
