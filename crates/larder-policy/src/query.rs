//! Query: which parameters of a URI's query matter, and in which order they are written.
//!
//! What does not matter is taken out of a request before anything else is decided, as ignored cookies are: neither the
//! key nor the origin has it. So an answer cannot depend on it, and nothing in the cache can be poisoned with it.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use arrayvec::ArrayVec;
use http::Uri;

use crate::{key_parts::Why, names::Names, uri::hex};

/// Names that advertisement networks, newsletters and visitor counters give the parameters that they add to links, as
/// their vendors document them. Scripts in the page read them; what a page is does not depend on them.
const TRACKING: &[&str] = &[
    "utm_*",
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "gad_source",
    "gad_campaignid",
    "srsltid",
    "_ga",
    "_gl",
    "fbclid",
    "msclkid",
    "ttclid",
    "twclid",
    "li_fat_id",
    "igshid",
    "igsh",
    "epik",
    "rdt_cid",
    "ScCid",
    "yclid",
    "ysclid",
    "mc_cid",
    "mc_eid",
    "_hsenc",
    "_hsmi",
    "hsCtaTracking",
    "mkt_tok",
    "oly_anon_id",
    "oly_enc_id",
    "vero_id",
    "vero_conv",
    "_kx",
    "_openstat",
    "wickedid",
    "irclickid",
    "cjevent",
    "mtm_*",
    "pk_campaign",
    "pk_kwd",
    "pk_source",
    "pk_medium",
    "pk_content",
    "matomo_*",
    "piwik_*",
    "s_cid",
    "ef_id",
    "s_kwcid",
];

/// The word that stands for [`TRACKING`] in a list.
const TRACKING_NAME: &str = "tracking";

/// Which parameters of a query are a part of the key, and how they are ordered. By default all are, as they stand.
///
/// ```
/// use larder_policy::query::QueryRecipe;
///
/// let recipe = QueryRecipe::default().without(&["tracking"])?.sorted(true);
/// let mut target = Vec::new();
/// assert_eq!(recipe.written(b"/p?b=2&utm_source=x&a=1", &mut target), Some(&b"/p?a=1&b=2"[..]));
/// # Ok::<(), larder_policy::query::NoParameterName>(())
/// ```
#[derive(Clone, Default)]
pub struct QueryRecipe {
    only: Option<Names>,
    without: Names,
    is_sorted: bool,
    number: u64,
}

/// Of recipes: none is given twice.
static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

/// By what they do; their numbers may differ.
impl PartialEq for QueryRecipe {
    fn eq(&self, other: &QueryRecipe) -> bool {
        let QueryRecipe { only, without, is_sorted, number: _ } = self;
        (only, without, is_sorted) == (&other.only, &other.without, &other.is_sorted)
    }
}

impl Eq for QueryRecipe {}

impl fmt::Debug for QueryRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QueryRecipe { only, without, is_sorted, number: _ } = self;
        let mut told = f.debug_struct("QueryRecipe");
        told.field("only", only).field("without", without).field("is_sorted", is_sorted).finish()
    }
}

/// What stands in a list of names and can be none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be the name of a parameter: say it without what stands around it in a URL (?, &, =, #), \
     and * for any characters"
)]
pub struct NoParameterName(pub String);

/// More parameters than this are for the way that may allocate.
const FEW: usize = 32;

impl QueryRecipe {
    /// Only these matter. In a name `*` stands for any number of characters.
    ///
    /// # Errors
    ///
    /// One of them can be no name.
    pub fn only(mut self, names: &[impl AsRef<str>]) -> Result<QueryRecipe, NoParameterName> {
        self.only = Some(patterns(names)?);
        Ok(self.numbered())
    }

    /// These do not matter. The word `tracking` stands for those that advertisement networks and newsletters add to links.
    ///
    /// # Errors
    ///
    /// One of them can be no name.
    pub fn without(mut self, names: &[impl AsRef<str>]) -> Result<QueryRecipe, NoParameterName> {
        self.without = patterns(names)?;
        Ok(self.numbered())
    }

    /// Whether their order does not matter: they are sorted by name. Those of one name stay in their order.
    pub fn sorted(mut self, is_sorted: bool) -> QueryRecipe {
        self.is_sorted = is_sorted;
        self.numbered()
    }

    fn numbered(mut self) -> QueryRecipe {
        self.number = LAST_NUMBER.fetch_add(1, Relaxed) + 1;
        self
    }

    /// A number that no recipe of this process has that may write anything otherwise: what one has written may be kept by
    /// it. 0: the default.
    #[inline]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether all parameters matter, as they stand.
    #[inline]
    pub fn changes_nothing(&self) -> bool {
        self.only.is_none() && self.without.is_empty() && !self.is_sorted
    }

