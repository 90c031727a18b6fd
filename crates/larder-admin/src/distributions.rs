//! Distributions: histograms with exemplars, as OpenMetrics text.
//!
//! What encodes the other metrics has exemplars only for histograms that it fills itself, one observation after the other.
//! These are counted elsewhere and read at a scrape, so their lines are written here.

use std::fmt::{self, Write};

use prometheus_client::registry::Unit;

use crate::{
    figures::{Distribution, Distributions, Example},
    metrics::{PREFIX, escaped, unit_of},
};

/// Adds them to a text of metrics that has not ended yet.
pub(crate) fn write(text: &mut String, all: &[Distributions]) -> fmt::Result {
    for Distributions { name, help, bounds, samples } in all {
        let name = format!("{PREFIX}_{name}");
        writeln!(text, "# HELP {name} {help}.")?;
        writeln!(text, "# TYPE {name} histogram")?;
        if let (_, Some(unit)) = unit_of(&name) {
            writeln!(text, "# UNIT {name} {}", Unit::as_str(&unit))?;
        }
        for sample in samples {
            write_one(text, &name, bounds, sample)?;
        }
    }
    Ok(())
}

fn write_one(
    text: &mut String,
    name: &str,
    bounds: &[f64],
    distribution: &Distribution,
) -> fmt::Result {
    let Distribution { labels, counts, sum, examples } = distribution;
    let labels: Vec<_> =
        labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
    let labels = labels.join(",");
    let own = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let behind = if labels.is_empty() { String::new() } else { format!(",{labels}") };
    let (mut below, mut from) = (0, f64::NEG_INFINITY);
    for (bound, count) in bounds.iter().copied().chain([f64::INFINITY]).zip(counts) {
        below += count;
        let end = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
        write!(text, "{name}_bucket{{le=\"{end}\"{behind}}} {below}")?;
        let is_here = |example: &&Example| from < example.value && example.value <= bound;
        if let Some(example) = examples.iter().find(is_here).filter(|_| *count > 0) {
            write_example(text, example)?;
        }
        text.push('\n');
        from = bound;
    }
    writeln!(text, "{name}_count{own} {below}")?;
    writeln!(text, "{name}_sum{own} {sum}")
}

fn write_example(text: &mut String, example: &Example) -> fmt::Result {
    let Example { value, request_id, trace_id, at } = example;
    let trace = trace_id.as_ref().map(|id| format!(",trace_id=\"{}\"", escaped(id)));
    let trace = trace.unwrap_or_default();
    let at = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    write!(text, " # {{request_id=\"{}\"{trace}}} {value} {at:.3}", escaped(request_id))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn written(samples: Vec<Distribution>) -> String {
        let bounds = &[0.01, 0.1, 1.0];
        let all = Distributions { name: "wait_seconds", help: "How long", bounds, samples };
        let mut text = String::new();
        write(&mut text, &[all]).unwrap();
        text
    }

    fn example(value: f64, request_id: &str) -> Example {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        Example { value, request_id: request_id.to_owned(), trace_id: None, at }
    }

    #[test]
    fn buckets_count_all_that_is_no_longer_and_name_one_of_their_own() {
        let text = written(vec![Distribution {
            labels: vec![("route", "/a\"".to_owned())],
            counts: vec![2, 0, 1, 3],
            sum: 12.5,
            examples: vec![
                example(0.004, "one"),
                example(0.01, "on the bound"),
                // Nothing is counted there any more, or not yet.
                example(0.05, "nowhere"),
                example(7.0, "beyond"),
            ],
        }]);
        let labels = "route=\"/a\\\"\"";
        assert_eq!(
            text,
            format!(
                "# HELP larder_wait_seconds How long.\n\
                 # TYPE larder_wait_seconds histogram\n\
                 # UNIT larder_wait_seconds seconds\n\
                 larder_wait_seconds_bucket{{le=\"0.01\",{labels}}} 2 # {{request_id=\"one\"}} 0.004 1700000000.250\n\
                 larder_wait_seconds_bucket{{le=\"0.1\",{labels}}} 2\n\
                 larder_wait_seconds_bucket{{le=\"1\",{labels}}} 3\n\
                 larder_wait_seconds_bucket{{le=\"+Inf\",{labels}}} 6 # {{request_id=\"beyond\"}} 7 1700000000.250\n\
                 larder_wait_seconds_count{{{labels}}} 6\n\
                 larder_wait_seconds_sum{{{labels}}} 12.5\n"
            )
        );
    }

    #[test]
    fn what_has_no_labels_and_nothing_in_it_is_told_as_well() {
        let text = written(vec![Distribution { counts: vec![0; 4], ..Distribution::default() }]);
        assert!(text.contains("larder_wait_seconds_bucket{le=\"+Inf\"} 0\n"), "{text}");
        assert!(text.ends_with("larder_wait_seconds_count 0\nlarder_wait_seconds_sum 0\n"));
        assert_eq!(written(Vec::new()).lines().count(), 3);
    }
}
