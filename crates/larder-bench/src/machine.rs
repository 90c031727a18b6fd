//! Machine: what a run was measured on.

use std::fs;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) date: String,
}

impl Machine {
    pub(crate) fn this() -> Machine {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let named = |name| processors.lines().filter_map(move |line| line.strip_prefix(name));
        Machine {
            processor: named("model name")
                .next()
                .unwrap_or("?")
                .trim_start_matches([' ', '\t', ':'])
                .to_owned(),
            cores: named("processor").count(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            date: httpdate::fmt_http_date(std::time::SystemTime::now()),
        }
    }
}
