//! Vary: which of several stored responses fits a request (RFC 9111 §4.1).
//!
//! A stored response remembers what its request said in the fields that `Vary` names. Two values
//! match if they are the same after changes that no recipient could mean anything by: lines joined,
//! spaces around commas dropped, and, in the two fields whose meaning we know, case and order.
//! Matching allocates nothing.

use std::{
    borrow::Cow,
    cmp::{Ordering, Reverse},
};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_LANGUAGE, COOKIE, ORIGIN,
        VARY,
    },
};

use serde::{Deserialize, Serialize};

use crate::{
    cookies, credentials,
    fields::{Fields, Lines},
    forward::is_spelt,
    key_parts::Part,
    list::{self, is_token},
    nearness::{Difference, HIDDEN},
    settings::{Policy, partition_in_words},
};

/// What a stored response's own request said in the fields that `Vary` names.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SelectingFields {
    fields: Box<[SelectingField]>,
    /// The one language the response is in, if it varies by language.
    language: Option<Box<[u8]>>,
    /// What the cookies were by which a policy tells answers apart.
    cookies: Box<[SelectingCookie]>,
    /// The part of the policy's that it is in.
    partition: Option<Box<str>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SelectingCookie {
    name: Box<str>,
    values: Box<[Box<[u8]>]>,
}

/// The fields by which an answer is chosen and that tell nothing of who asks. Any other may hold a secret.
const IMPERSONAL: [HeaderName; 6] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    ORIGIN,
    HeaderName::from_static("save-data"),
    HeaderName::from_static("x-requested-with"),
];

/// Something in a request by which its response is told apart from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChosenBy<'a> {
    /// A field; `None`: the request had none.
    Field(&'a str, Option<Cow<'a, [u8]>>),
    /// A cookie, whose value is nobody else's business.
    Cookie(&'a str),
    /// What routes tell apart by what is in no URI.
    Partition(&'a str),
}

/// A response that varies by more fields than this is as good as one that varies by all.
const MAX_NAMES: usize = 32;

/// `Vary` names `*`, or something that is no field name: nothing ever matches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NeverMatches;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SelectingField {
    #[serde(with = "name")]
    name: HeaderName,
    /// The value as it came, if it came in one line: most requests repeat it to the letter.
    verbatim: Option<Box<[u8]>>,
    value: Value,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Value {
    /// Absent matches only absent.
    Absent,
    /// In canonical form, see [`Canonical`].
    Opaque(Box<[u8]>),
    Preferences(Box<[(Box<[u8]>, u16)]>),
}

impl ChosenBy<'_> {
    /// Its value, where that tells nothing of who asked. `None`: it may.
    pub fn impersonal(&self) -> Option<Cow<'_, str>> {
        match self {
            ChosenBy::Field(_, None) => Some(Cow::Borrowed("")),
            ChosenBy::Field(name, Some(value)) => {
                SelectingFields::is_impersonal(name).then(|| String::from_utf8_lossy(value))
            }
            ChosenBy::Cookie(_) => None,
            ChosenBy::Partition(name) => Some(Cow::Owned(partition_in_words(name))),
        }
    }
}

