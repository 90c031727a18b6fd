//! Pace: whether a reader moves on as fast as it has to, over the time for which it is waited for.
//!
//! A timer that any byte restarts lets a byte a minute hold a request for ever. Here bytes buy time: as many as
//! the least rate asks of a second buy a second of waiting. Only waiting uses time up, so a reader is not slow
//! while its answer waits for the origin, nor while the origin does not take what it has sent.

use std::time::Duration;

use tokio::time::Instant;

use crate::timer::after;

/// A reader may move so much at once and then rest until the rate asks for more. Slow ones do: curl with a limit sends
/// its buffer of 64 KiB and sleeps, and the system says only every so many bytes that something was taken (up to what may
/// wait unsent: `TCP_NOTSENT_LOWAT`, `server.rs`).
const BURST_BYTES: u64 = 128 << 10;

/// One reader has all of a connection to itself, as with HTTP/1.1.
pub(crate) const ALONE: usize = 1;

/// The least that a reader has to send of what is waited for, and to take of what waits for it, on average.
/// Who does less is cut off.
///
/// ```
/// use std::time::Duration;
///
/// use larder_gateway::downstream::{MinRate, http1::Http1Config};
///
/// let min_rate = MinRate { bytes_per_second: 4096, period: Duration::from_secs(10) };
/// let config = Http1Config { min_rate, ..Http1Config::default() };
/// assert_eq!(MinRate::default().bytes_per_second, 1024);
/// # let _ = config;
/// ```
///
/// It holds for heads, uploads and answers, beside the limits of [`Http1Config`](super::http1::Http1Config):
///
/// | under way | at the least rate | nothing at all moves | all of it |
/// | --- | --- | --- | --- |
/// | a head | 408 | `head_timeout` | `head_timeout` |
/// | an upload, while it is asked for | 408 | `body_timeout` | – |
/// | an answer, while it waits for its reader | cut | `write_timeout` | – |
/// | an answer that waits for the origin | – | the upstream's limits | the upstream's limits |
/// | an answer whose reader has closed its side | – | `half_closed_timeout`, then `write_timeout` | – |
/// | between two requests | – | `idle_timeout` | `idle_timeout` |
/// | after the last answer | – | `linger_timeout` | `linger_timeout` |
///
/// Where a connection is to make room for others, or to end with its server, `stalled_timeout` (of a head,
/// `linger_timeout`) stands for the period and for what is longer than it in the third column: who goes below the
/// rate for so long, or did before, leaves.
///
/// The streams of an HTTP/2 connection are judged together: while any of them waits for the reader, the connection
/// as a whole has to keep the rate. Of n that wait, each has to keep the nth part of it, and has n times as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRate {
    /// In bytes a second. Default 1024; 0 asks for no rate, and only the other limits hold.
    pub bytes_per_second: u64,
    /// How long a reader may send or take nothing before that counts. One that was faster before may rest on that, up
    /// to as long as the rate gives 128 KiB: many move that much at once, and the system tells no earlier that it
    /// was taken. Default 30 s.
    pub period: Duration,
}

impl Default for MinRate {
    fn default() -> Self {
        MinRate { bytes_per_second: 1024, period: Duration::from_secs(30) }
    }
}

impl MinRate {
    /// How long a reader who keeps the rate needs for so many bytes.
    fn time_for(self, bytes: u64) -> Duration {
        let Some(seconds) = bytes.checked_div(self.bytes_per_second) else { return Duration::MAX };
        let rest = u128::from(bytes % self.bytes_per_second) * 1_000_000_000;
        let nanos = rest / u128::from(self.bytes_per_second);
        Duration::new(seconds, u32::try_from(nanos).unwrap_or_default())
    }

    /// What a reader has to begin with.
    fn first(self) -> Duration {
        if self.bytes_per_second == 0 { Duration::MAX } else { self.period }
    }

    /// The most time that may be left of what has been bought.
    fn most(self) -> Duration {
        self.first().saturating_add(self.time_for(BURST_BYTES))
    }
}

/// How much time a reader has left.
#[derive(Debug)]
pub(crate) struct Pace {
    left: Duration,
    /// Since when it is waited for.
    since: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(rate: MinRate) -> Pace {
        Pace { left: rate.first(), since: None }
    }

    /// Of a reader that has moved much before.
    pub(crate) fn rested(rate: MinRate) -> Pace {
        Pace { left: rate.most(), since: None }
    }

    /// The reader is waited for, if it was not before. Tells until when it may be. Of the `streams` that wait
    /// beside each other, each is waited for so many times as long.
    pub(crate) fn wait(&mut self, streams: usize) -> Instant {
        let since = *self.since.get_or_insert_with(Instant::now);
        later(since, times(self.left, streams))
    }

