//! Cache directives: `Cache-Control`, targeted fields and `Surrogate-Control`, parsed.
//!
//! `Cache-Control` is read leniently, because half the web writes it by hand, but never to the
//! advantage of reuse: what is malformed counts where it restricts and does not where it permits.
//! Targeted fields are structured fields and parse strictly or not at all (RFC 9213 §2.1).

use std::time::Duration;

use http::{
    HeaderName,
    header::{CACHE_CONTROL, PRAGMA},
};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::{
    fields::{Fields, NameFilter},
    list::{self, is_token_byte},
};

/// Delta-seconds saturate here (RFC 9111 §1.2.2).
pub(crate) const MAX_DELTA: Duration = Duration::from_secs(1 << 31);

/// A number of seconds as RFC 9111 §1.2.2 has it: digits only, leading zeros and all; too large a
/// number is [`MAX_DELTA`].
pub(crate) fn delta_seconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let secs = digits
        .iter()
        .fold(0_u64, |secs, digit| secs.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(Duration::from_secs(secs).min(MAX_DELTA))
}

/// A directive whose argument is a number of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Delta {
    #[default]
    Absent,
    /// There, but not a number: whatever it meant, it does not make anything fresh (RFC 9111 §4.2.1).
    Invalid,
    Secs(Duration),
}

impl Delta {
    /// The number, if there is one.
    pub(crate) fn secs(self) -> Option<Duration> {
        match self {
            Delta::Secs(secs) => Some(secs),
            Delta::Absent | Delta::Invalid => None,
        }
    }

    /// The same directive twice: the smaller, which is never more than the first (RFC 9111 §4.2.1
    /// asks for the first or none at all), and none if either is invalid.
    fn and(self, other: Delta) -> Delta {
        match (self, other) {
            (Delta::Absent, other) => other,
            (first, Delta::Absent) => first,
            (Delta::Secs(first), Delta::Secs(other)) => Delta::Secs(first.min(other)),
            (Delta::Invalid, _) | (_, Delta::Invalid) => Delta::Invalid,
        }
    }

    fn from_argument(argument: Argument<'_>) -> Delta {
        // Both forms of an argument are the same value (RFC 9111 §5.2).
        match argument {
            Argument::Token(value) | Argument::Quoted(value) => {
                delta_seconds(value).map_or(Delta::Invalid, Delta::Secs)
            }
            Argument::None => Delta::Invalid,
        }
    }
}

/// A directive that may name fields, to hold for these alone: `no-cache`, `private`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    #[default]
    Nothing,
    Fields(Vec<HeaderName>),
    Everything,
}

impl Scope {
    fn and(&mut self, other: Scope) {
        match (&mut *self, other) {
            (_, Scope::Nothing) | (Scope::Everything, _) => {}
            (Scope::Fields(names), Scope::Fields(more)) => names.extend(more),
            (_, other) => *self = other,
        }
    }

    /// An argument that is no list of field names holds for everything: guessing would leak.
    fn from_argument(argument: Argument<'_>) -> Scope {
        let (Argument::Token(list) | Argument::Quoted(list)) = argument else {
            return Scope::Everything;
        };
        Scope::from_list(list)
    }

    fn from_list(list: &[u8]) -> Scope {
        let names: Result<Vec<_>, _> = list
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|name| !name.is_empty())
            .map(HeaderName::from_bytes)
            .collect();
        match names {
            Ok(names) if !names.is_empty() => Scope::Fields(names),
            Ok(_) | Err(_) => Scope::Everything,
        }
    }
}

/// The directives of a response that a shared cache knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub(crate) max_age: Delta,
    pub(crate) s_maxage: Delta,
    pub(crate) stale_while_revalidate: Delta,
    pub(crate) stale_if_error: Delta,
    pub(crate) no_cache: Scope,
    pub(crate) private: Scope,
    pub(crate) no_store: bool,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) immutable: bool,
}

impl ResponseDirectives {
    /// All lines of `Cache-Control`, leniently.
    pub(crate) fn lenient(headers: Fields<'_>) -> ResponseDirectives {
        let mut directives = ResponseDirectives::default();
        for member in list::members(headers, CACHE_CONTROL.as_str()) {
            match Directive::parse(member) {
                Some(directive) => directives.apply(directive),
                None => directives.restrict(member),
            }
        }
        directives
    }

