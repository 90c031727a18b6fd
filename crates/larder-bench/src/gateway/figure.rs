//! Figure: what one contestant showed in one case, beside the limit, nginx and HAProxy.

use serde::Serialize;

use super::contestant::Who;
use crate::spread::Spread;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    Microseconds,
    Seconds,
    Bytes,
    Times,
}

impl Unit {
    /// So many of these, for people.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Unit::Microseconds if value >= 10_000.0 => format!("{:.0} ms", value / 1000.0),
            Unit::Microseconds if value >= 100.0 => format!("{value:.0} µs"),
            Unit::Microseconds => format!("{value:.2} µs"),
            Unit::Seconds => format!("{value:.2} s"),
            Unit::Bytes => format!("{value:.0} B"),
            Unit::Times if value.fract() == 0.0 => format!("{value:.0}"),
            Unit::Times => format!("{value:.2}"),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// The case's name, as in `--only`, and what of it this is.
    pub(crate) case: String,
    pub(crate) label: String,
    pub(crate) unit: Unit,
    pub(crate) who: Who,
    pub(crate) spread: Spread,
    /// The median of the rounds' ratios: what changes from round to round, changes for both.
    pub(crate) times_limit: Option<f64>,
    pub(crate) times_nginx: Option<f64>,
    pub(crate) times_haproxy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    pub(crate) samples: Vec<f64>,
}

/// Who takes no part in a case, and why.
#[derive(Debug, Serialize)]
pub(crate) struct Absent {
    pub(crate) case: String,
    pub(crate) who: Who,
    pub(crate) why: String,
}

/// What was seen of a contestant in one case, round by round.
pub(crate) struct Samples {
    pub(crate) who: Who,
    pub(crate) samples: Vec<f64>,
    pub(crate) note: Option<String>,
}

impl Samples {
    pub(crate) fn none(who: Who) -> Samples {
        Samples { who, samples: Vec::new(), note: None }
    }

    pub(crate) fn one(who: Who, sample: f64) -> Samples {
        Samples { who, samples: vec![sample], note: None }
    }
}

/// The figures of one case. Contestants without samples have none.
pub(crate) fn figures(case: &str, label: &str, unit: Unit, seen: Vec<Samples>) -> Vec<Figure> {
    let of = |who| seen.iter().find(|seen| seen.who == who).map(|seen| seen.samples.clone());
    let (limit, haproxy) = (of(Who::Limit), of(Who::Haproxy));
    let nginx = best_nginx(&seen).map(|seen| seen.samples.clone());
    let figure = |Samples { who, samples, note }: Samples| {
        Some(Figure {
            case: case.to_owned(),
            label: label.to_owned(),
            unit,
            who,
            spread: Spread::of(&samples)?,
            times_limit: ratio(&samples, limit.as_deref()),
            times_nginx: ratio(&samples, nginx.as_deref()),
            times_haproxy: ratio(&samples, haproxy.as_deref()),
            note,
            samples,
        })
    };
    seen.into_iter().filter_map(figure).collect()
}

/// As a plain proxy, where it takes part as one; else with sendfile or without, whichever is better.
fn best_nginx(seen: &[Samples]) -> Option<&Samples> {
    let uncached = seen.iter().find(|seen| seen.who == Who::NginxUncached);
    let median =
        |seen: &Samples| Spread::of(&seen.samples).map_or(f64::INFINITY, |spread| spread.median);
    uncached.or_else(|| {
        let caching = seen.iter().filter(|seen| seen.who.is_caching_nginx());
        caching.min_by(|one, other| median(one).total_cmp(&median(other)))
    })
}

fn ratio(samples: &[f64], of: Option<&[f64]>) -> Option<f64> {
    let ratios: Vec<_> = samples.iter().zip(of?).map(|(sample, of)| sample / of).collect();
    Spread::of(&ratios).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(who: Who, samples: &[f64]) -> Samples {
        Samples { who, samples: samples.to_vec(), note: None }
    }

    #[test]
    fn ratios_are_taken_round_by_round_to_the_better_nginx() {
        let figures = figures(
            "hit",
            "hit",
            Unit::Microseconds,
            vec![
                seen(Who::Limit, &[4.0, 8.0, 4.0]),
                seen(Who::Larder, &[6.0, 12.0, 6.0]),
                seen(Who::Nginx, &[8.0, 16.0, 8.0]),
                seen(Who::NginxSendfile, &[9.0, 18.0, 9.0]),
                seen(Who::Haproxy, &[4.0, 24.0, 4.0]),
                seen(Who::Varnish, &[]),
            ],
        );
        assert_eq!(figures.len(), 5);
        assert_eq!((figures[1].times_limit, figures[1].times_nginx), (Some(1.5), Some(0.75)));
        assert_eq!(figures[1].times_haproxy, Some(1.5));
    }

    #[test]
    fn passing_is_compared_with_the_plain_proxy() {
        let seen = vec![
            seen(Who::Nginx, &[1.0]),
            seen(Who::NginxUncached, &[10.0]),
            seen(Who::Larder, &[9.0]),
        ];
        let figures = figures("pass", "pass", Unit::Microseconds, seen);
        assert_eq!(figures[2].times_nginx, Some(0.9));
    }
}