    /// The same where others wait for room: as though the rate had always been asked for over so `little` time.
    pub(crate) fn wait_little(&mut self, rate: MinRate, little: Duration) -> Instant {
        if rate.bytes_per_second == 0 {
            return self.wait(ALONE);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let used = rate.period.saturating_sub(self.left);
        later(since, little.min(rate.period).saturating_sub(used))
    }

    /// Since when the reader is waited for, and has moved nothing.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// The reader has sent so much, or taken so much, or the system has in its stead.
    pub(crate) fn moved(&mut self, bytes: usize, rate: MinRate, streams: usize) {
        self.pause(streams);
        let most = rate.most();
        if bytes > 0 && self.left < most {
            self.left = self.left.saturating_add(rate.time_for(bytes as u64)).min(most);
        }
    }

    /// The reader is not waited for any more.
    pub(crate) fn pause(&mut self, streams: usize) {
        if let Some(since) = self.since.take() {
            let waited = since.elapsed() / u32::try_from(streams.max(1)).unwrap_or(u32::MAX);
            self.left = self.left.saturating_sub(waited);
        }
    }
}

pub(crate) fn times(time: Duration, streams: usize) -> Duration {
    time.saturating_mul(u32::try_from(streams.max(1)).unwrap_or(u32::MAX))
}

pub(crate) fn later(since: Instant, time: Duration) -> Instant {
    since.checked_add(time).unwrap_or_else(|| after(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const KIB_OVER_30_S: MinRate =
        MinRate { bytes_per_second: 1024, period: Duration::from_secs(30) };

    /// How long a reader that sends so many bytes at a time lasts, an hour at most.
    async fn lasts(rate: MinRate, bytes: usize, every: Duration) -> Duration {
        let (began, mut pace) = (Instant::now(), Pace::new(rate));
        while began.elapsed() < Duration::from_secs(3600) {
            let until = pace.wait(ALONE);
            if until <= Instant::now() + every {
                return until - began;
            }
            advance(every).await;
            pace.moved(bytes, rate, ALONE);
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_the_rate_lasts_and_who_drips_does_not() {
        let second = Duration::from_secs(1);
        for (bytes, every, expected) in [
            (0, second, 30..31),
            (1, second, 30..31),
            (512, second, 59..61),
            (1000, second, 1200..1300),
            (1024, second, 3600..3601),
            (2048, second, 3600..3601),
            (20 << 10, 20 * second, 3600..3601),
            (64 << 10, 29 * second, 3600..3760),
            (1 << 30, 40 * second, 30..31),
        ] {
            let lasted = lasts(KIB_OVER_30_S, bytes, every).await.as_secs();
            assert!(expected.contains(&lasted), "{bytes} B every {every:?}: {lasted} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_is_not_waited_for_uses_no_time_up() {
        let mut pace = Pace::new(KIB_OVER_30_S);
        for _ in 0..100 {
            advance(Duration::from_secs(100)).await;
            pace.wait(ALONE);
            advance(Duration::from_millis(100)).await;
            pace.pause(ALONE);
        }
        assert_eq!(pace.wait(ALONE) - Instant::now(), Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_in_bursts_is_not_slow() {
        // 2 KiB a second, 64 KiB at once.
        let mut pace = Pace::new(KIB_OVER_30_S);
        pace.moved(128 << 10, KIB_OVER_30_S, ALONE);
        for _ in 0..1000 {
            assert!(pace.wait(ALONE) > Instant::now() + Duration::from_secs(32));
            advance(Duration::from_secs(32)).await;
            pace.moved(64 << 10, KIB_OVER_30_S, ALONE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_room_is_wanted_less_is_left() {
        let (little, rate) = (Duration::from_secs(3), KIB_OVER_30_S);
        let mut pace = Pace::new(rate);
        assert_eq!(pace.wait_little(rate, little) - Instant::now(), little);
        advance(Duration::from_secs(2)).await;
        pace.moved(1024, rate, ALONE);
        assert_eq!(pace.wait_little(rate, little) - Instant::now(), Duration::from_secs(2));
        advance(Duration::from_secs(20)).await;
        pace.moved(1, rate, ALONE);
        assert_eq!(pace.wait_little(rate, little), Instant::now(), "it was too slow before");
    }

    #[tokio::test(start_paused = true)]
    async fn streams_share_the_rate_and_have_the_longer() {
        let mut pace = Pace::new(KIB_OVER_30_S);
        for _ in 0..100 {
            assert!(pace.wait(100) > Instant::now() + Duration::from_secs(1000));
            advance(Duration::from_secs(1000)).await;
            pace.moved(11 << 10, KIB_OVER_30_S, 100);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_number_may_be_nothing_or_the_most() {
        for bytes_per_second in [0, 1, u64::MAX] {
            for period in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
                let rate = MinRate { bytes_per_second, period };
                for (bytes, streams) in [(0, 0), (1, 1), (usize::MAX, usize::MAX)] {
                    let mut pace = Pace::new(rate);
                    pace.moved(bytes, rate, streams);
                    let until = pace.wait(streams);
                    let is_over = until <= Instant::now();
                    assert!(!is_over || (bytes_per_second > 0 && period.is_zero()), "{rate:?}");
                    pace.wait_little(rate, Duration::MAX);
                    pace.moved(bytes, rate, streams);
                }
            }
        }
    }
}
