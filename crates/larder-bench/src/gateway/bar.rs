//! Bar: what Larder has set itself for a figure, and whether it is met.

use std::fmt;

use serde::Serialize;

use super::{
    contestant::Who,
    figure::{Figure, Unit},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Measure {
    Value,
    TimesLimit,
    TimesNginx,
}

struct Bar {
    case: &'static str,
    measure: Measure,
    at_most: f64,
}

const fn bar(case: &'static str, measure: Measure, at_most: f64) -> Bar {
    Bar { case, measure, at_most }
}

const BARS: [Bar; 15] = [
    bar("hit-2k", Measure::TimesLimit, 1.15),
    bar("hit-2k", Measure::TimesNginx, 0.60),
    bar("hit-16k", Measure::TimesNginx, 0.65),
    bar("hit-256k", Measure::TimesNginx, 0.65),
    bar("hit-1m", Measure::TimesNginx, 0.80),
    // One to receive and one to send, and what it takes to accept the connections.
    bar("syscalls", Measure::Value, 2.1),
    bar("paced.p99", Measure::Value, 200.0),
    bar("pass", Measure::TimesNginx, 1.0),
    bar("idle", Measure::Value, 2000.0),
    bar("memory", Measure::Value, 450.0),
    bar("stampede.calls", Measure::Value, 1.0),
    bar("stampede.last", Measure::Value, 2.1),
    bar("stampede-no-store.last", Measure::Value, 4.15),
    bar("stampede-no-store-known.last", Measure::Value, 2.15),
    bar("stampede-6s.last", Measure::Value, 6.1),
];

/// A bar, and what was seen.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    case: String,
    label: String,
    unit: Unit,
    measure: Measure,
    at_most: f64,
    seen: f64,
    is_met: bool,
}

/// What Larder's figures mean. A bar without a figure has no verdict.
pub(crate) fn verdicts(figures: &[Figure]) -> Vec<Verdict> {
    let verdict = |bar: &Bar| {
        let figure =
            figures.iter().find(|figure| figure.who == Who::Larder && figure.case == bar.case)?;
        let seen = match bar.measure {
            Measure::Value => figure.spread.median,
            Measure::TimesLimit => figure.times_limit?,
            Measure::TimesNginx => figure.times_nginx?,
        };
        Some(Verdict {
            case: figure.case.clone(),
            label: figure.label.clone(),
            unit: figure.unit,
            measure: bar.measure,
            at_most: bar.at_most,
            seen,
            is_met: seen <= bar.at_most,
        })
    };
    BARS.iter().filter_map(verdict).collect()
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_met { "met   " } else { "missed" };
        let of = match self.measure {
            Measure::Value => "",
            Measure::TimesLimit => " × limit",
            Measure::TimesNginx => " × nginx",
        };
        let show = |value| match self.measure {
            Measure::Value => self.unit.show(value),
            Measure::TimesLimit | Measure::TimesNginx => format!("{value:.2}"),
        };
        let (seen, at_most) = (show(self.seen), show(self.at_most));
        write!(out, "{word}  {}: {seen}{of}, at most {at_most}", self.label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::figure::{Samples, figures};

    fn larder(case: &str, value: f64, limit: f64) -> Vec<Figure> {
        let seen = |who, value| Samples { who, samples: vec![value], note: None };
        let seen = vec![seen(Who::Limit, limit), seen(Who::Larder, value)];
        figures(case, case, Unit::Microseconds, seen)
    }

    #[test]
    fn a_bar_is_met_up_to_its_value_and_missed_beyond() {
        let verdicts = |value| verdicts(&larder("hit-2k", value, 4.0));
        assert_eq!(verdicts(4.6).len(), 1, "nginx took no part");
        assert!(verdicts(4.4)[0].is_met);
        assert!(!verdicts(4.8)[0].is_met);
        assert!(
            verdicts(4.8)[0].to_string().starts_with("missed  hit-2k: 1.20 × limit, at most 1.15")
        );
    }

    #[test]
    fn the_figures_of_others_have_no_bar() {
        let mut figures = larder("idle", 1.0, 1.0);
        figures.retain(|figure| figure.who != Who::Larder);
        assert!(super::verdicts(&figures).is_empty());
    }
}