    /// `target` (a path, with or without a query) by this recipe, written into `out` where it differs. Allocates nothing
    /// where `out` has room. `None`: that takes more than a look (a name with something percent-encoded, or many
    /// parameters), and [`of_uri`](Self::of_uri) has to do it.
    pub fn written<'a>(&self, target: &'a [u8], out: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let Some(mark) = memchr::memchr(b'?', target) else { return Some(target) };
        let query = &target[mark + 1..];
        let has_encoded = memchr::memchr(b'%', query).is_some();
        let mut kept = ArrayVec::<Parameter<'_>, FEW>::new();
        let (mut length, mut is_in_order) = (0, true);
        for parameter in parameters(query) {
            if has_encoded && parameter.name.contains(&b'%') {
                return None;
            }
            if !self.keeps(parameter.name) {
                continue;
            }
            if self.is_sorted && kept.last().is_some_and(|last| parameter.comes_before(last)) {
                is_in_order = false;
            }
            length += parameter.text.len() + 1;
            kept.try_push(parameter).ok()?;
        }
        if kept.is_empty() {
            return Some(&target[..mark]);
        }
        if !is_in_order {
            sort(&mut kept);
        } else if length == query.len() + 1 {
            return Some(target);
        }
        out.clear();
        out.extend_from_slice(&target[..mark]);
        let mut sign = b'?';
        for parameter in &kept {
            out.push(std::mem::replace(&mut sign, b'&'));
            out.extend_from_slice(parameter.text);
        }
        Some(out)
    }

    /// The URI by this recipe, if that is another.
    pub fn of_uri(&self, uri: &Uri) -> Option<Uri> {
        if self.changes_nothing() {
            return None;
        }
        let target = uri.path_and_query()?.as_str();
        let (path, query) = target.split_once('?')?;
        let mut kept: Vec<_> = parameters(query.as_bytes())
            .map(|parameter| (decoded(parameter.name), parameter.text))
            .filter(|(name, _)| self.keeps(name))
            .collect();
        if self.is_sorted {
            kept.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        // Between ASCII characters a text can be cut anywhere.
        let kept: Vec<_> =
            kept.into_iter().map(|(_, text)| String::from_utf8_lossy(text)).collect();
        let written = match kept.is_empty() {
            true => path.to_owned(),
            false => format!("{path}?{}", kept.join("&")),
        };
        if written == target {
            return None;
        }
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(written.parse().ok()?);
        Uri::from_parts(parts).ok()
    }

    /// The parameters of a query that do not matter, in their order, each with the reason.
    pub(crate) fn left_out(&self, query: &str) -> Vec<(String, Why)> {
        let tracking = Names::of(TRACKING.iter().copied().map(Box::from).collect());
        let left = parameters(query.as_bytes()).filter_map(|parameter| {
            let name = decoded(parameter.name);
            let why = if self.keeps(&name) {
                return None;
            } else if self.without.has(&name) && tracking.has(&name) {
                Why::Tracking
            } else if self.without.has(&name) {
                Why::Denied
            } else {
                Why::NotAllowed
            };
            Some((String::from_utf8_lossy(&name).into(), why))
        });
        left.collect()
    }

    #[inline]
    fn keeps(&self, name: &[u8]) -> bool {
        self.only.as_ref().is_none_or(|names| names.has(name)) && !self.without.has(name)
    }
}

/// One parameter of a query, as it stands there.
#[derive(Clone, Copy)]
struct Parameter<'q> {
    name: &'q [u8],
    /// The name, and the value with what stands before it.
    text: &'q [u8],
}

impl Parameter<'_> {
    /// Whether it is sorted before another. Few names begin alike, so most are told apart by that.
    fn comes_before(&self, other: &Parameter<'_>) -> bool {
        let by_first = self.name.first().cmp(&other.name.first());
        by_first.then_with(|| self.name.cmp(other.name)).is_lt()
    }
}

/// The parameters of a query. Between two `&` may be nothing: that is none.
fn parameters(query: &[u8]) -> impl Iterator<Item = Parameter<'_>> {
    let mut left = query;
    std::iter::from_fn(move || {
        while let [b'&', rest @ ..] = left {
            left = rest;
        }
        if left.is_empty() {
            return None;
        }
        // Names are short, and looked through byte by byte; values need not be.
        let is_end = |byte: &u8| matches!(byte, b'=' | b'&');
        let name_end = left.iter().position(is_end).unwrap_or(left.len());
        let (name, rest) = left.split_at(name_end);
        let value_end = match rest {
            [b'=', ..] => memchr::memchr(b'&', rest).unwrap_or(rest.len()),
            _ => 0,
        };
        let (text, rest) = left.split_at(name_end + value_end);
        left = rest;
        Some(Parameter { name, text })
    })
}

