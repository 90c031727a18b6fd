//! Let in: what was begun and may be told to make room, the oldest first.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many that have ended are kept beside those that are there, before all are looked through.
const FEW: usize = 16;

/// What was let in and was not told to leave, the oldest first; and some that has ended.
pub(super) struct LetIn {
    all: VecDeque<(Instant, CancellationToken)>,
    /// What is younger than this is not told.
    welcome: Duration,
}

impl LetIn {
    pub(super) fn new(welcome: Duration) -> LetIn {
        LetIn { all: VecDeque::new(), welcome }
    }

    /// `leaving` tells it to leave; it is cancelled in any case once it has ended. `open` is how many there are.
    pub(super) fn add(&mut self, leaving: CancellationToken, open: usize) {
        if self.all.len() > 2 * open + FEW {
            self.all.retain(|(_, leaving)| !leaving.is_cancelled());
        }
        self.all.push_back((Instant::now(), leaving));
    }

    /// Tells the oldest, so many at most, to leave; how many there were.
    pub(super) fn tell(&mut self, many: usize) -> u64 {
        let mut told = 0;
        while told < many
            && let Some((_, leaving)) =
                self.all.pop_front_if(|(came, _)| came.elapsed() >= self.welcome)
        {
            if !leaving.is_cancelled() {
                leaving.cancel();
                told += 1;
            }
        }
        told as u64
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_are_told_first_and_who_has_gone_is_forgotten() {
        let welcome = Duration::from_millis(500);
        let mut let_in = LetIn::new(welcome);
        let tokens: Vec<_> = (0..100).map(|_| CancellationToken::new()).collect();
        for (number, token) in tokens.iter().enumerate() {
            let_in.add(token.clone(), number);
        }
        tokens[0].cancel();
        assert_eq!(let_in.tell(2), 0, "their first requests may be on their way");
        advance(welcome).await;
        assert_eq!(let_in.tell(2), 2);
        let told: Vec<_> = tokens.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(told[..4], [true, true, true, false]);
        for _ in 0..1000 {
            let token = CancellationToken::new();
            let_in.add(token.clone(), 1);
            token.cancel();
        }
        assert!(let_in.all.len() < 100 + 3 * FEW, "{}", let_in.all.len());
    }
}
