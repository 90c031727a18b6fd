//! What an access log holds, and where it goes.

use std::path::PathBuf;

/// What is logged of each request, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogConfig {
    /// Where lines go.
    pub to: Destination,
    /// How a line is written. Default JSON.
    pub format: Format,
    /// How many of the requests are logged that were answered whole and without an error, from 0 to 1; all others
    /// are logged in any case. Default 1.
    pub sample: f64,
    /// What becomes of queries, those in `Referer` among them. Default masked.
    pub query: Query,
    /// What becomes of readers' addresses. Default kept.
    pub addresses: Addresses,
    /// How many bytes of lines may wait to be written; what comes beyond is lost and counted. Default 1 MiB.
    pub buffer_bytes: usize,
}

impl AccessLogConfig {
    /// The defaults, to this place.
    pub fn to(to: Destination) -> AccessLogConfig {
        AccessLogConfig {
            to,
            format: Format::default(),
            sample: 1.0,
            query: Query::default(),
            addresses: Addresses::default(),
            buffer_bytes: 1 << 20,
        }
    }
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// The end of a file, which is made if it is not there. It may be a pipe that somebody reads.
    File(PathBuf),
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    /// The combined format of Apache and nginx, and behind it what the cache has to say, as `name=value`.
    Combined,
}

/// What becomes of queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Query {
    /// They are logged as they came.
    Keep,
    /// Names are logged, and `*` for each value.
    #[default]
    Mask,
    /// That there was one is not logged.
    Drop,
}

/// What becomes of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// They are logged.
    #[default]
    Keep,
    /// Their networks are: the first 24 bits with IPv4, the first 48 with IPv6.
    Mask,
    /// Nothing of them is.
    Drop,
}
