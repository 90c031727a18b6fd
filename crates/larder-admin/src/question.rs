//! Question: what stands behind the question mark of a request, each name once and none that means nothing.

use std::{collections::BTreeMap, ops::RangeInclusive};

use http::StatusCode;

use crate::problem::Problem;

const TITLE: &str = "Question not understood";

/// So many rows there are where nobody says.
pub(crate) const USUAL_LIMIT: usize = 50;
/// More in one answer are refused: the next page has them.
pub(crate) const LIMITS: RangeInclusive<usize> = 1..=1000;

/// Names and values, percent-encoding undone.
pub(crate) struct Question(BTreeMap<String, String>);

impl Question {
    /// `known`: the names that mean something.
    pub(crate) fn of(query: Option<&str>, known: &[&str]) -> Result<Question, Problem> {
        let mut values = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                let known = known.join(", ");
                return Err(wrong(format!("{name:?} means nothing here; there is {known}")));
            }
            if values.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(wrong(format!("{name:?} is said twice")));
            }
        }
        Ok(Question(values))
    }

    /// An empty value is one.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub(crate) fn limit(&mut self) -> Result<usize, Problem> {
        let Some(text) = self.take("limit") else { return Ok(USUAL_LIMIT) };
        let limit = text.parse().ok().filter(|limit| LIMITS.contains(limit));
        let (least, most) = (LIMITS.start(), LIMITS.end());
        limit.ok_or_else(|| wrong(format!("limit={text:?} is no number from {least} to {most}")))
    }

    /// A whole number, up to what programs of any language can hold.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number <= i64::MAX as u64);
        number.map(Some).ok_or_else(|| wrong(format!("{name}={text:?} is no whole number")))
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        let known = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        found.map(Some).ok_or_else(|| wrong(format!("{name}={text:?} is none of {}", known())))
    }
}

/// 400: what was asked is no question.
pub(crate) fn wrong(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, TITLE, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_within_bounds() {
        let limit = |query| Question::of(Some(query), &["limit"]).and_then(|mut said| said.limit());
        for (query, expected) in [("", Some(50)), ("limit=1", Some(1)), ("limit=1000", Some(1000))]
        {
            assert_eq!(limit(query).ok(), expected, "{query}");
        }
        for query in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=",
            "limit=1.5",
            "limit=18446744073709551616",
        ] {
            assert!(limit(query).is_err(), "{query}");
        }
    }

    #[test]
    fn names_stand_once_and_mean_something() {
        let mut said = Question::of(Some("key=%2Fa%3Fb&limit="), &["key", "limit"]).unwrap();
        assert_eq!(said.take("key").as_deref(), Some("/a?b"));
        assert!(Question::of(Some("key=a&key=b"), &["key"]).is_err());
        assert!(Question::of(Some("kye=a"), &["key"]).is_err());
        assert!(Question::of(None, &[]).is_ok());
        let word = |query| {
            Question::of(Some(query), &["order"]).unwrap().word("order", &[("a", 1), ("b", 2)])
        };
        assert_eq!(word("order=b").unwrap(), Some(2));
        assert_eq!(word("").unwrap(), None);
        assert!(word("order=c").is_err());
    }
}
