//! Record: a stored head as bytes, for a tier that several processes share, and a stored head again.
//!
//! Ages in it are lengths of time, so it means the same to a process whose clock shows another time of day. A part of
//! a representation has no record: parts are put together where they are.

use std::{borrow::Cow, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    request::CachedMethod,
    response::Digest,
    stored::{Extent, Extras, Nanos, Said, StoredHead, UnixNanos},
    vary::SelectingFields,
};

/// What the bytes mean. It changes with everything that changes them.
pub const FORMAT: &str = "head 2";

/// Why bytes are no record: they are broken, or were written by another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not a stored head as this version writes it")]
pub struct Unreadable;

/// A head as it is written. The order of the fields is the format.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    status: u16,
    answers_query: bool,
    #[serde(borrow)]
    fields: Vec<(&'a [u8], &'a [u8])>,
    /// By the origin's clock, or that of the cache which received it.
    date: UnixNanos,
    initial_age: Nanos,
    said: Said,
    selecting: Cow<'a, SelectingFields>,
    tags: Cow<'a, [Box<str>]>,
    groups: Cow<'a, [Box<str>]>,
}

impl StoredHead {
    /// Its record, without the time of its receipt. `None`: it is of a part.
    pub fn to_record(&self) -> Option<Vec<u8>> {
        if self.extent() != Extent::Whole {
            return None;
        }
        let none = Extras::default();
        let extras = self.extras.as_deref().unwrap_or(&none);
        let written = Written {
            status: self.status.as_u16(),
            answers_query: self.answers == CachedMethod::Query,
            fields: self.fields().iter().map(|line| (line.name, line.value)).collect(),
            date: self.date,
            initial_age: self.initial_age,
            said: self.said,
            selecting: Cow::Borrowed(&extras.selecting),
            tags: Cow::Borrowed(&extras.tags),
            groups: Cow::Borrowed(&extras.groups),
        };
        Some(postcard::to_allocvec(&written).expect("everything in a head has a length"))
    }

