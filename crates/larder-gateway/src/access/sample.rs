//! Sample: which of many requests are logged.

use std::cell::Cell;

/// Whether this one is, of which a `share` from 0 to 1 is to be. Each is drawn by itself, so
/// that no rhythm of requests is met.
pub(super) fn is_chosen(share: f64) -> bool {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
    }
    if share >= 1.0 {
        return true;
    }
    // Xorshift, with the multiplier of xorshift64*: fair enough for a sample, and not a secret.
    let drawn = STATE.with(|state| {
        let mut bits = state.get();
        bits ^= bits >> 12;
        bits ^= bits << 25;
        bits ^= bits >> 27;
        state.set(bits);
        bits.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    });
    (drawn as f64) < share * (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::is_chosen;

    #[test]
    fn so_many_are_chosen_as_were_asked_for() {
        for (share, least, most) in
            [(0.0, 0, 0), (0.1, 900, 1100), (0.5, 4800, 5200), (1.0, 10_000, 10_000)]
        {
            let chosen = (0..10_000).filter(|_| is_chosen(share)).count();
            assert!((least..=most).contains(&chosen), "{chosen} of {share}");
        }
    }
}
