//! Outgoing: what answers say to caches outside, beside what their origin said.
//!
//! For how long they may be kept there (RFC 9213), by which tags they are purged there, and that what is stale here is not
//! fresh there. What is stored stays as the origin sent it, so a rule that has changed holds for it, too.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    answer_fields::AnswerFields,
    list,
    tags_out::{TagBudget, TagField},
};

/// A field that says how long caches outside may keep an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlField {
    /// `CDN-Cache-Control` (RFC 9213): Cloudflare, Akamai, other Larders.
    CdnCacheControl,
    /// `Surrogate-Control`: Fastly, Varnish by its VCL.
    SurrogateControl,
    /// `Cloudflare-CDN-Cache-Control`: Cloudflare alone, before the others.
    CloudflareCdnCacheControl,
    /// `Edge-Control`: Akamai alone. It knows `max-age` and `no-store` only.
    EdgeControl,
}

impl ControlField {
    /// All of them.
    pub const ALL: [ControlField; 4] = [
        ControlField::CdnCacheControl,
        ControlField::SurrogateControl,
        ControlField::CloudflareCdnCacheControl,
        ControlField::EdgeControl,
    ];

    /// Its name.
    pub fn name(self) -> HeaderName {
        HeaderName::from_static(match self {
            ControlField::CdnCacheControl => "cdn-cache-control",
            ControlField::SurrogateControl => "surrogate-control",
            ControlField::CloudflareCdnCacheControl => "cloudflare-cdn-cache-control",
            ControlField::EdgeControl => "edge-control",
        })
    }
}

/// Of an answer to be kept outside.
const STALE: HeaderValue = HeaderValue::from_static("max-age=0");

/// Other fields that say to some caches how long they may keep an answer, and that these obey before `Cache-Control`. Where a
/// rule says it, what the origin wrote in them goes.
const CONTROL_OF_OTHERS: [&str; 6] = [
    "larder-cache-control",
    "x-accel-expires",
    "akamai-cache-control",
    "netlify-cdn-cache-control",
    "vercel-cdn-cache-control",
    "x-litespeed-cache-control",
];
/// nginx's own, which is no list of directives: seconds, or `@` and an instant. It looks at no `Age`.
const X_ACCEL_EXPIRES: &str = "x-accel-expires";

/// Fields in which origins name tags: whom they are not meant for does not get them.
const TAGS_OF_ORIGINS: [&str; 3] = ["x-cache-tags", "x-magento-tags", "cache-tags"];

/// What is said to caches outside. By default nothing, and what the origin said to them goes out as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outgoing {
    /// For how long they may keep what is fresh, by field.
    control: Vec<(HeaderName, HeaderValue)>,
    /// Where tags stand. `None`: where the origin wrote them.
    tags: Option<Vec<TagField>>,
    budget: TagBudget,
}

/// What a cache knows of an answer that goes out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Whether it is one that others may have.
    pub standing: Standing,
    /// By what it is purged, for a reader who may know. `None`: one who may not.
    pub tags: Option<Vec<String>>,
}

/// Whether an answer is one that others may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is stored here, and fresh.
    Fresh,
    /// It is stored here, or was, and nobody may take it for fresh.
    Stale,
    /// It is not kept here: it may be for its reader alone.
    #[default]
    NotKept,
}

impl Outgoing {
    /// Answers that are fresh here may be kept outside by these directives, said in these fields.
    ///
    /// # Errors
    ///
    /// What is wrong with the directives, for whom has written them.
    pub fn control(
        mut self,
        directives: &str,
        fields: &[ControlField],
    ) -> Result<Outgoing, String> {
        let read = read(directives)?;
        let value = |field: ControlField| {
            let is_known = |name: &str| {
                field != ControlField::EdgeControl || matches!(name, "max-age" | "no-store")
            };
            let said = read.iter().filter(|(name, _)| is_known(name));
            let texts: Vec<String> = said
                .map(|(name, seconds)| match seconds {
                    Some(seconds) => format!("{name}={seconds}"),
                    None => (*name).to_owned(),
                })
                .collect();
            HeaderValue::try_from(texts.join(", ")).expect("names and digits")
        };
        self.control = fields.iter().map(|field| (field.name(), value(*field))).collect();
        Ok(self)
    }