    /// The head whose record this is, received at that time by the reader's clock.
    ///
    /// # Errors
    ///
    /// It is not one, whatever else it may be.
    pub fn of_record(record: &[u8], received_at: SystemTime) -> Result<StoredHead, Unreadable> {
        let (written, rest): (Written<'_>, _) =
            postcard::take_from_bytes(record).map_err(|_| Unreadable)?;
        let status = StatusCode::from_u16(written.status).map_err(|_| Unreadable)?;
        // No such response is ever stored as a whole.
        let is_of_a_whole = !status.is_informational()
            && !matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
        if !rest.is_empty() || !is_of_a_whole {
            return Err(Unreadable);
        }
        let mut headers = HeaderMap::with_capacity(written.fields.len().min(MAX_FIELDS));
        for (name, value) in written.fields {
            let name = HeaderName::from_bytes(name).map_err(|_| Unreadable)?;
            let value = HeaderValue::from_bytes(value).map_err(|_| Unreadable)?;
            headers.try_append(name, value).map_err(|_| Unreadable)?;
        }
        let digest = Digest {
            received_at: received_at.into(),
            date: written.date,
            initial_age: written.initial_age,
            said: written.said,
            status,
            answers: match written.answers_query {
                true => CachedMethod::Query,
                false => CachedMethod::Get,
            },
        };
        let extras = Extras {
            selecting: written.selecting.into_owned(),
            part: None,
            tags: written.tags.into_owned().into(),
            groups: written.groups.into_owned().into(),
        };
        digest.of_fields(&headers, extras).ok_or(Unreadable)
    }

    /// What tells it from the other responses that are stored for its URI: the request's fields that its `Vary`
    /// names, as they are compared, so that the response to an equal request has the same. Empty if it answers all.
    pub fn selecting_bytes(&self) -> Vec<u8> {
        match &self.extras {
            Some(extras) if !extras.selecting.is_empty() => extras.selecting.to_bytes(),
            _ => Vec::new(),
        }
    }
}

/// A map has room for so many before it is filled; more than this are not believed at once.
const MAX_FIELDS: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::{Method, Uri};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        head::{Exchange, RequestHead, ResponseHead},
        response::storability,
        reuse::{Verdict, decide},
        settings::Policy,
    };

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
    }

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn stored(asked: &[(&'static str, &str)], answered: &[(&'static str, &str)]) -> StoredHead {
        let (asked, answered) = (map(asked), map(answered));
        let uri: Uri = "http://example.org/".parse().unwrap();
        let request = RequestHead { method: &Method::GET, uri: &uri, headers: (&asked).into() };
        let response = ResponseHead { status: StatusCode::OK, headers: (&answered).into() };
        let exchange = Exchange { requested_at: at(0), received_at: at(1) };
        storability(&Policy::standard(), request, response, exchange).unwrap()
    }

    const USUAL: [(&str, &str); 8] = [
        ("cache-control", "max-age=60, stale-while-revalidate=30, stale-if-error=600"),
        ("age", "7"),
        ("etag", "\"one\""),
        ("vary", "Accept-Language, X-Shop"),
        ("surrogate-key", "post all"),
        ("cache-groups", "\"posts\""),
        ("link", "</a>; rel=next"),
        ("link", "</b>; rel=prev"),
    ];

    #[test]
    fn a_head_that_was_written_and_read_is_the_same_to_a_process_with_another_clock() {
        let head = stored(&[("accept-language", "de, en;q=0.5"), ("x-shop", "a ,b")], &USUAL);
        let record = head.to_record().unwrap();
        // Its clock is a year behind.
        let behind = Duration::from_secs(365 * 86_400);
        let read = StoredHead::of_record(&record, at(1) - behind).unwrap();
        assert_eq!(read.fields().to_map(), head.fields().to_map());
        assert_eq!(read.not_modified_block(), head.not_modified_block());
        assert_eq!((read.tags(), read.groups()), (head.tags(), head.groups()));
        assert_eq!(read.weight(), head.weight());
        assert_eq!(read.selecting_bytes(), head.selecting_bytes());
        for seconds in [1, 30, 60, 70, 99, 120, 700, 1000] {
            let now = at(seconds);
            assert_eq!(read.age(now - behind), head.age(now));
            for language in ["de, en;q=0.5", "EN;q=0.5,DE", "fr"] {
                let headers = map(&[("accept-language", language), ("x-shop", "a,b")]);
                let uri: Uri = "http://example.org/".parse().unwrap();
                let request =
                    RequestHead { method: &Method::GET, uri: &uri, headers: (&headers).into() };
                let policy = Policy::standard();
                let verdict = |head: &StoredHead, now| {
                    let verdict = decide(&policy, &[head.into()], request, now);
                    (verdict.reason(), verdict.served(), matches!(verdict, Verdict::Ask(_)))
                };
                assert_eq!(verdict(&read, now - behind), verdict(&head, now));
            }
        }
    }

    #[test]
    fn responses_to_equal_requests_are_one_record_and_others_are_not() {
        let name = |language: &str| {
            stored(&[("accept-language", language), ("x-shop", "a")], &USUAL).selecting_bytes()
        };
        assert_eq!(name("de,en;q=0.5"), name("EN;q=0.5 , DE"));
        assert_ne!(name("de"), name("en"));
        let plain = stored(&[("accept-language", "de")], &[("cache-control", "max-age=60")]);
        assert!(plain.selecting_bytes().is_empty());
        let absent = stored(&[("accept-language", "de")], &USUAL).selecting_bytes();
        let empty = stored(&[("accept-language", "de"), ("x-shop", "")], &USUAL).selecting_bytes();
        assert_ne!(absent, empty);
    }

    #[test]
    fn a_record_that_was_cut_or_goes_on_is_none() {
        let record = stored(&[], &USUAL).to_record().unwrap();
        for end in 0..record.len() {
            assert!(StoredHead::of_record(&record[..end], at(0)).is_err(), "{end}");
        }
        let longer = [&record[..], b"x"].concat();
        assert!(StoredHead::of_record(&longer, at(0)).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            _ = StoredHead::of_record(&bytes, at(0));
        }

        #[test]
        fn no_changed_byte_makes_it_panic(place in 0_usize..400, byte: u8) {
            let mut record = stored(&[("accept-language", "de")], &USUAL).to_record().unwrap();
            let place = place % record.len();
            record[place] = byte;
            if let Ok(head) = StoredHead::of_record(&record, at(0)) {
                _ = (head.age(at(9)), head.freshness(&Policy::standard(), at(9)), head.keep_for(&Policy::standard()));
                // Nothing in it ends a line.
                prop_assert_eq!(head.fields().iter().count(), head.fields().to_map().len());
            }
        }
    }
}
