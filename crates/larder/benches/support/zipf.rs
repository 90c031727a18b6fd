//! Skewed numbers: rank r comes up in proportion to 1 / r^skew.

/// xorshift64*: repeatable, and good enough to draw keys with.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

pub(crate) struct Zipf {
    cumulated: Vec<f64>,
}

impl Zipf {
    pub(crate) fn new(ranks: usize, skew: f64) -> Self {
        let weights = (1..=ranks).map(|rank| 1.0 / (rank as f64).powf(skew));
        let sum = |sum: &mut f64, weight: f64| {
            *sum += weight;
            Some(*sum)
        };
        Zipf { cumulated: weights.scan(0.0, sum).collect() }
    }

    pub(crate) fn draw(&self, random: &mut Random) -> u32 {
        let all = self.cumulated[self.cumulated.len() - 1];
        let at = random.fraction() * all;
        self.cumulated.partition_point(|&sum| sum < at) as u32
    }
}
