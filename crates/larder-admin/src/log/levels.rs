//! Levels: which events are logged, as an operator says it.

use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Where our own events come from: the crates of Larder, and the commands `larder` and `blog`.
const OWN: [&str; 2] = ["larder", "blog"];

/// A level for Larder's own events, and further ones by module. Events of other crates are off unless they
/// are named: what they find worth a warning a client can often cause.
///
/// ```
/// use larder_admin::log::Levels;
///
/// let levels: Levels = "warn,larder_gateway=debug,h2=debug".parse()?;
/// # Ok::<(), larder_admin::log::LevelsError>(())
/// ```
///
/// Without a level of its own (`h2=debug` alone), `info` holds for Larder's events.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    own: LevelFilter,
    by_module: Vec<(String, LevelFilter)>,
}

/// A part of the text is neither a level nor `module=level`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelsError {
    part: String,
}

impl std::fmt::Display for LevelsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} is neither error, warn, info, debug, trace or off, nor module=level",
            self.part
        )
    }
}

impl std::error::Error for LevelsError {}

impl FromStr for Levels {
    type Err = LevelsError;

    fn from_str(text: &str) -> Result<Levels, LevelsError> {
        let mut levels = Levels { own: LevelFilter::INFO, by_module: Vec::new() };
        for part in text.split(',').map(str::trim) {
            let (module, name) = match part.split_once('=') {
                Some((module, name)) => (Some(module.trim()), name.trim()),
                None => (None, part),
            };
            let level = name.parse::<LevelFilter>().ok().filter(|_| !name.is_empty());
            let is_module = |name: &str| {
                let is_part =
                    |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
                !name.is_empty() && name.bytes().all(is_part)
            };
            match (module, level) {
                (None, Some(level)) => levels.own = level,
                (Some(module), Some(level)) if is_module(module) => {
                    levels.by_module.push((module.to_owned(), level));
                }
                _ => return Err(LevelsError { part: part.to_owned() }),
            }
        }
        Ok(levels)
    }
}

impl Levels {
    pub(super) fn to_filter(&self) -> Targets {
        let own = OWN.map(|own| (own.to_owned(), self.own));
        Targets::new().with_targets(own).with_targets(self.by_module.clone())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn other_crates_are_silent_unless_they_are_named() {
        let rows = [
            // What is said, and for whom which level is the last that is logged.
            ("info", "larder", Some(Level::INFO)),
            ("info", "larder::serve", Some(Level::INFO)),
            ("info", "larder_gateway::gateway", Some(Level::INFO)),
            ("info", "blog::backend", Some(Level::INFO)),
            ("info", "h2::proto", None),
            ("trace", "h2::proto", None),
            ("trace", "larder_gateway::gateway", Some(Level::TRACE)),
            ("off", "larder_gateway::gateway", None),
            ("h2=debug", "h2::proto", Some(Level::DEBUG)),
            ("h2=debug", "larder_gateway::gateway", Some(Level::INFO)),
            ("warn, h2=info", "h2::proto", Some(Level::INFO)),
            ("warn, h2=info", "larder", Some(Level::WARN)),
            ("larder_gateway=debug,error", "larder_gateway::gateway", Some(Level::DEBUG)),
            ("larder_gateway=debug,error", "larder_admin::guard", Some(Level::ERROR)),
            ("larder_gateway::gateway=off", "larder_gateway::gateway", None),
            ("larder_gateway::gateway=off", "larder_gateway::upstream", Some(Level::INFO)),
        ];
        let all = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        for (text, target, last) in rows {
            let filter = text.parse::<Levels>().unwrap().to_filter();
            for level in all {
                let is_logged = last.is_some_and(|last| level <= last);
                assert_eq!(
                    filter.would_enable(target, &level),
                    is_logged,
                    "{text}: {target} {level}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_level_is_refused_and_named() {
        for (text, part) in [
            ("", ""),
            ("debgu", "debgu"),
            ("info,", ""),
            ("info,larder=loud", "larder=loud"),
            ("larder", "larder"),
            ("=info", "=info"),
            ("larder=", "larder="),
            ("no=such=level", "no=such=level"),
            ("larder[span]=info", "larder[span]=info"),
        ] {
            let error = text.parse::<Levels>().unwrap_err();
            assert_eq!(error, LevelsError { part: part.to_owned() }, "{text}");
        }
    }
}
