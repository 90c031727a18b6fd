//! Samples: values of a given length, quantiles of what was seen, and the clock that all processes share.

use anyhow::Context;
use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

/// What is in a value: the tier packs what shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// As of JSON or HTML.
    Text,
    /// As of pictures, and of what is packed already.
    Random,
}

impl Content {
    pub(super) const ALL: [Content; 2] = [Content::Text, Content::Random];

    pub(super) fn name(self) -> &'static str {
        match self {
            Content::Text => "text",
            Content::Random => "random",
        }
    }
}

/// xorshift64*: repeatable, and good enough for this.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Ranks that come up in proportion to 1 / rank^skew.
pub(super) struct Zipf {
    cumulated: Vec<f64>,
}

impl Zipf {
    pub(super) fn new(ranks: usize, skew: f64) -> Self {
        let weights = (1..=ranks).map(|rank| 1.0 / (rank as f64).powf(skew));
        let sum = |sum: &mut f64, weight: f64| {
            *sum += weight;
            Some(*sum)
        };
        Zipf { cumulated: weights.scan(0.0, sum).collect() }
    }

    pub(super) fn draw(&self, random: &mut Random) -> usize {
        let all = self.cumulated.last().copied().unwrap_or_default();
        let at = random.fraction() * all;
        self.cumulated.partition_point(|&sum| sum < at)
    }
}

/// So many bytes.
pub(super) fn content(kind: Content, bytes: usize) -> Bytes {
    const WORDS: [&str; 12] = [
        "cache",
        "the ",
        "reader",
        " of a",
        " page",
        "origin ",
        "\"name\":",
        " 2026",
        "larder",
        "<p>",
        "purge ",
        "tag",
    ];
    let mut random = Random(42);
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        let next = random.next();
        match kind {
            Content::Random => content.extend_from_slice(&next.to_le_bytes()),
            Content::Text => {
                let word = WORDS[(next >> 32) as usize % WORDS.len()];
                content.extend_from_slice(word.as_bytes());
                // Numbers and names do not repeat.
                content.extend_from_slice(format!("{:x}", next & 0xfff).as_bytes());
            }
        }
    }
    content.truncate(bytes);
    content.into()
}

pub(super) fn median(samples: Vec<f64>) -> anyhow::Result<f64> {
    quantile(samples, 0.5)
}

/// The smallest that this share of all does not exceed.
pub(super) fn quantile(mut samples: Vec<f64>, share: f64) -> anyhow::Result<f64> {
    samples.sort_by(f64::total_cmp);
    let at = (samples.len() as f64 * share).ceil() as usize;
    samples.get(at.saturating_sub(1)).copied().context("nothing was seen")
}

/// In ns, by a clock that is the same for all processes of this machine.
pub(super) fn now() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// In ns, what this thread has had of a processor so far: what others do on a busy machine is not in it.
pub(super) fn own_time() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_and_do_not_depend_on_their_order() {
        let samples = || vec![4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(samples(), 0.5).unwrap(), 2.0);
        assert_eq!(quantile(samples(), 0.99).unwrap(), 4.0);
        assert_eq!(quantile(samples(), 0.0).unwrap(), 1.0);
        assert!(quantile(Vec::new(), 0.5).is_err());
    }

    #[test]
    fn a_rank_comes_up_as_often_as_its_weight_says() {
        let (zipf, mut random, mut drawn) = (Zipf::new(3, 1.0), Random(7), [0_u32; 3]);
        (0..11_000).for_each(|_| drawn[zipf.draw(&mut random)] += 1);
        // 6 : 3 : 2.
        for (drawn, expected) in drawn.into_iter().zip([6000_u32, 3000, 2000]) {
            assert!(drawn.abs_diff(expected) < 200, "{drawn} of {expected}");
        }
    }

    #[test]
    fn contents_are_as_long_as_they_should_be_and_always_the_same() {
        for kind in Content::ALL {
            assert_eq!(content(kind, 2048).len(), 2048);
            assert_eq!(content(kind, 999), content(kind, 999));
        }
    }
}