/// By insertion: there are few, and most stand in their order.
fn sort(parameters: &mut [Parameter<'_>]) {
    for at in 1..parameters.len() {
        let mut to = at;
        while to > 0 && parameters[to].comes_before(&parameters[to - 1]) {
            parameters.swap(to, to - 1);
            to -= 1;
        }
    }
}

/// As the origin reads it: `%71` is a `q`.
fn decoded(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name;
    while let [byte, rest @ ..] = bytes {
        bytes = rest;
        match (*byte, rest) {
            (b'%', [high, low, after @ ..]) if let Some(byte) = hex(*high, *low) => {
                out.push(byte);
                bytes = after;
            }
            (byte, _) => out.push(byte),
        }
    }
    out
}

fn patterns(names: &[impl AsRef<str>]) -> Result<Names, NoParameterName> {
    let mut patterns = Vec::new();
    for name in names.iter().map(AsRef::as_ref) {
        let is_name = |byte: u8| byte.is_ascii_graphic() && !b"?&=#%\"<>".contains(&byte);
        if name == TRACKING_NAME {
            patterns.extend(TRACKING.iter().copied().map(Box::from));
        } else if !name.is_empty() && name.bytes().all(is_name) {
            patterns.push(name.into());
        } else {
            return Err(NoParameterName(name.to_owned()));
        }
    }
    patterns.sort_unstable();
    Ok(Names::of(patterns))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recipe(only: Option<&[&str]>, without: &[&str], is_sorted: bool) -> QueryRecipe {
        let recipe = QueryRecipe::default().without(without).unwrap().sorted(is_sorted);
        match only {
            Some(names) => recipe.only(names).unwrap(),
            None => recipe,
        }
    }

    #[test]
    fn what_matters_stays_and_the_rest_goes() {
        for (only, without, is_sorted, target, expected) in [
            (None, &["tracking"][..], false, "/a?utm_source=x&q=1&gclid=2", "/a?q=1"),
            (None, &["tracking"], false, "/a?fbclid=x", "/a"),
            (None, &["tracking"], false, "/a?", "/a"),
            (None, &["tracking"], false, "/a", "/a"),
            (None, &["tracking"], false, "/a?b=1&a=2", "/a?b=1&a=2"),
            (None, &[], true, "/a?b=1&a=2&b=0&a=1", "/a?a=2&a=1&b=1&b=0"),
            (None, &[], true, "/a?b&a", "/a?a&b"),
            (Some(&["q", "p*"][..]), &["page"], false, "/a?x=1&page=2&q=3&per=4", "/a?q=3&per=4"),
            (Some(&[]), &[], false, "/a?x=1", "/a"),
        ] {
            let recipe = recipe(only, without, is_sorted);
            let mut out = Vec::new();
            let written = recipe.written(target.as_bytes(), &mut out).unwrap();
            assert_eq!(str::from_utf8(written).unwrap(), expected, "{target}");
        }
    }

    #[test]
    fn a_name_is_read_as_the_origin_reads_it() {
        let recipe = recipe(Some(&["q"]), &[], false);
        let uri: Uri = "http://a/?%71=1&x=2".parse().unwrap();
        assert_eq!(recipe.of_uri(&uri).unwrap(), "http://a/?%71=1");
        assert_eq!(recipe.written(b"/?%71=1&x=2", &mut Vec::new()), None);
    }

    #[test]
    fn recipes_that_write_otherwise_have_other_numbers() {
        let (one, same) = (recipe(None, &["a"], true), recipe(None, &["a"], true));
        assert_eq!((&one, one.clone().number()), (&same, one.number()));
        assert_ne!(one.clone().sorted(false).number(), one.number());
        assert_ne!(one.clone().without(&["b"]).unwrap().number(), one.number());
        assert_ne!(one.clone().only(&["b"]).unwrap().number(), one.number());
        assert_eq!(QueryRecipe::default().number(), 0);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "a=1", "?a", "a&b", "a b", "a%20b"] {
            assert!(QueryRecipe::default().only(&[name]).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn both_ways_write_the_same(
            query in "[abu&=%1_;+]{0,24}", only: bool, deny: bool, is_sorted: bool,
        ) {
            let target = format!("/p?{query}");
            let recipe = recipe(only.then_some(&["a*", "b"][..]), if deny { &["ab"] } else { &[] }, is_sorted);
            prop_assume!(!recipe.changes_nothing());
            let uri: Uri = format!("http://h{target}").parse().unwrap();
            let slow = recipe.of_uri(&uri).unwrap_or(uri);
            let slow = slow.path_and_query().unwrap().as_str();
            let mut out = Vec::new();
            match recipe.written(target.as_bytes(), &mut out) {
                Some(fast) => prop_assert_eq!(str::from_utf8(fast).unwrap(), slow),
                None => prop_assert!(query.contains('%')),
            }
            // What was written is written no other way.
            let again: Uri = format!("http://h{slow}").parse().unwrap();
            prop_assert_eq!(recipe.of_uri(&again), None);
        }
    }
}