    /// A targeted field, strictly: `None` if it is absent, empty, no dictionary of RFC 9651, or has a
    /// value of the wrong type for a directive we know. It is then as if it were not there.
    pub(crate) fn targeted(headers: Fields<'_>, name: &HeaderName) -> Option<ResponseDirectives> {
        let mut lines = headers.lines(name.as_str());
        let first = lines.next()?;
        let dictionary: Dictionary = match lines.next() {
            None => Parser::new(first).parse().ok()?,
            Some(_) => Parser::new(&joined(headers, name)).parse().ok()?,
        };
        if dictionary.is_empty() {
            return None;
        }
        let mut directives = ResponseDirectives::default();
        for (key, entry) in &dictionary {
            let value = match entry {
                ListEntry::Item(item) => Some(&item.bare_item),
                ListEntry::InnerList(_) => None,
            };
            match key.as_str() {
                "max-age" => directives.max_age = strict_delta(value)?,
                "s-maxage" => directives.s_maxage = strict_delta(value)?,
                "stale-while-revalidate" => {
                    directives.stale_while_revalidate = strict_delta(value)?
                }
                "stale-if-error" => directives.stale_if_error = strict_delta(value)?,
                "no-cache" => directives.no_cache = strict_scope(value)?,
                "private" => directives.private = strict_scope(value)?,
                "no-store" => directives.no_store = strict_flag(value)?,
                "public" => directives.public = strict_flag(value)?,
                "must-revalidate" => directives.must_revalidate = strict_flag(value)?,
                "proxy-revalidate" => directives.proxy_revalidate = strict_flag(value)?,
                "must-understand" => directives.must_understand = strict_flag(value)?,
                "immutable" => directives.immutable = strict_flag(value)?,
                _ => {}
            }
        }
        Some(directives)
    }

    /// `Surrogate-Control` (Edge Architecture, W3C note of 2001): `max-age=1+2` is fresh for 1 s and
    /// usable stale for 2 s more; a directive that names another surrogate is not for us. `None` if
    /// nothing in it concerns storing.
    pub(crate) fn surrogate(headers: Fields<'_>) -> Option<ResponseDirectives> {
        let mut directives = ResponseDirectives::default();
        let mut concerns_us = false;
        for member in list::members(headers, "surrogate-control") {
            concerns_us |= directives.apply_surrogate(member);
        }
        concerns_us.then_some(directives)
    }

    /// Whether the member concerns us.
    fn apply_surrogate(&mut self, member: &[u8]) -> bool {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let directive = parts.next().unwrap_or_default();
        if parts.any(|target| !target.eq_ignore_ascii_case(b"larder")) {
            return false;
        }
        let (name, value) = split_once(directive, b'=').unwrap_or((directive, &[]));
        // `no-store-remote` forbids surrogates that are not at the origin's side; who stands where
        // nobody can know from here, so it forbids us.
        let forbids: [&[u8]; 2] = [b"no-store", b"no-store-remote"];
        if forbids.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            self.no_store = true;
            return true;
        }
        if !name.eq_ignore_ascii_case(b"max-age") {
            return false;
        }
        let delta = |digits| delta_seconds(digits).map_or(Delta::Invalid, Delta::Secs);
        let (fresh, stale) = match split_once(value, b'+') {
            Some((fresh, stale)) => (fresh, delta(stale)),
            None => (value, Delta::Absent),
        };
        self.max_age = self.max_age.and(delta(fresh));
        self.stale_while_revalidate = self.stale_while_revalidate.and(stale);
        self.stale_if_error = self.stale_if_error.and(stale);
        true
    }

    fn apply(&mut self, directive: Directive<'_>) {
        let Directive { name, argument } = directive;
        let delta = || Delta::from_argument(argument);
        match Known::of(name) {
            Some(Known::MaxAge) => self.max_age = self.max_age.and(delta()),
            Some(Known::SMaxage) => self.s_maxage = self.s_maxage.and(delta()),
            Some(Known::StaleWhileRevalidate) => {
                self.stale_while_revalidate = self.stale_while_revalidate.and(delta());
            }
            Some(Known::StaleIfError) => self.stale_if_error = self.stale_if_error.and(delta()),
            Some(Known::NoCache) => self.no_cache.and(Scope::from_argument(argument)),
            Some(Known::Private) => self.private.and(Scope::from_argument(argument)),
            // An argument where none belongs does not weaken what restricts.
            Some(Known::NoStore) => self.no_store = true,
            Some(Known::MustRevalidate) => self.must_revalidate = true,
            Some(Known::ProxyRevalidate) => self.proxy_revalidate = true,
            // It takes back a permission, but also `no-store`: only in its proper form.
            Some(Known::MustUnderstand) => self.must_understand |= argument.is_none(),
            Some(Known::Public) => self.public |= argument.is_none(),
            Some(Known::Immutable) => self.immutable |= argument.is_none(),
            None => {}
        }
    }

    /// A member that follows no grammar (`private; no-store`, `no-cache no-store`, a quote that never
    /// ends): what restricts is looked for in its pieces and obeyed; a number found there is invalid.
    fn restrict(&mut self, member: &[u8]) {
        for name in names_within(member) {
            match Known::of(name) {
                Some(Known::MaxAge) => self.max_age = Delta::Invalid,
                Some(Known::SMaxage) => self.s_maxage = Delta::Invalid,
                Some(Known::NoCache) => self.no_cache = Scope::Everything,
                Some(Known::Private) => self.private = Scope::Everything,
                Some(Known::NoStore) => self.no_store = true,
                Some(Known::MustRevalidate) => self.must_revalidate = true,
                Some(Known::ProxyRevalidate) => self.proxy_revalidate = true,
                Some(
                    Known::StaleWhileRevalidate
                    | Known::StaleIfError
                    | Known::MustUnderstand
                    | Known::Public
                    | Known::Immutable,
                )
                | None => {}
            }
        }
    }
}

