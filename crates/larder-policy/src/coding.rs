//! Coding: the content codings that a cache can make itself, and what a request says of them (RFC 9110 §8.4, §12.5.3).

use std::fmt;

use http::header::ACCEPT_ENCODING;

use crate::{
    fields::Fields,
    vary::{coding, weighted},
};

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// Brotli (RFC 7932).
    Br,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// All there are.
    pub const ALL: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];

    /// Its registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Br => "br",
            Coding::Gzip => "gzip",
        }
    }

    /// The coding of this name, in letters of either case.
    pub fn named(name: &[u8]) -> Option<Coding> {
        let is_called = |coding: &Coding| name.eq_ignore_ascii_case(coding.as_str().as_bytes());
        Coding::ALL.into_iter().find(is_called)
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a request says of codings in `Accept-Encoding`: a weight for each, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    weights: [u16; 3],
    identity: u16,
}

impl Accepted {
    /// None but the plain bytes: what a request without the field gets. It would have to take any coding
    /// (RFC 9110 §12.5.3), and clients that do not know of codings leave the field out.
    pub const PLAIN: Accepted = Accepted { weights: [0; 3], identity: 1000 };

    /// Reads the field. One that is not written as the standard says asks for the plain bytes.
    pub fn of<'a>(request: impl Into<Fields<'a>>) -> Accepted {
        let request = request.into();
        let mut said: [Option<u16>; 3] = [None; 3];
        let (mut identity, mut others) = (None, None);
        for line in request.lines(ACCEPT_ENCODING.as_str()) {
            for member in line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                if member.is_empty() {
                    continue;
                }
                let Some((name, weight)) = weighted(member) else { return Accepted::PLAIN };
                let place = match coding(name) {
                    b"*" => &mut others,
                    name if name.eq_ignore_ascii_case(b"identity") => &mut identity,
                    name => match Coding::named(name) {
                        Some(coding) => &mut said[coding as usize],
                        None => continue,
                    },
                };
                // Of two that contradict each other the first counts.
                place.get_or_insert(weight);
            }
        }
        Accepted {
            weights: said.map(|weight| weight.or(others).unwrap_or(0)),
            // It is acceptable without being named, and then the last choice.
            identity: identity.unwrap_or(if others == Some(0) { 0 } else { 1 }),
        }
    }

    /// Whether its sender takes this coding.
    pub fn takes(&self, coding: Coding) -> bool {
        self.weight(coding) > 0
    }

    /// Whether its sender takes the plain bytes.
    pub fn takes_plain(&self) -> bool {
        self.identity > 0
    }

    fn weight(&self, coding: Coding) -> u16 {
        self.weights[coding as usize]
    }

    /// The best of these codings, of which the first is the cache's own first choice. `None`: the plain bytes are
    /// as good, or nothing is acceptable.
    pub fn best(&self, codings: impl IntoIterator<Item = Coding>) -> Option<Coding> {
        let mut best: Option<Coding> = None;
        for coding in codings {
            let than = best.map_or(self.identity.max(1) - 1, |best| self.weight(best));
            if self.weight(coding) > than {
                best = Some(coding);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn accepted(text: &str) -> Accepted {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, text.parse().unwrap());
        Accepted::of(&headers)
    }

    #[test]
    fn the_best_coding_is_what_the_reader_wants_most_and_of_equals_what_the_cache_does() {
        use Coding::{Br, Gzip, Zstd};
        for (field, takes_plain, best) in [
            ("gzip, deflate, br, zstd", true, Some(Zstd)),
            ("gzip, deflate, br", true, Some(Br)),
            ("gzip;q=1, br;q=0.5, zstd;q=0.1", true, Some(Gzip)),
            ("GZIP", true, Some(Gzip)),
            ("x-gzip", true, Some(Gzip)),
            ("gzip;q=0", true, None),
            ("gzip;q=0, *", true, Some(Zstd)),
            ("*", true, Some(Zstd)),
            ("*;q=0", false, None),
            ("*;q=0, gzip", false, Some(Gzip)),
            ("*;q=0, identity", true, None),
            ("identity", true, None),
            ("identity;q=0", false, None),
            ("identity;q=0, br", false, Some(Br)),
            ("gzip;q=0.5, identity", true, None),
            ("gzip, identity", true, Some(Gzip)),
            ("gzip;q=0.5, identity;q=0.4", true, Some(Gzip)),
            ("gzip;q=0.001", true, Some(Gzip)),
            ("deflate, compress", true, None),
            ("", true, None),
            (" , ,", true, None),
            // What is no weight, or none that there is, asks for nothing.
            ("gzip;q=2", true, None),
            ("gzip;level=9", true, None),
            ("gzip;q=", true, None),
            ("gzip, br;q=0, gzip;q=0", true, Some(Gzip)),
        ] {
            let accepted = accepted(field);
            assert_eq!(accepted.best(Coding::ALL), best, "{field}");
            assert_eq!(accepted.takes_plain(), takes_plain, "{field}");
        }
        assert_eq!(accepted("gzip, br, zstd").best([Gzip, Zstd]), Some(Gzip));
        assert_eq!(accepted("gzip, br, zstd").best([]), None);
    }

    #[test]
    fn a_request_without_the_field_gets_the_plain_bytes() {
        let accepted = Accepted::of(&HeaderMap::new());
        assert_eq!(accepted.best(Coding::ALL), None);
        assert!(accepted.takes_plain());
    }
}
