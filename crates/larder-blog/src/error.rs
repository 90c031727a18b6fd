//! Why `blog` could not start or go on, and the exit code each reason has.

use std::{error::Error, io, net::SocketAddr, path::PathBuf};

use larder_admin::log::LevelsError;

use crate::settings::SettingsError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BlogError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("RUST_LOG: {text:?} names no log levels (try \"info\")")]
    LogLevels { text: String, source: LevelsError },
    #[error("cannot start the log")]
    Log(#[source] io::Error),
    #[error(
        "port {port} ({variable}) is in use: stop what listens there, or choose another, \
         for example {variable}={other}",
        port = address.port(),
        other = address.port().wrapping_add(10)
    )]
    PortInUse { variable: &'static str, address: SocketAddr },
    #[error(
        "{one} and {other} are both {port}: choose another port for one of them, for example {other}={free}",
        free = port.wrapping_add(10)
    )]
    SamePort { one: &'static str, other: &'static str, port: u16 },
    #[error("cannot listen on {address} ({variable})")]
    Listen { variable: &'static str, address: SocketAddr, source: io::Error },
    #[error("cannot make or use the data directory {path:?} (BLOG_DATA_DIR)")]
    DataDirectory { path: PathBuf, source: io::Error },
    #[error("cannot open the database {database} ({variable})")]
    Database { database: String, variable: &'static str, source: sqlx::Error },
    #[error("cannot bring the tables of {database} up to date")]
    Migrate { database: String, source: sqlx::migrate::MigrateError },
    #[error("cannot write the ten posts into {database}")]
    Seed { database: String, source: sqlx::Error },
    #[error("{url} is not well: {answer}")]
    Unhealthy { url: http::Uri, answer: String },
    #[error("no part of the blog listens on {}, {} or {}", ports[0], ports[1], ports[2])]
    NothingRuns { ports: [u16; 3] },
    #[error("cannot listen for Ctrl-C")]
    Signals(#[source] io::Error),
}

impl BlogError {
    /// 2: wrong usage or configuration. 1: a failure at run time.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            BlogError::Settings(_)
            | BlogError::LogLevels { .. }
            | BlogError::PortInUse { .. }
            | BlogError::SamePort { .. }
            | BlogError::Listen { .. } => 2,
            BlogError::DataDirectory { .. }
            | BlogError::Database { .. }
            | BlogError::Migrate { .. }
            | BlogError::Seed { .. }
            | BlogError::Unhealthy { .. }
            | BlogError::Log(_)
            | BlogError::NothingRuns { .. }
            | BlogError::Signals(_) => 1,
        }
    }

    /// The error and, each after a colon, what caused it.
    pub(crate) fn with_causes(&self) -> String {
        with_causes(self)
    }
}

/// The text of `error` and, each after a colon, of what caused it. Some errors tell their cause
/// themselves (sqlx's do): it is not told twice.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in causes(error).skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// `error`, then what caused it, and so on.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_an_error_tells_itself_is_not_told_twice() {
        let refused = || io::Error::other("refused");
        let error = sqlx::Error::Io(refused());
        assert_eq!(with_causes(&error).matches("refused").count(), 1);

        let database = "PostgreSQL".to_owned();
        let error = BlogError::Seed { database, source: sqlx::Error::Io(refused()) };
        let text = error.with_causes();
        assert!(text.starts_with("cannot write the ten posts into PostgreSQL: "), "{text}");
        assert_eq!(text.matches("refused").count(), 1, "{text}");

        let error = BlogError::Signals(refused());
        assert_eq!(error.with_causes(), "cannot listen for Ctrl-C: refused");
    }
}
