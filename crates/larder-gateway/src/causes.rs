//! Causes: an error and what is behind it, in one line of a few words.

use std::error::Error;

/// Whatever a server has said.
const MOST_BYTES: usize = 300;

pub(crate) fn in_a_line(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Some say themselves what is behind them.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text.truncate(text.floor_char_boundary(MOST_BYTES));
    text
}
