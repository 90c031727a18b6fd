//! Stamp: an instant as the vendors' signatures write it, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    year: u64,
    month: u64,
    day: u64,
    second: u64,
}

impl Stamp {
    pub(super) fn of(time: SystemTime) -> Stamp {
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Days since the first of March of the year 0, so that a leap day is a year's last (H. Hinnant, "chrono-Compatible
        // Low-Level Date Algorithms").
        let days = seconds / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        Stamp { year, month, day, second: seconds % 86_400 }
    }

    fn clock(self) -> (u64, u64, u64) {
        (self.second / 3600, self.second / 60 % 60, self.second % 60)
    }

    /// `20150830`, and `20150830T123600Z`.
    pub(super) fn compact(self) -> (String, String) {
        let Stamp { year, month, day, .. } = self;
        let (hours, minutes, seconds) = self.clock();
        let date = format!("{year:04}{month:02}{day:02}");
        let time = format!("{date}T{hours:02}{minutes:02}{seconds:02}Z");
        (date, time)
    }

    /// `20140321T19:34:21+0000`.
    pub(super) fn with_colons(self) -> String {
        let (hours, minutes, seconds) = self.clock();
        format!("{}T{hours:02}:{minutes:02}:{seconds:02}+0000", self.compact().0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_are_counted_as_httpdate_counts_them() {
        // Every day of 480 years, at some second of it.
        for day in 0..175_000u64 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400 + day % 86_400);
            let expected: httpdate::HttpDate = time.into();
            let (_, text) = Stamp::of(time).compact();
            let read = format!(
                "{}-{}-{} {}:{}:{}",
                &text[..4],
                &text[4..6],
                &text[6..8],
                &text[9..11],
                &text[11..13],
                &text[13..15]
            );
            let said = expected.to_string();
            let parts: Vec<&str> = said.split([' ', ',']).filter(|part| !part.is_empty()).collect();
            let month = 1 + [
                "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
            ]
            .iter()
            .position(|name| *name == parts[2])
            .unwrap();
            assert_eq!(read, format!("{}-{month:02}-{} {}", parts[3], parts[1], parts[4]));
        }
        let at = UNIX_EPOCH + Duration::from_secs(1_395_430_461);
        assert_eq!(Stamp::of(at).with_colons(), "20140321T19:34:21+0000");
    }
}
