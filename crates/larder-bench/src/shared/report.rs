//! Report: what a run has shown beside what it is compared with, and which bars it meets.

use serde::Serialize;

use crate::{
    machine::Machine,
    spread::Spread,
    table::{NOTHING, table},
};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    /// How many processes wanted a core on average, before the run and after it.
    pub(super) load_before: f64,
    pub(super) load_after: f64,
    pub(super) server: String,
    pub(super) is_short: bool,
    pub(super) figures: Vec<Figure>,
    /// What could not be measured, in sentences.
    pub(super) skipped: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unit {
    Nanoseconds,
    PerSecond,
    Count,
    /// From 0 to 1.
    Share,
}

#[derive(Debug, Serialize)]
pub(super) struct Figure {
    case: &'static str,
    label: String,
    unit: Unit,
    seen: f64,
    beside: Option<Beside>,
    bar: Option<Bar>,
    is_met: Option<bool>,
    note: Option<String>,
}

/// What it is compared with.
#[derive(Debug, Serialize)]
struct Beside {
    what: &'static str,
    seen: f64,
    /// Of the ratios round by round.
    times: Spread,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Bar {
    /// So many times what it is compared with.
    TimesAtMost(f64),
    AtMost(f64),
    AtLeast(f64),
}

impl Unit {
    /// So many of these, for people.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Unit::Nanoseconds if value >= 10e9 => format!("{:.1} s", value / 1e9),
            Unit::Nanoseconds if value >= 10e6 => format!("{:.0} ms", value / 1e6),
            Unit::Nanoseconds if value >= 1e6 => format!("{:.2} ms", value / 1e6),
            Unit::Nanoseconds if value >= 1e3 => format!("{:.1} µs", value / 1e3),
            Unit::Nanoseconds => format!("{value:.1} ns"),
            Unit::PerSecond => format!("{value:.0}/s"),
            Unit::Count => format!("{value:.0}"),
            Unit::Share => format!("{:.1} %", value * 100.0),
        }
    }
}

impl Figure {
    pub(super) fn new(
        case: &'static str,
        label: impl Into<String>,
        unit: Unit,
        seen: f64,
    ) -> Figure {
        let (beside, bar, is_met, note) = (None, None, None, None);
        Figure { case, label: label.into(), unit, seen, beside, bar, is_met, note }
    }