impl SelectingFields {
    /// `always`: what every response varies by, beside what the policy tells apart in other ways. `but`: what this one
    /// does not vary by, whatever it says.
    pub(crate) fn new(
        policy: &Policy,
        always: &[HeaderName],
        but: Option<&HeaderName>,
        response: Fields<'_>,
        request: Fields<'_>,
    ) -> Result<SelectingFields, NeverMatches> {
        let mut names: Vec<HeaderName> = always.to_vec();
        for line in response.lines(VARY.as_str()) {
            for member in line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                if member.is_empty() {
                    continue;
                }
                // `*` is a token, and as such would pass for a field name. What is no name at all may
                // stand for anything: strict, since a wrong match shows one reader another's answer.
                if member == b"*" || !is_token(member) {
                    return Err(NeverMatches);
                }
                let name = HeaderName::from_bytes(member).map_err(|_| NeverMatches)?;
                if !names.contains(&name) && but != Some(&name) {
                    names.push(name);
                }
                if names.len() > MAX_NAMES {
                    return Err(NeverMatches);
                }
            }
        }
        let language = names.contains(&ACCEPT_LANGUAGE).then(|| only_language(response)).flatten();
        let fields = names.into_iter().map(|name| SelectingField::new(name, request)).collect();
        let cookie = |name: &str| SelectingCookie {
            name: name.into(),
            values: cookies::values(request, name).map(Box::from).collect(),
        };
        let cookies = policy.key_cookies.iter().map(|name| cookie(name)).collect();
        let partition = policy.partition.clone();
        Ok(SelectingFields { fields, language, cookies, partition })
    }

    /// Whether it was told apart from others by all that this policy tells answers apart by.
    pub(crate) fn tell_apart_by(&self, policy: &Policy) -> bool {
        let has_field = |name: &HeaderName| self.fields.iter().any(|field| field.name == *name);
        let has_cookie = |name: &str| self.cookies.iter().any(|cookie| *cookie.name == *name);
        self.partition == policy.partition
            && policy.key_fields.iter().all(has_field)
            && policy.key_cookies.iter().all(|name| has_cookie(name))
    }

    /// Whether it is told apart from what a request asks for by its own `Vary` alone, and by nothing that the policy adds: only
    /// there does an origin know of the other answer.
    pub(crate) fn differs_by_vary_alone(&self, policy: &Policy, request: Fields<'_>) -> bool {
        let mut of_policy =
            self.fields.iter().filter(|field| policy.key_fields.contains(&field.name));
        self.tell_apart_by(policy)
            && of_policy.all(|field| field.matches(request))
            && self.has_cookies_of(request)
    }

    fn has_cookies_of(&self, request: Fields<'_>) -> bool {
        self.cookies.iter().all(|cookie| {
            cookies::values(request, &cookie.name).eq(cookie.values.iter().map(|value| &**value))
        })
    }

    /// Whether the response fits a request with these fields.
    pub(crate) fn matches(&self, request: Fields<'_>) -> bool {
        self.fields.iter().all(|field| {
            field.matches(request)
                || (field.name == ACCEPT_LANGUAGE && self.is_in_preferred_language(request))
        }) && self.has_cookies_of(request)
    }

    /// In what a request with these fields differs from the one that it was chosen for.
    pub(crate) fn differences(&self, policy: &Policy, request: Fields<'_>) -> Vec<Difference> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut differences = Vec::new();
        for field in self.fields.iter().filter(|field| !field.matches(request)) {
            let is_secret = [AUTHORIZATION, COOKIE].contains(&field.name)
                || credentials::NAMES.contains(&field.name.as_str());
            let lines: Vec<_> = request.lines(field.name.as_str()).map(text).collect();
            let stored = match (&field.value, &field.verbatim) {
                (Value::Absent, _) => None,
                _ if is_secret => Some(HIDDEN.to_owned()),
                (_, Some(line)) => Some(text(line)),
                (Value::Opaque(canonical), None) => Some(text(canonical)),
                (Value::Preferences(members), None) => {
                    let names: Vec<_> = members.iter().map(|(name, _)| text(name)).collect();
                    Some(names.join(", "))
                }
            };
            differences.push(Difference {
                part: Part::Header,
                name: Some(field.name.to_string()),
                asked: (!lines.is_empty()).then(|| lines.join(", ")),
                stored,
            });
        }
        for cookie in &self.cookies {
            let values: Vec<_> = cookies::values(request, &cookie.name).collect();
            if values.iter().copied().eq(cookie.values.iter().map(|value| &**value)) {
                continue;
            }
            let asked: Vec<_> = values.into_iter().map(text).collect();
            differences.push(Difference {
                part: Part::Cookie,
                name: Some(cookie.name.to_string()),
                asked: (!asked.is_empty()).then(|| asked.join(", ")),
                stored: (!cookie.values.is_empty()).then(|| HIDDEN.to_owned()),
            });
        }
        if !self.tell_apart_by(policy) {
            differences.push(Difference {
                part: Part::Partition,
                name: None,
                asked: policy.told_apart_by(),
                stored: self.partition.as_deref().map(partition_in_words),
            });
        }
        differences
    }

    /// The fields of a request that it was chosen by. `None`: they may tell who asked, or were not kept as they came.
    pub(crate) fn impersonal(&self) -> Option<HeaderMap> {
        if self.partition.is_some() || !self.cookies.is_empty() {
            return None;
        }
        let mut fields = HeaderMap::new();
        for SelectingField { name, verbatim, value } in &self.fields {
            match (value, verbatim) {
                (Value::Absent, _) => {}
                (_, Some(line)) if IMPERSONAL.contains(name) => {
                    fields.insert(name.clone(), HeaderValue::from_bytes(line).ok()?);
                }
                _ => return None,
            }
        }
        Some(fields)
    }

    /// Whether the request has one of the fields in a spelling that some servers read as the same, so that
    /// its response may have been chosen by a value that is not known here.
    pub(crate) fn is_doubtful(&self, request: Fields<'_>) -> bool {
        let names = || self.fields.iter().map(|field| field.name.as_str().as_bytes());
        !self.is_empty()
            && request.iter().any(|line| {
                let is_other =
                    |name| is_spelt(line.name, name) && !line.name.eq_ignore_ascii_case(name);
                line.name.contains(&b'_') && names().any(is_other)
            })
    }

    /// All of it, the fields first.
    pub(crate) fn chosen_by(&self) -> Vec<ChosenBy<'_>> {
        let fields = self.fields.iter().map(|SelectingField { name, verbatim, value }| {
            let said = match (value, verbatim) {
                (Value::Absent, _) => None,
                (_, Some(line)) => Some(Cow::Borrowed(&**line)),
                (Value::Opaque(canonical), None) => Some(Cow::Borrowed(&**canonical)),
                (Value::Preferences(members), None) => {
                    let names: Vec<_> = members.iter().map(|(name, _)| &**name).collect();
                    Some(Cow::Owned(names.join(&b", "[..])))
                }
            };
            ChosenBy::Field(name.as_str(), said)
        });
        let cookies = self.cookies.iter().map(|cookie| ChosenBy::Cookie(&cookie.name));
        let partition = self.partition.as_deref().map(ChosenBy::Partition);
        fields.chain(cookies).chain(partition).collect()
    }

    /// Whether a field by which an answer is chosen tells nothing of who asks.
    pub(crate) fn is_impersonal(name: &str) -> bool {
        IMPERSONAL.iter().any(|impersonal| impersonal.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether every answer fits, because nothing was named.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.cookies.is_empty() && self.partition.is_none()
    }

    /// The names and what was said in them, as they are compared: bytes that are equal for equal requests.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut push = |part: &[u8]| {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        };
        for field in &self.fields {
            push(field.name.as_str().as_bytes());
            match &field.value {
                Value::Absent => push(b"-"),
                Value::Opaque(canonical) => {
                    push(b"=");
                    push(canonical);
                }
                Value::Preferences(members) => {
                    push(b"q");
                    push(&(members.len() as u64).to_le_bytes());
                    for (name, weight) in members {
                        push(&name.to_ascii_lowercase());
                        push(&weight.to_le_bytes());
                    }
                }
            }
        }
        for cookie in &self.cookies {
            push(b"cookie");
            push(cookie.name.as_bytes());
            push(&(cookie.values.len() as u64).to_le_bytes());
            cookie.values.iter().for_each(|value| push(value));
        }
        if let Some(partition) = &self.partition {
            push(b"partition");
            push(partition.as_bytes());
        }
        bytes
    }

    /// Bytes it takes beyond its own size.
    pub(crate) fn weight(&self) -> usize {
        let value = |value: &Value| match value {
            Value::Absent => 0,
            Value::Opaque(bytes) => bytes.len(),
            Value::Preferences(members) => {
                members.iter().map(|(name, _)| name.len() + size_of::<(Box<[u8]>, u16)>()).sum()
            }
        };
        let field = |field: &SelectingField| {
            size_of::<SelectingField>()
                + field.name.as_str().len()
                + field.verbatim.as_ref().map_or(0, |line| line.len())
                + value(&field.value)
        };
        let cookie = |cookie: &SelectingCookie| {
            let values = cookie.values.iter().map(|value| value.len() + size_of::<Box<[u8]>>());
            size_of::<SelectingCookie>() + cookie.name.len() + values.sum::<usize>()
        };
        self.fields.iter().map(field).sum::<usize>()
            + self.cookies.iter().map(cookie).sum::<usize>()
            + self.partition.as_ref().map_or(0, |partition| partition.len())
            + self.language.as_ref().map_or(0, |language| language.len())
    }

    /// A reader who wants one language above all others gets it from a response that is in this
    /// language: whatever else the reader would take, the origin could not do better. With two
    /// languages at the top, the choice would be the origin's.
    fn is_in_preferred_language(&self, request: Fields<'_>) -> bool {
        let Some(language) = &self.language else {
            return false;
        };
        let Some(preferences) = Preferences::parse(&ACCEPT_LANGUAGE, request) else {
            return false;
        };
        match preferences.members() {
            [(first, weight), rest @ ..] => {
                *weight > 0
                    && rest.first().is_none_or(|(_, second)| second < weight)
                    && first.eq_ignore_ascii_case(language)
            }
            [] => false,
        }
    }
}

