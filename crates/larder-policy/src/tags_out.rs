//! Tags out: an answer's tags as caches outside are told them, in a form that all of them take.
//!
//! What vendors take differs in length, in characters and in whether case counts. All take `[a-z0-9._-]` up to 64 characters
//! and fifty tags an answer: a tag of that form goes out as it is, any other as a hash, and its name stays inside. A purge
//! asks for the same ([`purged_by`]).

use std::borrow::Cow;

/// Of an answer, those that did not fit are these. Whoever purges by tag purges it as well.
pub const OVERFLOW: &str = "larder-overflow";

/// Tags of one answer that go out, if nothing else is said.
pub const MOST_TAGS: usize = 50;

/// How many tags of an answer go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagBudget {
    /// So many in a field, [`OVERFLOW`] included: at least 1.
    pub tags: usize,
    /// Bytes of a field's value, at least [`LEAST_BYTES`]. `None`: as many as its vendor takes ([`TagField::most_bytes`]).
    pub bytes: Option<usize>,
}

/// Less is no budget: a tag that goes out may be as long.
pub const LEAST_BYTES: usize = LONGEST;

impl Default for TagBudget {
    fn default() -> Self {
        TagBudget { tags: MOST_TAGS, bytes: None }
    }
}

/// Before a hash.
const HASHED: &str = "larder-";
const LONGEST: usize = 64;
const HASH_DIGITS: usize = 16;

/// The tag as it goes out: always the same for the same, and another for another.
///
/// ```
/// use larder_policy::tags_out::tag_out;
///
/// assert_eq!(tag_out("post.1"), "post.1");
/// let hashed = tag_out("post:1");
/// assert!(hashed.starts_with("larder-") && hashed.len() == 23, "{hashed}");
/// ```
pub fn tag_out(tag: &str) -> Cow<'_, str> {
    let is_portable = !tag.is_empty()
        && tag.len() <= LONGEST
        && tag.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    // What looks like a hash of ours, or like the tag for what did not fit, could be taken for one.
    if is_portable && !tag.starts_with(HASHED) {
        return Cow::Borrowed(tag);
    }
    let hash = blake3::hash(tag.as_bytes()).to_hex();
    Cow::Owned(format!("{HASHED}{}", &hash.as_str()[..HASH_DIGITS]))
}

/// What a purge by this tag asks a cache outside for: the tag, and the one of answers that had more than fit.
pub fn purged_by(tag: &str) -> [Cow<'_, str>; 2] {
    [tag_out(tag), Cow::Borrowed(OVERFLOW)]
}

/// A field in which a cache outside looks for tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TagField {
    /// `Surrogate-Key` (Fastly): spaces between.
    SurrogateKey,
    /// `Cache-Tag` (Cloudflare, Google, CloudFront by its configuration): commas between.
    CacheTag,
    /// `Edge-Cache-Tag` (Akamai): commas between.
    EdgeCacheTag,
    /// `CDN-Tag` (bunny.net): commas between.
    CdnTag,
    /// `xkey` (Varnish): spaces between.
    Xkey,
}

impl TagField {
    /// All of them.
    pub const ALL: [TagField; 5] = [
        TagField::SurrogateKey,
        TagField::CacheTag,
        TagField::EdgeCacheTag,
        TagField::CdnTag,
        TagField::Xkey,
    ];