    /// The medians of two that took turns, and of their ratios round by round. `None` of no rounds.
    pub(super) fn of_rounds(
        case: &'static str,
        label: impl Into<String>,
        seen: &[f64],
        (what, others): (&'static str, &[f64]),
    ) -> Option<Figure> {
        let ratios: Vec<_> = seen.iter().zip(others).map(|(seen, other)| seen / other).collect();
        let beside = Beside { what, seen: Spread::of(others)?.median, times: Spread::of(&ratios)? };
        let seen = Spread::of(seen)?.median;
        Some(Figure { beside: Some(beside), ..Figure::new(case, label, Unit::Nanoseconds, seen) })
    }

    pub(super) fn beside(self, what: &'static str, seen: f64) -> Figure {
        let times = self.seen / seen;
        let times = Spread { median: times, lower_quartile: times, upper_quartile: times };
        Figure { beside: Some(Beside { what, seen, times }), ..self }
    }

    pub(super) fn bar(self, bar: Bar) -> Figure {
        let is_met = match bar {
            Bar::TimesAtMost(most) => self.beside.as_ref().map(|it| it.times.median <= most),
            Bar::AtMost(most) => Some(self.seen <= most),
            Bar::AtLeast(least) => Some(self.seen >= least),
        };
        Figure { bar: Some(bar), is_met, ..self }
    }

    pub(super) fn note(self, note: impl Into<String>) -> Figure {
        Figure { note: Some(note.into()), ..self }
    }

    /// In one line, for whoever waits.
    pub(super) fn line(&self) -> String {
        self.cells().into_iter().filter(|cell| cell != NOTHING).collect::<Vec<_>>().join(" | ")
    }

    fn cells(&self) -> Vec<String> {
        let nothing = || NOTHING.to_owned();
        let beside = self.beside.as_ref();
        let times = beside.map(|it| {
            let Spread { median, lower_quartile, upper_quartile } = it.times;
            match lower_quartile == upper_quartile {
                true => format!("{median:.2}"),
                false => format!("{median:.2} ({lower_quartile:.2}–{upper_quartile:.2})"),
            }
        });
        let bar = self.bar.map(|bar| match bar {
            Bar::TimesAtMost(most) => format!("≤ {most} ×"),
            Bar::AtMost(most) => format!("≤ {}", self.unit.show(most)),
            Bar::AtLeast(least) => format!("≥ {}", self.unit.show(least)),
        });
        let verdict = self.is_met.map(|is_met| if is_met { "met" } else { "MISSED" }.to_owned());
        vec![
            self.label.clone(),
            self.unit.show(self.seen),
            beside.map_or_else(nothing, |it| format!("{} {}", it.what, self.unit.show(it.seen))),
            times.unwrap_or_else(nothing),
            bar.unwrap_or_else(nothing),
            verdict.unwrap_or_else(nothing),
        ]
    }
}

impl Report {
    pub(super) fn text(&self) -> String {
        let Machine { processor, cores, kernel, date } = &self.machine;
        let mut text = format!(
            "{processor}, {cores} cores, Linux {kernel}, {date}; load {:.1} before, {:.1} after\n{}\n",
            self.load_before, self.load_after, self.server
        );
        if self.is_short {
            text += "The short form: too few rounds for small differences.\n";
        }
        text += "\n";
        let columns = ["", "seen", "beside", "×", "bar", ""].map(str::to_owned);
        text += &table(&columns, self.figures.iter().map(Figure::cells).collect());
        let noted = self.figures.iter().filter_map(|figure| {
            figure.note.as_ref().map(|note| format!("{}: {note}", figure.label))
        });
        let notes: Vec<_> = noted.chain(self.skipped.iter().cloned()).collect();
        if !notes.is_empty() {
            text += "\nNotes\n\n";
        }
        for note in notes {
            text += &format!("- {note}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_the_unit_that_people_would_choose() {
        let show = |nanos| Unit::Nanoseconds.show(nanos);
        assert_eq!([show(43.21), show(4_321.0), show(2.5e6)], ["43.2 ns", "4.3 µs", "2.50 ms"]);
        assert_eq!([show(512e6), show(61.24e9)], ["512 ms", "61.2 s"]);
        assert_eq!(Unit::Share.show(0.995), "99.5 %");
    }

    #[test]
    fn ratios_are_taken_round_by_round_and_a_bar_is_about_their_median() {
        let rounds = (&[6.0, 12.0, 6.0], &[4.0, 8.0, 5.0]);
        let figure = || Figure::of_rounds("case", "label", rounds.0, ("other", rounds.1)).unwrap();
        assert_eq!(figure().bar(Bar::TimesAtMost(1.5)).is_met, Some(true));
        assert_eq!(figure().bar(Bar::TimesAtMost(1.49)).is_met, Some(false));
        assert!(figure().bar(Bar::TimesAtMost(1.49)).line().ends_with("≤ 1.49 × | MISSED"));
    }

    #[test]
    fn some_bars_are_to_be_reached_and_others_not_to_be_passed() {
        let figure = || Figure::new("case", "label", Unit::Count, 10.0);
        assert_eq!(figure().bar(Bar::AtLeast(10.0)).is_met, Some(true));
        assert_eq!(figure().bar(Bar::AtLeast(11.0)).is_met, Some(false));
        assert_eq!(figure().bar(Bar::AtMost(10.0)).is_met, Some(true));
        assert_eq!(figure().bar(Bar::AtMost(9.0)).is_met, Some(false));
        assert_eq!(figure().bar(Bar::TimesAtMost(1.0)).is_met, None, "beside nothing");
    }
}