    /// Tags stand in these fields of answers to whom they are meant for, and in none of answers to others: not even as the
    /// origin wrote them.
    pub fn tags(mut self, fields: Vec<TagField>) -> Outgoing {
        self.tags = Some(fields);
        self
    }

    /// So many tags stand in each of these fields.
    pub fn tag_budget(mut self, budget: TagBudget) -> Outgoing {
        self.budget = budget;
        self
    }

    /// Whether answers go out as they are.
    #[inline]
    pub fn changes_nothing(&self) -> bool {
        self.control.is_empty() && self.tags.is_none()
    }

    /// Whether some readers are told tags.
    #[inline]
    pub fn tells_tags(&self) -> bool {
        self.tags.as_ref().is_some_and(|fields| !fields.is_empty())
    }

    /// The fields of fresh answers to readers who may not know the tags, where a policy sets `own` on all answers.
    pub fn on_hits(&self, own: &AnswerFields) -> AnswerFields {
        let hidden = self.hidden_tags().into_iter().chain(self.hidden_control());
        own.with(&self.control, hidden.collect())
    }

    /// Changes the fields of an answer, and tells how many of its tags did not fit. `shares_cookies`: what sets a cookie is
    /// for all.
    pub fn change(&self, headers: &mut HeaderMap, known: &Known, shares_cookies: bool) -> usize {
        for name in self.hidden_tags() {
            headers.remove(name);
        }
        let is_personal = headers.contains_key(header::SET_COOKIE) && !shares_cookies;
        let says = |value: &dyn Fn(&HeaderValue) -> HeaderValue, headers: &mut HeaderMap| {
            for name in self.hidden_control() {
                headers.remove(name);
            }
            for (name, said) in &self.control {
                headers.insert(name, value(said));
            }
        };
        match known.standing {
            Standing::Fresh if !is_personal => says(&HeaderValue::clone, headers),
            Standing::Stale if !self.changes_nothing() => {
                says(&|_| STALE, headers);
                tell_stale(headers);
            }
            _ => {}
        }
        let (Some(fields), Some(tags)) = (&self.tags, &known.tags) else { return 0 };
        let mut left_out = 0;
        for field in fields {
            if let Some((value, more)) = field.value(tags, self.budget) {
                left_out = left_out.max(more);
                let value = HeaderValue::try_from(value).expect("portable tags and separators");
                headers.insert(field.name(), value);
            }
        }
        left_out
    }

    fn hidden_tags(&self) -> Vec<HeaderName> {
        let all = TagField::ALL.map(TagField::name).into_iter().chain(TAGS_OF_ORIGINS);
        match self.tags {
            Some(_) => all.map(HeaderName::from_static).collect(),
            None => Vec::new(),
        }
    }

    /// What the origin says to caches outside does not hold where a rule says something.
    fn hidden_control(&self) -> Vec<HeaderName> {
        match self.control.is_empty() {
            true => Vec::new(),
            false => {
                let others = CONTROL_OF_OTHERS.map(HeaderName::from_static);
                ControlField::ALL.map(ControlField::name).into_iter().chain(others).collect()
            }
        }
    }
}

/// Says of an answer that nobody may take it for fresh, whatever it said before: not in a field for all caches, nor in one
/// for some (RFC 9213 §2.1 has them end alike). Whether it may be kept at all stays as it was.
pub fn tell_stale(headers: &mut HeaderMap) {
    let is_control = |name: &&HeaderName| {
        let name = name.as_str();
        name.ends_with("-cache-control") || matches!(name, "surrogate-control" | "edge-control")
    };
    let control: Vec<HeaderName> = headers.keys().filter(is_control).cloned().collect();
    for name in control.into_iter().chain([header::CACHE_CONTROL]) {
        let value = without_times(headers, &name);
        headers.insert(name, value);
    }
    if headers.contains_key(X_ACCEL_EXPIRES) {
        headers.insert(X_ACCEL_EXPIRES, HeaderValue::from_static("0"));
    }
    headers.remove(header::EXPIRES);
}

