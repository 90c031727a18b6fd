//! Progress: how far a purge is, shown while it is waited for. At a terminal the lines of the tiers stand in one place and
//! change; elsewhere a line is written when it has changed.

use std::io::{IsTerminal, Write, stderr};

use ratatui::crossterm::terminal;

/// Of a terminal that does not say its size.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// What is shown on standard error, and of it, what stands there by now.
pub(crate) enum Progress {
    /// So many lines that are written over.
    Live { lines: usize },
    /// The last line of each tier.
    Plain { told: Vec<String> },
    /// For programs.
    Silent,
}

impl Progress {
    pub(crate) fn new(is_silent: bool) -> Progress {
        match () {
            () if is_silent => Progress::Silent,
            () if stderr().is_terminal() => Progress::Live { lines: 0 },
            () => Progress::Plain { told: Vec::new() },
        }
    }

    /// `text`: a line for what was purged, and one for each tier.
    pub(crate) fn show(&mut self, text: &str) {
        let size = terminal::size().unwrap_or(USUAL_SIZE);
        // Who cannot see it is told in the end.
        stderr().write_all(self.drawn(text, size).as_bytes()).ok();
    }

    /// Takes what is written over away: what is told in the end takes its place.
    pub(crate) fn end(&mut self) {
        if let Progress::Live { lines } = self {
            stderr().write_all(back(*lines).as_bytes()).ok();
            *lines = 0;
        }
    }

    /// What is to be written for that, on a screen of so many columns and rows.
    fn drawn(&mut self, text: &str, (columns, rows): (u16, u16)) -> String {
        match self {
            Progress::Silent => String::new(),
            Progress::Live { lines } => {
                let mut out = back(*lines);
                // A line that goes on in the next row, and one that has left the screen, cannot be written over.
                let (columns, rows) =
                    (usize::from(columns).saturating_sub(1), usize::from(rows).saturating_sub(1));
                *lines = 0;
                for line in text.lines().take(rows) {
                    out.extend(line.chars().take(columns));
                    out.push('\n');
                    *lines += 1;
                }
                out
            }
            Progress::Plain { told } => {
                let tiers: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
                let is_news = |line: &&String| !told.contains(line);
                let out = tiers.iter().filter(is_news).map(|line| format!("{line}\n")).collect();
                *told = tiers;
                out
            }
        }
    }
}

/// To the first of so many lines, and away with them.
fn back(lines: usize) -> String {
    if lines > 0 { format!("\x1b[{lines}A\x1b[J") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_terminal_the_same_lines_change_and_none_goes_on_in_the_next_row() {
        let mut live = Progress::Live { lines: 0 };
        assert_eq!(
            live.drawn("purged a\n  memory  applied\n", (80, 24)),
            "purged a\n  memory  applied\n"
        );
        assert_eq!(
            live.drawn("purged a\n  cdn\n  x\n", (6, 24)),
            "\x1b[2A\x1b[Jpurge\n  cdn\n  x\n"
        );
        assert_eq!(live.drawn("purged a\n  cdn\n  x\n", (80, 3)), "\x1b[3A\x1b[Jpurged a\n  cdn\n");
        assert_eq!(live.drawn("a\n", (80, 24)), "\x1b[2A\x1b[Ja\n");
        assert_eq!(live.drawn("a\n", (0, 0)), "\x1b[1A\x1b[J");
        assert_eq!(live.drawn("a\n", (1, 1)), "");
    }

    #[test]
    fn elsewhere_a_line_is_written_when_it_has_changed() {
        let mut plain = Progress::Plain { told: Vec::new() };
        let size = (10, 2);
        assert_eq!(
            plain.drawn("p\n  memory  applied\n  cdn  edge queued\n", size),
            "  memory  applied\n  cdn  edge queued\n"
        );
        assert_eq!(plain.drawn("p\n  memory  applied\n  cdn  edge queued\n", size), "");
        assert_eq!(
            plain.drawn("p\n  memory  applied\n  cdn  edge sent\n", size),
            "  cdn  edge sent\n"
        );
        assert_eq!(Progress::Silent.drawn("p\n  memory\n", size), "");
    }
}
