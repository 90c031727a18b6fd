//! Units: nginx's times and sizes.

use std::time::Duration;

/// Longer ones are no settings of anything.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// `10m`, `1h30m`, `500ms`; a number alone is seconds. At most a year.
pub(super) fn time(text: &str) -> Option<Duration> {
    let mut left = text;
    let mut whole = Duration::ZERO;
    while !left.is_empty() {
        let digits = left.find(|c: char| !c.is_ascii_digit()).unwrap_or(left.len());
        let number: u32 = left[..digits].parse().ok()?;
        let rest = &left[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "" | "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86_400),
            "w" => Duration::from_secs(7 * 86_400),
            "M" => Duration::from_secs(30 * 86_400),
            "y" => Duration::from_secs(365 * 86_400),
            _ => return None,
        };
        whole = whole.saturating_add(unit.saturating_mul(number));
        left = rest[letters..].trim_start();
    }
    (!text.is_empty()).then(|| whole.min(LONGEST))
}

/// In quotes, as a `larder.toml` has it.
pub(super) fn shown_time(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [(86_400_000, "days"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    let fitting = units.into_iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
    let (unit, name) = fitting.unwrap_or((1000, "s"));
    format!("\"{}{name}\"", millis / unit)
}

/// `512`, `10k`, `1m`, `2g`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        for (text, shown) in [
            ("10m", Some("\"10m\"")),
            ("1h30m", Some("\"90m\"")),
            ("1h 1s", Some("\"3601s\"")),
            ("60", Some("\"1m\"")),
            ("500ms", Some("\"500ms\"")),
            ("1d", Some("\"1days\"")),
            ("0", Some("\"0s\"")),
            ("900y", Some("\"365days\"")),
            ("", None),
            ("m", None),
            ("5x", None),
            ("99999999999s", None),
        ] {
            assert_eq!(time(text).map(shown_time).as_deref(), shown, "{text}");
        }
        assert_eq!(
            ["10k", "1m", "7", "2G"].map(size),
            [Some(10240), Some(1 << 20), Some(7), Some(2 << 30)]
        );
        assert_eq!(["", "k", "-1", "1.5m", "99999999999999g"].map(size), [None; 5]);
    }
}