/// What a field says, with no time but none.
fn without_times(headers: &HeaderMap, name: &HeaderName) -> HeaderValue {
    let is_about_time = |member: &&[u8]| {
        // The last two are Akamai's.
        const TIMES: [&[u8]; 7] = [
            b"max-age",
            b"s-maxage",
            b"stale-while-revalidate",
            b"stale-if-error",
            b"immutable",
            b"cache-maxage",
            b"downstream-ttl",
        ];
        let name = member.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        TIMES.iter().any(|time| name.eq_ignore_ascii_case(time))
    };
    let members = list::members(headers, name.as_str());
    let mut said: Vec<Vec<u8>> =
        members.filter(|member| !is_about_time(member)).map(<[u8]>::to_vec).collect();
    said.push(b"max-age=0".to_vec());
    HeaderValue::try_from(said.join(&b", "[..])).unwrap_or(STALE)
}

/// Directives by name, each with its seconds where it has some.
fn read(text: &str) -> Result<Vec<(&str, Option<u32>)>, String> {
    const TIMES: [&str; 3] = ["max-age", "stale-while-revalidate", "stale-if-error"];
    const WORDS: [&str; 4] = ["no-store", "no-cache", "must-revalidate", "public"];
    let mut said: Vec<(&str, Option<u32>)> = Vec::new();
    for directive in text.split(',').map(str::trim) {
        let (name, value) = match directive.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (directive, None),
        };
        let seconds = match value.map(str::parse::<u32>) {
            Some(Ok(seconds)) if TIMES.contains(&name) && seconds <= 1 << 31 => Some(seconds),
            None if WORDS.contains(&name) => None,
            _ => {
                return Err(format!(
                    "{directive:?} is none of {}=seconds, {}",
                    TIMES.join("=seconds, "),
                    WORDS.join(", ")
                ));
            }
        };
        if said.iter().any(|(other, _)| *other == name) {
            return Err(format!("{name} is said twice"));
        }
        said.push((name, seconds));
    }
    let has = |name| said.iter().any(|(other, _)| *other == name);
    match has("max-age") || has("no-store") {
        true => Ok(said),
        false => Err("say for how long: \"max-age=3600\"".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn known(standing: Standing, tags: Option<&[&str]>) -> Known {
        let tags = tags.map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect());
        Known { standing, tags }
    }

    fn rules() -> Outgoing {
        let said = Outgoing::default().control(
            "max-age=3600, stale-while-revalidate=60",
            &[ControlField::CdnCacheControl, ControlField::EdgeControl],
        );
        said.unwrap().tags(vec![TagField::SurrogateKey, TagField::CdnTag])
    }

    const SENT: [(&str, &str); 9] = [
        ("cache-control", "public, max-age=60, S-MaxAge=70"),
        ("cdn-cache-control", "max-age=9"),
        ("surrogate-control", "max-age=8"),
        ("expires", "Sun, 06 Nov 2094 08:49:37 GMT"),
        ("surrogate-key", "Post:1 b"),
        ("x-magento-tags", "c"),
        ("x-accel-expires", "600"),
        ("larder-cache-control", "max-age=600"),
        ("vercel-cdn-cache-control", "max-age=600"),
    ];

    #[test]
    fn what_is_fresh_is_kept_outside_as_said_and_tags_go_to_whom_they_are_meant_for() {
        let mut headers = map(&SENT);
        rules().change(&mut headers, &known(Standing::Fresh, Some(&["b", "Post:1"])), false);
        let expected = map(&[
            ("cache-control", "public, max-age=60, S-MaxAge=70"),
            ("expires", "Sun, 06 Nov 2094 08:49:37 GMT"),
            ("cdn-cache-control", "max-age=3600, stale-while-revalidate=60"),
            ("edge-control", "max-age=3600"),
            ("surrogate-key", &format!("b {}", crate::tags_out::tag_out("Post:1"))),
            ("cdn-tag", &format!("b,{}", crate::tags_out::tag_out("Post:1"))),
        ]);
        assert_eq!(headers, expected);
        let mut headers = map(&SENT);
        rules().change(&mut headers, &known(Standing::Fresh, None), false);
        let mut expected = expected;
        expected.remove("surrogate-key");
        expected.remove("cdn-tag");
        assert_eq!(headers, expected);
        // The same as on plain hits.
        let mut headers = map(&SENT);
        rules().on_hits(&AnswerFields::default()).change(&mut headers);
        assert_eq!(headers, expected);
    }

    #[test]
    fn what_is_stale_is_fresh_to_nobody() {
        let mut headers = map(&SENT);
        rules().change(&mut headers, &known(Standing::Stale, None), false);
        let expected = map(&[
            ("cache-control", "public, max-age=0"),
            ("cdn-cache-control", "max-age=0"),
            ("edge-control", "max-age=0"),
        ]);
        assert_eq!(headers, expected);
        let mut headers = map(&SENT[..3]);
        tell_stale(&mut headers);
        let expected = map(&[
            ("cache-control", "public, max-age=0"),
            ("cdn-cache-control", "max-age=0"),
            ("surrogate-control", "max-age=0"),
        ]);
        assert_eq!(headers, expected, "also where no rule says anything");
        // In each field that some cache obeys before others; and what may not be kept still may not.
        for (name, before, after) in [
            ("larder-cache-control", "max-age=600, private", "private, max-age=0"),
            ("x-accel-expires", "600", "0"),
            ("x-accel-expires", "@1800000000", "0"),
            (
                "netlify-cdn-cache-control",
                "public, durable, max-age=9",
                "public, durable, max-age=0",
            ),
            ("akamai-cache-control", "no-store", "no-store, max-age=0"),
            ("x-litespeed-cache-control", "s-maxage=9", "max-age=0"),
            ("any-cache-control", "stale-if-error=9", "max-age=0"),
            ("edge-control", "cache-maxage=9m, downstream-ttl=9m", "max-age=0"),
            (
                "surrogate-control",
                "max-age=9+600, content=\"ESI/1.0\"",
                "content=\"ESI/1.0\", max-age=0",
            ),
        ] {
            let mut headers = map(&[(name, before)]);
            tell_stale(&mut headers);
            assert_eq!(headers, map(&[(name, after), ("cache-control", "max-age=0")]), "{before}");
        }
        let mut silent = HeaderMap::new();
        tell_stale(&mut silent);
        assert_eq!(silent, map(&[("cache-control", "max-age=0")]));
    }

    #[test]
    fn what_may_be_one_reader_s_is_offered_to_nobody() {
        let sent = [("cache-control", "private"), ("set-cookie", "a=1"), ("xkey", "a")];
        for standing in [Standing::NotKept, Standing::Fresh] {
            let mut headers = map(&sent);
            rules().change(&mut headers, &known(standing, None), false);
            assert_eq!(headers, map(&sent[..2]), "{standing:?}");
        }
        let mut headers = map(&sent);
        rules().change(&mut headers, &known(Standing::Fresh, None), true);
        assert!(headers.contains_key("cdn-cache-control"), "this cookie is for all");
    }

    #[test]
    fn a_policy_s_own_fields_and_these_stand_side_by_side_on_hits() {
        let own = vec![("x-a", "1"), ("cdn-cache-control", "max-age=1")];
        let own = own
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let own =
            AnswerFields::new(own.collect(), vec![HeaderName::from_static("server")]).unwrap();
        let mut headers = map(&[("server", "a"), ("x-a", "0"), ("surrogate-key", "b")]);
        rules().on_hits(&own).change(&mut headers);
        let expected = map(&[
            ("x-a", "1"),
            ("cdn-cache-control", "max-age=3600, stale-while-revalidate=60"),
            ("edge-control", "max-age=3600"),
        ]);
        assert_eq!(headers, expected);
        assert_eq!(Outgoing::default().on_hits(&own), own);
    }

    #[test]
    fn directives_that_mean_nothing_are_told() {
        for (text, words) in [
            ("", "is none of max-age=seconds"),
            ("max-age", "is none of"),
            ("max-age=1h", "is none of"),
            ("max-age=-1", "is none of"),
            ("max-age=99999999999", "is none of"),
            ("max-age=1, max-age=2", "said twice"),
            ("public", "say for how long"),
            ("private, max-age=1", "\"private\" is none of"),
            ("max-age=1\r\nx: y", "is none of"),
        ] {
            let said = Outgoing::default().control(text, &ControlField::ALL).unwrap_err();
            assert!(said.contains(words), "{text:?}: {said}");
        }
        for text in ["no-store", "max-age=0", "max-age=2147483648, must-revalidate, public"] {
            assert!(Outgoing::default().control(text, &ControlField::ALL).is_ok(), "{text}");
        }
    }
}
