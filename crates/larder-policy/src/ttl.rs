//! Ttl: how long a policy keeps an answer fresh, by what the origin says and by rules of its own.

use std::{fmt, str::FromStr, time::Duration};

use http::StatusCode;

use crate::settings::Policy;

/// One status, or a hundred of them: `404`, `5xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statuses {
    first: u16,
    last: u16,
}

/// A text that stands for no status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no status that could be stored: \"404\", or \"5xx\" for all from 500 to 599")]
pub struct NoStatus(pub String);

impl Statuses {
    fn contain(self, status: StatusCode) -> bool {
        (self.first..=self.last).contains(&status.as_u16())
    }

    fn is_one(self) -> bool {
        self.first == self.last
    }
}

impl FromStr for Statuses {
    type Err = NoStatus;

    fn from_str(text: &str) -> Result<Statuses, NoStatus> {
        let wrong = || NoStatus(text.to_owned());
        let (first, last) = match text.as_bytes() {
            [class @ b'2'..=b'5', b'x', b'x'] => {
                let first = u16::from(class - b'0') * 100;
                (first, first + 99)
            }
            [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'] => {
                let status = text.parse().map_err(|_| wrong())?;
                (status, status)
            }
            _ => return Err(wrong()),
        };
        Ok(Statuses { first, last })
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_one() {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}xx", self.first / 100),
        }
    }
}

impl Policy {
    /// How long an answer is fresh that names this TTL, or none, and then may leave it to the cache. `None`: nobody says.
    #[inline]
    pub(crate) fn ttl(
        &self,
        status: StatusCode,
        named: Option<Duration>,
        is_silent: bool,
    ) -> Option<Duration> {
        match named {
            Some(named) if self.leaves_ttls() => Some(named),
            _ => self.ruled_ttl(status, named, is_silent),
        }
    }

    /// Whether what an origin names is what holds.
    fn leaves_ttls(&self) -> bool {
        let Policy { ttl_override, min_ttl, max_ttl, ttl_by_status, .. } = self;
        ttl_override.is_none() && min_ttl.is_none() && max_ttl.is_none() && ttl_by_status.is_empty()
    }

    fn ruled_ttl(
        &self,
        status: StatusCode,
        named: Option<Duration>,
        is_silent: bool,
    ) -> Option<Duration> {
        let of_status = self.ttl_of(status);
        match (named, of_status, self.ttl_override) {
            (_, Some(Duration::ZERO), _) => of_status,
            (_, Some(_), Some(_)) => of_status,
            (Some(_), None, Some(rule)) => Some(rule),
            (None, None, Some(rule)) => by_default(status, rule),
            (Some(named), _, None) => {
                let floor = self.min_ttl.and_then(|floor| by_default(status, floor));
                Some(self.capped(named.max(floor.unwrap_or_default())))
            }
            (None, Some(_), None) if is_silent => of_status,
            (None, None, None) if is_silent => {
                let rule = by_default(status, self.default_ttl?)?;
                Some(self.capped(rule))
            }
            (None, ..) => None,
        }
    }

    /// At most as long as the ceiling.
    pub(crate) fn capped(&self, ttl: Duration) -> Duration {
        self.max_ttl.map_or(ttl, |most| ttl.min(most))
    }

    /// Whether answers with this status are never fresh, nor of use when they are stale.
    pub(crate) fn forbids_status(&self, status: StatusCode) -> bool {
        self.ttl_of(status) == Some(Duration::ZERO)
    }

    /// A status by itself goes before its hundred.
    fn ttl_of(&self, status: StatusCode) -> Option<Duration> {
        let fitting = self.ttl_by_status.iter().filter(|(statuses, _)| statuses.contain(status));
        fitting.max_by_key(|(statuses, _)| statuses.is_one()).map(|(_, ttl)| *ttl)
    }
}

/// How long a rule for all statuses, instead of the origin's word, may keep an answer fresh.
fn by_default(status: StatusCode, rule: Duration) -> Option<Duration> {
    const NOT_THERE: Duration = Duration::from_secs(60);
    match status.as_u16() {
        200 | 203 | 206 | 301 | 308 => Some(rule),
        // It may be there soon.
        404 | 410 => Some(rule.min(NOT_THERE)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_more_particular_goes_before_what_is_less() {
        let by_status = |rows: &[(&str, u64)]| {
            rows.iter().map(|(text, ttl)| (text.parse().unwrap(), secs(*ttl))).collect::<Vec<_>>()
        };
        let plain = Policy::guarded();
        let bounds = plain.clone().min_ttl(secs(10)).max_ttl(secs(100));
        let silent = plain.clone().default_ttl(secs(200)).max_ttl(secs(100));
        let statuses =
            plain.clone().ttl_by_status(by_status(&[("4xx", 7), ("404", 5), ("5xx", 0)]));
        let both = statuses.clone().ttl_override(secs(50));
        for (policy, status, named, ttl) in [
            (&plain, 200, Some(1), Some(1)),
            (&plain, 200, None, None),
            (&bounds, 200, Some(1), Some(10)),
            (&bounds, 200, Some(50), Some(50)),
            (&bounds, 200, Some(500), Some(100)),
            // A floor is for what could be kept by a rule at all.
            (&bounds, 500, Some(1), Some(1)),
            (&bounds, 200, None, None),
            (&silent, 200, None, Some(100)),
            (&silent, 404, None, Some(60)),
            (&silent, 500, None, None),
            (&statuses, 404, None, Some(5)),
            (&statuses, 403, None, Some(7)),
            // What an origin says itself goes before, but for a zero.
            (&statuses, 404, Some(99), Some(99)),
            (&statuses, 503, Some(99), Some(0)),
            (&statuses, 503, None, Some(0)),
            (&both, 404, Some(99), Some(5)),
            (&both, 200, Some(99), Some(50)),
            (&both, 302, None, None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let found = policy.ttl(status, named.map(secs), named.is_none());
            assert_eq!(found, ttl.map(secs), "{status} {named:?}");
        }
        assert_eq!(silent.ttl(StatusCode::OK, None, false), None);
    }

    #[test]
    fn a_status_is_three_digits_or_a_hundred() {
        for text in ["200", "2xx", "404", "599", "5xx"] {
            assert_eq!(text.parse::<Statuses>().unwrap().to_string(), text);
        }
        for text in ["", "1xx", "99", "600", "20x", "5XX", "2000", "-20", " 200"] {
            assert!(text.parse::<Statuses>().is_err(), "{text}");
        }
    }
}
