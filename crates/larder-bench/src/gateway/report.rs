//! Report: what a run has shown, as tables for people and as JSON.

use serde::Serialize;

use super::{
    bar::Verdict,
    contestant::Who,
    figure::{Absent, Figure, Unit},
};
use crate::{
    machine::Machine,
    table::{NOTHING, table},
};

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) run: Run,
    pub(crate) contestants: Vec<Named>,
    /// What could not be measured at all, in sentences.
    pub(crate) skipped: Vec<String>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) absent: Vec<Absent>,
    pub(crate) figures: Vec<Figure>,
}

/// How it was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) is_short: bool,
    pub(crate) rounds: usize,
    pub(crate) slice_ms: u64,
    pub(crate) paced_per_second: u32,
    pub(crate) idle_connections: usize,
    pub(crate) objects: usize,
    pub(crate) stampede_readers: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct Named {
    pub(crate) who: Who,
    pub(crate) version: Option<String>,
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let Machine { processor, cores, kernel, date } = &self.machine;
        let Run { rounds, slice_ms, .. } = self.run;
        let mut text = format!(
            "{processor}, {cores} cores, Linux {kernel}, {date}\n\
             {rounds} rounds of {slice_ms} ms for each, interleaved; medians, and quartiles in brackets\n"
        );
        if self.run.is_short {
            text += "The short form: too few rounds for small differences.\n";
        }
        for Named { who, version } in &self.contestants {
            if let Some(version) = version {
                text += &format!("{}: {version}\n", who.name());
            }
        }
        text += "\n";
        text += &self.overview();
        let by_case = self.by_case();
        if !by_case.is_empty() {
            text += "\nCPU time per request in µs\n\n";
            text += &by_case;
        }
        if !self.verdicts.is_empty() {
            text += "\nWhat Larder has set itself\n\n";
        }
        for verdict in &self.verdicts {
            text += &format!("{verdict}\n");
        }
        let notes = self.notes();
        if !notes.is_empty() {
            text += "\nNotes\n\n";
        }
        for note in notes {
            text += &format!("- {note}\n");
        }
        text
    }

    /// One row for each contestant.
    fn overview(&self) -> String {
        let Run { paced_per_second, idle_connections, objects, stampede_readers, .. } = self.run;
        let columns = [
            "".to_owned(),
            "CPU per hit (2.25 kB)".to_owned(),
            "× limit".to_owned(),
            "× nginx".to_owned(),
            "syscalls per hit".to_owned(),
            format!("{paced_per_second}/s: p50, p99, p99.9"),
            "CPU per pass".to_owned(),
            "× nginx".to_owned(),
            format!("idle connection (of {idle_connections})"),
            format!("object of 1 KiB, beside its body (of {objects})"),
            format!("{stampede_readers} on a cold key, 2 s: calls, last"),
            "2 s, no-store: first, known".to_owned(),
            "6 s: calls, last".to_owned(),
        ];
        let rows = Who::ALL.into_iter().filter_map(|who| {
            let value = |case: &str| {
                self.find(case, who).map(|figure| figure.unit.show(figure.spread.median))
            };
            let ratio = |case: &str, pick: fn(&Figure) -> Option<f64>| {
                self.find(case, who).and_then(pick).map(|ratio| format!("{ratio:.2}"))
            };
            let all = |cases: &[&str]| {
                let values: Option<Vec<_>> = cases.iter().map(|case| value(case)).collect();
                values.map(|values| values.join(", "))
            };
            let cells = [
                value("hit-2k"),
                ratio("hit-2k", |figure| figure.times_limit),
                ratio("hit-2k", |figure| figure.times_nginx),
                value("syscalls"),
                all(&["paced.p50", "paced.p99", "paced.p999"]),
                value("pass"),
                ratio("pass", |figure| figure.times_nginx),
                value("idle"),
                value("memory"),
                all(&["stampede.calls", "stampede.last"]),
                all(&["stampede-no-store.last", "stampede-no-store-known.last"]),
                all(&["stampede-6s.calls", "stampede-6s.last"]),
            ];
            let is_empty = cells.iter().all(Option::is_none);
            let cells = cells.map(|cell| cell.unwrap_or_else(|| NOTHING.to_owned()));
            (!is_empty).then(|| [&[who.name().to_owned()], &cells[..]].concat())
        });
        table(&columns, rows.collect())
    }

    /// One row for each case whose figure is CPU time.
    fn by_case(&self) -> String {
        let is_cpu =
            |figure: &&Figure| figure.unit == Unit::Microseconds && !figure.case.contains('.');
        let mut cases: Vec<(&str, &str)> = Vec::new();
        for figure in self.figures.iter().filter(is_cpu) {
            if !cases.iter().any(|(case, _)| *case == figure.case) {
                cases.push((&figure.case, &figure.label));
            }
        }
        let mut columns = vec![String::new()];
        columns.extend(Who::ALL.map(|who| who.name().to_owned()));
        columns.extend(["limit", "nginx", "HAProxy"].map(|of| format!("larder × {of}")));
        let rows = cases.into_iter().map(|(case, label)| {
            let mut row = vec![label.to_owned()];
            row.extend(Who::ALL.map(|who| match self.find(case, who) {
                Some(Figure { spread, .. }) => format!(
                    "{:.2} ({:.2}–{:.2})",
                    spread.median, spread.lower_quartile, spread.upper_quartile
                ),
                None => NOTHING.to_owned(),
            }));
            let larder = self.find(case, Who::Larder);
            let ratios = [
                larder.and_then(|larder| larder.times_limit),
                larder.and_then(|larder| larder.times_nginx),
                larder.and_then(|larder| larder.times_haproxy),
            ];
            row.extend(ratios.map(|ratio| {
                ratio.map_or_else(|| NOTHING.to_owned(), |ratio| format!("{ratio:.2}"))
            }));
            row
        });
        table(&columns, rows.collect())
    }

    fn notes(&self) -> Vec<String> {
        let absent = self
            .absent
            .iter()
            .map(|Absent { case, who, why }| format!("{}, {case}: {why}", who.name()));
        let noted = self.figures.iter().filter_map(|figure| {
            figure
                .note
                .as_ref()
                .map(|note| format!("{}, {}: {note}", figure.who.name(), figure.label))
        });
        self.skipped.iter().cloned().chain(absent).chain(noted).collect()
    }

    fn find(&self, case: &str, who: Who) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.case == case && figure.who == who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_their_unit() {
        assert_eq!(Unit::Microseconds.show(4.271), "4.27 µs");
        assert_eq!(Unit::Microseconds.show(150.4), "150 µs");
        assert_eq!(Unit::Microseconds.show(12_345.0), "12 ms");
        assert_eq!(Unit::Times.show(1.0), "1");
        assert_eq!(Unit::Bytes.show(449.6), "450 B");
    }
}
