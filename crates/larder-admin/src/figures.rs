//! Figures: what the console shows of the parts of a process that are not caches.
//!
//! The caches are below this crate, which knows what to ask them. What serves them (listeners, upstreams) is
//! above it, and gives its figures through [`Figures`].

use std::{borrow::Cow, time::SystemTime};

/// A part of a process that has figures to show, for [`Admin::metrics`](crate::Admin::metrics).
pub trait Figures: Send + Sync {
    /// All of them, as they are now. Asked at each scrape, perhaps by several at once; it must not wait.
    /// Each call returns the same names.
    fn families(&self) -> Vec<Family>;

    /// Those with labels that are known only while it runs, as the names of a configuration. Asked as
    /// [`families`](Figures::families) are.
    fn tables(&self) -> Vec<Table> {
        Vec::new()
    }

    /// Those that are distributions. Asked as [`families`](Figures::families) are.
    fn distributions(&self) -> Vec<Distributions> {
        Vec::new()
    }
}

impl<F: Fn() -> Vec<Family> + Send + Sync> Figures for F {
    fn families(&self) -> Vec<Family> {
        self()
    }
}

/// Numbers of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without `larder_` in front, and without `_total` at the end. With the unit at the end if it has one:
    /// `_seconds`, `_bytes`.
    pub name: &'static str,
    /// One sentence without a full stop.
    pub help: &'static str,
    /// Whether it can go down.
    pub kind: Kind,
    /// What tells its numbers apart, from a closed set; empty where there is only one.
    pub label: &'static str,
    /// The label's values, and the numbers.
    pub samples: Vec<(Cow<'static, str>, f64)>,
}

/// Numbers of one name, each with labels of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// As [`Family::name`].
    pub name: &'static str,
    /// One sentence without a full stop.
    pub help: &'static str,
    /// Whether it can go down.
    pub kind: Kind,
    /// The labels and their values, and the numbers. A configuration bounds how many there are.
    pub samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

/// Distributions of one name, each with labels of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Distributions {
    /// As [`Family::name`], with its unit.
    pub name: &'static str,
    /// One sentence without a full stop.
    pub help: &'static str,
    /// Up to where each bucket goes, the smallest first. One more has what is beyond the last.
    pub bounds: &'static [f64],
    /// Each of them. A configuration bounds how many there are.
    pub samples: Vec<Distribution>,
}

/// How often what was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// The labels and their values.
    pub labels: Vec<(&'static str, String)>,
    /// How much was in each bucket, and in none of those before it. What has no bucket is not told.
    pub counts: Vec<u64>,
    /// All that was seen, together.
    pub sum: f64,
    /// Single ones by which others find out more. Of several in one bucket the first is told.
    pub examples: Vec<Example>,
}

/// One of those that a distribution is of: an exemplar of OpenMetrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// What it was.
    pub value: f64,
    /// The id of its request, by which `/v1/requests/{id}` tells more.
    pub request_id: String,
    /// By which its trace is found, where there is one.
    pub trace_id: Option<String>,
    /// When.
    pub at: SystemTime,
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Never goes down while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
}