/// The response directives we know.
#[derive(Clone, Copy)]
enum Known {
    MaxAge,
    SMaxage,
    StaleWhileRevalidate,
    StaleIfError,
    NoCache,
    Private,
    NoStore,
    Public,
    MustRevalidate,
    ProxyRevalidate,
    MustUnderstand,
    Immutable,
}

impl Known {
    fn of(name: &[u8]) -> Option<Known> {
        const NAMES: [(&[u8], Known); 12] = [
            (b"max-age", Known::MaxAge),
            (b"s-maxage", Known::SMaxage),
            (b"stale-while-revalidate", Known::StaleWhileRevalidate),
            (b"stale-if-error", Known::StaleIfError),
            (b"no-cache", Known::NoCache),
            (b"private", Known::Private),
            (b"no-store", Known::NoStore),
            (b"public", Known::Public),
            (b"must-revalidate", Known::MustRevalidate),
            (b"proxy-revalidate", Known::ProxyRevalidate),
            (b"must-understand", Known::MustUnderstand),
            (b"immutable", Known::Immutable),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, known)| *known)
    }
}

/// The directives of a request (RFC 9111 §5.2.1; RFC 5861 §4 for `stale-if-error`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) max_age: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
    /// Bare `max-stale` takes any staleness.
    pub(crate) max_stale: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) only_if_cached: bool,
}

impl RequestDirectives {
    /// All lines of `Cache-Control`, or `Pragma: no-cache` where there are none (RFC 9111 §5.4).
    pub(crate) fn parse(headers: Fields<'_>) -> RequestDirectives {
        const SAYING: NameFilter = NameFilter::of(&["cache-control", "pragma"]);
        let mut directives = RequestDirectives::default();
        if !headers.may_have(SAYING) {
            return directives;
        }
        if !headers.contains(CACHE_CONTROL.as_str()) {
            directives.no_cache = pragma_no_cache(headers);
            return directives;
        }
        for member in list::members(headers, CACHE_CONTROL.as_str()) {
            match Directive::parse(member) {
                Some(directive) => directives.apply(directive),
                None => directives.restrict(member),
            }
        }
        directives
    }

    /// As in responses: a member that follows no grammar hides nothing that restricts.
    fn restrict(&mut self, member: &[u8]) {
        for name in names_within(member) {
            self.no_store |= name.eq_ignore_ascii_case(b"no-store");
            self.no_cache |= name.eq_ignore_ascii_case(b"no-cache");
        }
    }