impl SelectingField {
    fn new(name: HeaderName, request: Fields<'_>) -> SelectingField {
        let value = if !request.contains(name.as_str()) {
            Value::Absent
        } else if let Some(preferences) = Preferences::parse(&name, request) {
            let own = |(name, weight): &(&[u8], u16)| (Box::from(*name), *weight);
            Value::Preferences(preferences.members().iter().map(own).collect())
        } else {
            Value::Opaque(Canonical::new(request, &name).collect())
        };
        let verbatim = only_line(request, &name).map(Box::from);
        SelectingField { name, verbatim, value }
    }

    fn matches(&self, request: Fields<'_>) -> bool {
        if self.verbatim.is_some() && only_line(request, &self.name) == self.verbatim.as_deref() {
            return true;
        }
        match &self.value {
            Value::Absent => !request.contains(self.name.as_str()),
            Value::Opaque(canonical) => {
                request.contains(self.name.as_str())
                    && Preferences::parse(&self.name, request).is_none()
                    && Canonical::new(request, &self.name).eq(canonical.iter().copied())
            }
            Value::Preferences(stored) => {
                request.contains(self.name.as_str())
                    && Preferences::parse(&self.name, request).is_some_and(|presented| {
                        let presented = presented.members();
                        presented.len() == stored.len()
                            && presented.iter().zip(stored).all(|(presented, stored)| {
                                presented.1 == stored.1
                                    && presented.0.eq_ignore_ascii_case(&stored.0)
                            })
                    })
            }
        }
    }
}