    /// In small letters.
    pub fn name(self) -> &'static str {
        match self {
            TagField::SurrogateKey => "surrogate-key",
            TagField::CacheTag => "cache-tag",
            TagField::EdgeCacheTag => "edge-cache-tag",
            TagField::CdnTag => "cdn-tag",
            TagField::Xkey => "xkey",
        }
    }

    fn separator(self) -> char {
        match self {
            TagField::SurrogateKey | TagField::Xkey => ' ',
            TagField::CacheTag | TagField::EdgeCacheTag | TagField::CdnTag => ',',
        }
    }

    /// Bytes that the vendor takes in one.
    pub fn most_bytes(self) -> usize {
        match self {
            TagField::SurrogateKey | TagField::CacheTag => 16_384,
            TagField::EdgeCacheTag | TagField::Xkey => 8_000,
            TagField::CdnTag => 1_024,
        }
    }

    /// Its value for an answer with these tags, and how many did not fit. `None`: there are none.
    pub fn value(self, tags: &[impl AsRef<str>], budget: TagBudget) -> Option<(String, usize)> {
        let most_bytes = budget.bytes.unwrap_or(self.most_bytes()).max(LEAST_BYTES);
        let mut out: Vec<Cow<'_, str>> = tags.iter().map(|tag| tag_out(tag.as_ref())).collect();
        out.sort_unstable();
        out.dedup();
        let all = out.len();
        let bytes = |tags: &[Cow<'_, str>]| tags.iter().map(|tag| tag.len() + 1).sum::<usize>();
        if all > budget.tags || bytes(&out) > most_bytes + 1 {
            out.truncate(budget.tags.saturating_sub(1));
            while bytes(&out) + OVERFLOW.len() > most_bytes {
                out.pop();
            }
        }
        let left_out = all - out.len();
        if left_out > 0 {
            out.push(Cow::Borrowed(OVERFLOW));
        }
        let value = out.join(self.separator().encode_utf8(&mut [0; 4]) as &str);
        (!value.is_empty()).then_some((value, left_out))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn any_tag() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9._-]{0,70}",
            "[A-Za-z0-9:, ._é-]{0,20}",
            "(larder|Larder)-[0-9a-f]{14,18}",
            Just(OVERFLOW.to_owned()),
        ]
    }

    fn any_budget() -> impl Strategy<Value = TagBudget> {
        let own = (1..100_usize, proptest::option::of(LEAST_BYTES..2000));
        let own = own.prop_map(|(tags, bytes)| TagBudget { tags, bytes });
        prop_oneof![Just(TagBudget::default()), own]
    }

    proptest! {
        #[test]
        fn different_tags_go_out_as_different_ones_that_everybody_takes(
            tags in vec(any_tag(), 0..60),
        ) {
            let mut names: HashMap<String, String> = HashMap::new();
            for tag in tags {
                let out = tag_out(&tag).into_owned();
                prop_assert_eq!(&out, &*tag_out(&tag));
                let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
                prop_assert!(!out.is_empty() && out.len() <= 64 && out.bytes().all(fits), "{}", out);
                prop_assert_ne!(&out, OVERFLOW);
                if let Some(other) = names.insert(out, tag.clone()) {
                    prop_assert_eq!(other, tag);
                }
            }
        }

        #[test]
        fn whatever_is_purged_by_a_tag_is_in_the_field_of_each_answer_that_has_it(
            tags in vec(any_tag(), 0..120),
            budget in any_budget(),
        ) {
            for field in TagField::ALL {
                let Some((value, left_out)) = field.value(&tags, budget) else {
                    prop_assert!(tags.is_empty());
                    continue;
                };
                let most_bytes = budget.bytes.unwrap_or(field.most_bytes());
                prop_assert!(value.len() <= most_bytes, "{} {}", field.name(), value.len());
                let there: HashSet<&str> = value.split(field.separator()).collect();
                prop_assert!(there.len() <= budget.tags);
                prop_assert_eq!(left_out > 0, there.contains(OVERFLOW));
                for tag in &tags {
                    prop_assert!(purged_by(tag).iter().any(|purged| there.contains(&**purged)));
                }
            }
        }
    }

    #[test]
    fn a_field_is_filled_to_its_bound_and_no_further() {
        let tags = |count: usize, length: usize| -> Vec<String> {
            (0..count).map(|number| format!("{number:0length$}")).collect()
        };
        for (field, count, length, left_out) in [
            (TagField::SurrogateKey, 50, 64, 0),
            (TagField::SurrogateKey, 51, 1, 2),
            (TagField::CdnTag, 25, 40, 0),
            (TagField::CdnTag, 26, 40, 2),
            (TagField::CacheTag, 0, 1, 0),
        ] {
            let value = field.value(&tags(count, length), TagBudget::default());
            let said = value.as_ref().map_or(0, |(_, left_out)| *left_out);
            assert_eq!(said, left_out, "{field:?} {count} of {length}");
            assert_eq!(value.is_none(), count == 0);
        }
    }
}