    fn apply(&mut self, Directive { name, argument }: Directive<'_>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let secs = || Delta::from_argument(argument).secs();
        // What cannot be read asks for nothing, except where that would serve what the reader did
        // not want: an unreadable `max-age` is `max-age=0`.
        if is("max-age") {
            let secs = secs().unwrap_or(Duration::ZERO);
            self.max_age = Some(self.max_age.map_or(secs, |first| first.min(secs)));
        } else if is("min-fresh") {
            self.min_fresh = self.min_fresh.max(secs());
        } else if is("max-stale") {
            let secs = if argument.is_none() { Some(Duration::MAX) } else { secs() };
            self.max_stale = match (self.max_stale, secs) {
                (Some(first), Some(secs)) => Some(first.min(secs)),
                (first, secs) => first.or(secs),
            };
        } else if is("stale-if-error") {
            self.stale_if_error = secs();
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        }
    }
}

/// All that may be meant as the name of a directive in a member that follows no grammar.
fn names_within(member: &[u8]) -> impl Iterator<Item = &[u8]> {
    member
        .split(|byte| matches!(byte, b' ' | b'\t' | b';' | b',' | b'"'))
        .map(|piece| piece.split(|byte| *byte == b'=').next().unwrap_or_default())
}

/// Whether `Pragma` says `no-cache`.
pub(crate) fn pragma_no_cache(headers: Fields<'_>) -> bool {
    const PRAGMAS: NameFilter = NameFilter::of(&["pragma"]);
    headers.may_have(PRAGMAS)
        && list::members(headers, PRAGMA.as_str())
            .any(|member| member.eq_ignore_ascii_case(b"no-cache"))
}

/// One member of a list of directives that follows the grammar.
#[derive(Clone, Copy)]
struct Directive<'a> {
    name: &'a [u8],
    argument: Argument<'a>,
}

#[derive(Clone, Copy)]
enum Argument<'a> {
    None,
    Token(&'a [u8]),
    /// Between its quotes, escapes and all: nothing we compare with has any.
    Quoted(&'a [u8]),
}

impl Argument<'_> {
    fn is_none(self) -> bool {
        matches!(self, Argument::None)
    }
}

impl<'a> Directive<'a> {
    fn parse(member: &'a [u8]) -> Option<Directive<'a>> {
        let end = member.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(member.len());
        let (name, rest) = member.split_at(end);
        let argument = match rest {
            [] => Argument::None,
            [b'=', b'"', quoted @ ..] => Argument::Quoted(whole_quoted_string(quoted)?),
            [b'=', token @ ..] if token.iter().all(|byte| is_token_byte(*byte)) => {
                Argument::Token(token)
            }
            _ => return None,
        };
        Some(Directive { name, argument })
    }
}

/// What stands before the closing quote, if that is the last byte.
fn whole_quoted_string(after_quote: &[u8]) -> Option<&[u8]> {
    let end = closing_quote(after_quote)?;
    (end + 1 == after_quote.len()).then_some(&after_quote[..end])
}

fn closing_quote(after_quote: &[u8]) -> Option<usize> {
    let mut escaped = false;
    after_quote.iter().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => *byte == b'"',
    })
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// All lines of a field as one value.
fn joined(headers: Fields<'_>, name: &HeaderName) -> Vec<u8> {
    headers.lines(name.as_str()).collect::<Vec<_>>().join(&b", "[..])
}

/// A negative number is a number, and stale.
fn strict_delta(value: Option<&BareItem>) -> Option<Delta> {
    let BareItem::Integer(secs) = value? else {
        return None;
    };
    let secs = u64::try_from(i64::from(*secs)).unwrap_or(0);
    Some(Delta::Secs(Duration::from_secs(secs).min(MAX_DELTA)))
}

fn strict_flag(value: Option<&BareItem>) -> Option<bool> {
    match value? {
        BareItem::Boolean(set) => Some(*set),
        _ => None,
    }
}

fn strict_scope(value: Option<&BareItem>) -> Option<Scope> {
    match value? {
        BareItem::Boolean(true) => Some(Scope::Everything),
        BareItem::Boolean(false) => Some(Scope::Nothing),
        BareItem::String(names) => Some(Scope::from_list(names.as_str().as_bytes())),
        _ => None,
    }
}