/// A field's name as it is written in records.
mod name {
    use http::HeaderName;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(name: &HeaderName, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HeaderName, D::Error> {
        let name = <&str>::deserialize(from)?;
        HeaderName::from_bytes(name.as_bytes()).map_err(D::Error::custom)
    }
}

fn only_line<'a>(headers: Fields<'a>, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.lines(name.as_str());
    let line = lines.next()?;
    lines.next().is_none().then_some(line)
}

fn only_language(response: Fields<'_>) -> Option<Box<[u8]>> {
    let mut languages = list::members(response, CONTENT_LANGUAGE.as_str());
    let language = languages.next()?;
    languages.next().is_none().then(|| Box::from(language))
}

/// A field as one list: lines joined by commas, no space at either side of a comma, outside quoted
/// strings (RFC 9111 §4.1, first two of its normalisations).
///
/// The field's own syntax is unknown here, so nothing else may be touched.
struct Canonical<'a, 'n> {
    lines: Lines<'a, 'n>,
    line: &'a [u8],
    quoted: bool,
    escaped: bool,
    after_comma: bool,
}

impl<'a, 'n> Canonical<'a, 'n> {
    fn new(headers: Fields<'a>, name: &'n HeaderName) -> Canonical<'a, 'n> {
        let mut lines = headers.lines(name.as_str());
        let line = lines.next().unwrap_or_default().trim_ascii();
        Canonical { lines, line, quoted: false, escaped: false, after_comma: true }
    }

    fn spaces_ahead(&self) -> usize {
        self.line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
    }
}

