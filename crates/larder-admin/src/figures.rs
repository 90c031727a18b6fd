//! Figures: what the console shows of the parts of a process that are not caches.
//!
//! The caches are below this crate, which knows what to ask them. What serves them (listeners, upstreams) is
//! above it, and gives its figures through [`Figures`].

use std::borrow::Cow;

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

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Never goes down while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
}
