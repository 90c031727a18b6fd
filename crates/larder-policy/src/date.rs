//! HTTP dates: the three formats a recipient has to read, and the one it writes (RFC 9110 §5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

const SHORT_DAYS: [&[u8]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const LONG_DAYS: [&[u8]; 7] =
    [b"Sunday", b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday"];
const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const SECS_PER_DAY: i64 = 86_400;

/// The instant that a field value names, if it is a date in one of the three formats of RFC 9110
/// §5.6.7, from the year 1900 to 9999.
///
/// Lenient where origins are sloppy: names in any case, and a weekday that does not fit its date.
/// Strict in all else (another zone, one digit where two belong, two spaces, a year of two digits
/// outside RFC 850's format): such a date has more than one reading, and a wrong one serves stale.
pub fn parse(value: &[u8]) -> Option<SystemTime> {
    let value = value.trim_ascii();
    let civil = imf_fixdate(value).or_else(|| rfc_850(value)).or_else(|| asctime(value))?;
    civil.instant()
}

/// The date in the format every sender has to use (`IMF-fixdate`), cut to whole seconds. What lies
/// outside the years 1900 to 9999 becomes the nearest date inside.
pub fn format(instant: SystemTime) -> HeaderValue {
    let secs = match instant.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // Downwards: a fraction of a second before the epoch belongs to the second before it.
        Err(before) => {
            let before = before.duration();
            let secs = i64::try_from(before.as_secs()).unwrap_or(i64::MAX - 1);
            -secs - i64::from(before.subsec_nanos() > 0)
        }
    };
    let secs = secs.clamp(
        days_from_civil(1900, 1, 1) * SECS_PER_DAY,
        days_from_civil(10_000, 1, 1) * SECS_PER_DAY - 1,
    );
    let (days, time) = (secs.div_euclid(SECS_PER_DAY), secs.rem_euclid(SECS_PER_DAY));
    let (year, month, day) = civil_from_days(days);
    let weekday = usize::try_from((days + 4).rem_euclid(7)).expect("a remainder of 7");
    // Every answer that is stored without a date gets one: `format!` takes ten times as long.
    let mut text = *b"Sun, 06 Nov 1994 08:49:37 GMT";
    text[..3].copy_from_slice(SHORT_DAYS[weekday]);
    text[8..11].copy_from_slice(MONTHS[month - 1]);
    let numbers = [
        (5, day),
        (12, year / 100),
        (14, year % 100),
        (17, time / 3600),
        (20, time / 60 % 60),
        (23, time % 60),
    ];
    for (at, number) in numbers {
        // Two digits each, by the bounds above.
        text[at] = b'0' + (number / 10) as u8;
        text[at + 1] = b'0' + (number % 10) as u8;
    }
    HeaderValue::from_bytes(&text).expect("a date is printable ASCII")
}

struct Civil {
    year: i64,
    /// 1 to 12.
    month: usize,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Civil {
    fn instant(&self) -> Option<SystemTime> {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let days_in_month = match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let plausible = (1900..=9999).contains(&self.year)
            && (1..=days_in_month).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            // A leap second is legal (RFC 9110 §5.6.7); it is the first second of the next minute here.
            && self.second <= 60;
        if !plausible {
            return None;
        }
        let days = days_from_civil(self.year, self.month, self.day);
        let secs = days * SECS_PER_DAY + self.hour * 3600 + self.minute * 60 + self.second;
        // The leap second of the last minute would lie in the year 10000.
        if secs >= days_from_civil(10_000, 1, 1) * SECS_PER_DAY {
            return None;
        }
        let distance = Duration::from_secs(secs.unsigned_abs());
        if secs < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn imf_fixdate(value: &[u8]) -> Option<Civil> {
    if value.len() != 29 || !is_one_of(&SHORT_DAYS, &value[..3]) {
        return None;
    }
    let ([b',', b' '], b' ', b' ', b' ') = ([value[3], value[4]], value[7], value[11], value[16])
    else {
        return None;
    };
    let (hour, minute, second) = time(&value[17..25])?;
    is_gmt(&value[25..])?;
    Some(Civil {
        year: number(&value[12..16])?,
        month: month(&value[8..11])?,
        day: number(&value[5..7])?,
        hour,
        minute,
        second,
    })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`.
fn rfc_850(value: &[u8]) -> Option<Civil> {
    let comma = value.iter().position(|byte| *byte == b',')?;
    let (weekday, rest) = value.split_at(comma);
    if !is_one_of(&LONG_DAYS, weekday) || rest.len() != 24 {
        return None;
    }
    let ([b',', b' '], b'-', b'-', b' ') = ([rest[0], rest[1]], rest[4], rest[8], rest[11]) else {
        return None;
    };
    let (hour, minute, second) = time(&rest[12..20])?;
    is_gmt(&rest[20..])?;
    // The standard's pivot slides with the clock; this one stands still, because the policy has no
    // clock. They differ for dates 44 and more years ahead, which count as past here: stale, not fresh.
    let short = number(&rest[9..11])?;
    let year = if short < 70 { 2000 + short } else { 1900 + short };
    Some(Civil {
        year,
        month: month(&rest[5..8])?,
        day: number(&rest[2..4])?,
        hour,
        minute,
        second,
    })
}

/// `Sun Nov  6 08:49:37 1994`.
fn asctime(value: &[u8]) -> Option<Civil> {
    if value.len() != 24 || !is_one_of(&SHORT_DAYS, &value[..3]) {
        return None;
    }
    let (b' ', b' ', b' ', b' ') = (value[3], value[7], value[10], value[19]) else {
        return None;
    };
    let day = match value[8] {
        b' ' => number(&value[9..10])?,
        _ => number(&value[8..10])?,
    };
    let (hour, minute, second) = time(&value[11..19])?;
    let (year, month) = (number(&value[20..])?, month(&value[4..7])?);
    Some(Civil { year, month, day, hour, minute, second })
}

/// `08:49:37`.
fn time(value: &[u8]) -> Option<(i64, i64, i64)> {
    if value[2] != b':' || value[5] != b':' {
        return None;
    }
    Some((number(&value[..2])?, number(&value[3..5])?, number(&value[6..8])?))
}

fn is_gmt(value: &[u8]) -> Option<()> {
    value.eq_ignore_ascii_case(b" GMT").then_some(())
}

fn is_one_of(names: &[&[u8]], value: &[u8]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(value))
}

fn month(value: &[u8]) -> Option<usize> {
    MONTHS.iter().position(|name| name.eq_ignore_ascii_case(value)).map(|index| index + 1)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

/// Days since 1970-01-01 in the Gregorian calendar; years begin in March so that the leap day is
/// their last (the algorithm of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: usize, day: i64) -> i64 {
    let month = i64::try_from(month).expect("a month is at most 12");
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, usize::try_from(month).expect("a month is at most 12"), day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(value: &str) -> Option<i64> {
        parse(value.as_bytes()).map(|instant| match instant.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap(),
            Err(before) => -i64::try_from(before.duration().as_secs()).unwrap(),
        })
    }

    #[test]
    fn the_three_formats_of_the_standard_name_one_instant() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(secs(date), Some(784_111_777), "{date}");
        }
    }

    #[test]
    fn dates_that_have_one_reading_are_read() {
        for (date, expected) in [
            ("sun, 06 nov 1994 08:49:37 gmt", 784_111_777),
            ("SUN, 06 NOV 1994 08:49:37 GmT", 784_111_777),
            ("SUNDAY, 06-NOV-94 08:49:37 gmt", 784_111_777),
            ("sun nov  6 08:49:37 1994", 784_111_777),
            ("Sun Nov 06 08:49:37 1994", 784_111_777),
            // The sixth was a Sunday.
            ("Mon, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("  Sun, 06 Nov 1994 08:49:37 GMT ", 784_111_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
            ("Mon, 01 Jan 1900 00:00:00 GMT", -2_208_988_800),
            ("Tue, 19 Jan 2038 14:14:08 GMT", 2_147_523_248),
            ("Sun, 21 Nov 2286 04:46:39 GMT", 10_000_039_599),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
            ("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            ("Thursday, 18-Aug-50 02:01:18 GMT", 2_544_400_878),
            ("Thursday, 01-Jan-70 00:00:00 GMT", 0),
        ] {
            assert_eq!(secs(date), Some(expected), "{date}");
        }
    }

    #[test]
    fn everything_else_is_no_date() {
        for date in [
            "",
            "0",
            "-1",
            "now",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18 +0000",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thursday, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18-Aug-50 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 8 Aug 2050 02:01:18 GMT",
            "Thu, 32 Aug 2050 02:01:18 GMT",
            "Thu, 00 Aug 2050 02:01:18 GMT",
            "Thu, 29 Feb 2023 02:01:18 GMT",
            "Thu, 29 Feb 2100 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:00:00 GMT",
            "Thu, 18 Aug 2050 02:60:18 GMT",
            "Thu, 18 Aug 2050 02:01:61 GMT",
            "Thu, 18 Aug 1899 02:01:18 GMT",
            "Fri, 31 Dec 9999 23:59:60 GMT",
            "Thu, 18 Aux 2050 02:01:18 GMT",
            "Xyz, 18 Aug 2050 02:01:18 GMT",
            "Thu Aug  8 02:01:18 2050 GMT",
            "Thu Aug 8 02:01:18 2050",
            "Thu, +8 Aug 2050 02:01:18 GMT",
            "2050-08-18T02:01:18Z",
            "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT\0",
            "\u{e9}hu, 18 Aug 2050 02:01:18 GM",
        ] {
            assert_eq!(secs(date), None, "{date}");
        }
    }

    #[test]
    fn a_date_beyond_four_digits_of_year_is_written_as_the_nearest_inside() {
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(format(far), "Fri, 31 Dec 9999 23:59:59 GMT");
        let long_ago = UNIX_EPOCH - Duration::from_secs(1 << 40);
        assert_eq!(format(long_ago), "Mon, 01 Jan 1900 00:00:00 GMT");
    }

    #[test]
    fn a_fraction_of_a_second_is_cut_off_downwards() {
        let half = Duration::from_millis(500);
        assert_eq!(format(UNIX_EPOCH + half), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(format(UNIX_EPOCH - half), "Wed, 31 Dec 1969 23:59:59 GMT");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(secs in -2_208_988_800_i64..253_402_300_800) {
            let distance = Duration::from_secs(secs.unsigned_abs());
            let instant = if secs < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance };
            prop_assert_eq!(parse(format(instant).as_bytes()), Some(instant));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_date_with_one_byte_changed_never_panics(at in 0_usize..29, byte: u8) {
            let mut date = *b"Sun, 06 Nov 1994 08:49:37 GMT";
            date[at] = byte;
            let _ = parse(&date);
        }
    }
}