impl Iterator for Canonical<'_, '_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if !self.quoted {
            let spaces = self.spaces_ahead();
            let before_comma = matches!(self.line.get(spaces), Some(b',') | None);
            if self.after_comma || before_comma {
                self.line = &self.line[spaces..];
            }
        }
        let Some((byte, rest)) = self.line.split_first() else {
            self.line = self.lines.next()?.trim_ascii();
            (self.quoted, self.escaped, self.after_comma) = (false, false, true);
            return Some(b',');
        };
        self.line = rest;
        self.after_comma = !self.quoted && *byte == b',';
        if self.escaped {
            self.escaped = false;
        } else if self.quoted && *byte == b'\\' {
            self.escaped = true;
        } else if *byte == b'"' {
            self.quoted = !self.quoted;
        }
        Some(*byte)
    }
}

/// `Accept-Encoding` or `Accept-Language` as what it means: names with weights, the most wanted
/// first; the order among equals means nothing (RFC 9110 §12.4.2).
struct Preferences<'a> {
    members: [(&'a [u8], u16); Preferences::MAX],
    len: usize,
}

impl<'a> Preferences<'a> {
    /// Longer lists are compared as they are written; no browser sends one.
    const MAX: usize = 24;

    /// `None` for any other field, and for a list that is not written as the standard says.
    fn parse(name: &HeaderName, headers: Fields<'a>) -> Option<Preferences<'a>> {
        let encodings = *name == ACCEPT_ENCODING;
        if !encodings && *name != ACCEPT_LANGUAGE {
            return None;
        }
        let mut preferences = Preferences { members: [(&[], 0); Preferences::MAX], len: 0 };
        for line in headers.lines(name.as_str()) {
            let written = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            for member in written.filter(|member| !member.is_empty()) {
                let (name, weight) = weighted(member)?;
                let name = if encodings { coding(name) } else { name };
                *preferences.members.get_mut(preferences.len)? = (name, weight);
                preferences.len += 1;
            }
        }
        if encodings {
            preferences.drop_idle_refusals();
        }
        preferences.members[..preferences.len].sort_unstable_by(|(name, weight), (other, than)| {
            Reverse(weight).cmp(&Reverse(than)).then_with(|| cmp_ignore_case(name, other))
        });
        Some(preferences)
    }

    fn members(&self) -> &[(&'a [u8], u16)] {
        &self.members[..self.len]
    }

    /// A coding that is not listed is not acceptable, so a refusal in so many words says nothing,
    /// unless it takes something out of `*`, or `identity`, which goes without saying (RFC 9110
    /// §12.5.3). For languages a refusal always says something: `en, en-GB;q=0`.
    fn drop_idle_refusals(&mut self) {
        if self.members().iter().any(|(name, _)| *name == b"*") {
            return;
        }
        let mut kept = 0;
        for index in 0..self.len {
            let (name, weight) = self.members[index];
            if weight > 0 || name.eq_ignore_ascii_case(b"identity") {
                self.members[kept] = (name, weight);
                kept += 1;
            }
        }
        self.len = kept;
    }
}

/// `name` or `name;q=0.5`, the weight in thousandths.
pub(crate) fn weighted(member: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next()?;
    if !is_token(name) {
        return None;
    }
    let weight = match parts.next() {
        Some([b'q' | b'Q', b'=', value @ ..]) => thousandths(value)?,
        Some(_) => return None,
        None => 1000,
    };
    parts.next().is_none().then_some((name, weight))
}

/// A weight of RFC 9110 §12.4.2: 0 to 1 with at most three decimals.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, worth) in decimals.iter().zip([100, 10, 1]) {
        weight += u16::from(digit.is_ascii_digit().then(|| digit - b'0')?) * worth;
    }
    (weight <= 1000).then_some(weight)
}

/// Two codings have an older name each (RFC 9110 §8.4.1).
pub(crate) fn coding(name: &[u8]) -> &[u8] {
    if name.eq_ignore_ascii_case(b"x-gzip") {
        b"gzip"
    } else if name.eq_ignore_ascii_case(b"x-compress") {
        b"compress"
    } else {
        name
    }
}

fn cmp_ignore_case(one: &[u8], other: &[u8]) -> Ordering {
    one.iter().map(u8::to_ascii_lowercase).cmp(other.iter().map(u8::to_ascii_lowercase))
}
