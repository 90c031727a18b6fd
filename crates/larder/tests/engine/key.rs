//! A key may be given as what the application has at hand; parts of one are kept apart.

use std::{borrow::Cow, net::Ipv4Addr, num::NonZeroU32, rc::Rc, sync::Arc};

use larder::{Cache, CacheKey, Purge, ToKey};
use proptest::prelude::*;

use crate::support::shapes;

#[test]
#[expect(clippy::needless_borrows_for_generic_args, reason = "what is tried is the borrow")]
fn a_text_is_one_key_in_whatever_it_is_held() {
    for shape in shapes() {
        let cache = shape.builder.build();
        cache.insert(Cow::Borrowed("key"), "value".to_owned());
        let (owned, boxed) = ("key".to_owned(), Box::<str>::from("key"));
        let (shared, counted) = (Arc::<str>::from("key"), Rc::<str>::from("key"));
        let found = [
            cache.get("key"),
            cache.get(&"key"),
            cache.get(&&"key"),
            cache.get(&owned),
            cache.get(&&owned),
            cache.get(&shared),
            cache.get(&boxed),
            cache.get(&counted),
            cache.get(&Cow::Borrowed("key")),
            cache.get(Cow::<str>::Owned(owned.clone())),
            cache.get(&CacheKey::from("key")),
            cache.get(CacheKey::display("key")),
            cache.get(owned),
            cache.get(boxed),
            cache.get(shared),
        ];
        assert!(found.iter().all(Option::is_some), "{}: {found:?}", shape.name);
    }
}

#[test]
#[expect(clippy::needless_borrows_for_generic_args, reason = "what is tried is the borrow")]
fn a_number_is_its_digits() {
    for shape in shapes() {
        let cache = shape.builder.build();
        cache.insert(17, "value".to_owned());
        for found in [cache.get("17"), cache.get(17_u64), cache.get(&17_i8), cache.get(&&17_u128)] {
            assert!(found.is_some(), "{}", shape.name);
        }
        assert_eq!(cache.get(NonZeroU32::new(17).unwrap()).as_deref(), Some("value"));
        assert_eq!((cache.get(-17), cache.get(170), cache.get("017")), (None, None, None));
    }
    assert_eq!(CacheKey::from(i128::MIN).as_str(), i128::MIN.to_string());
    assert_eq!(CacheKey::from(u128::MAX).as_str(), u128::MAX.to_string());
    assert_eq!(CacheKey::from(Ipv4Addr::LOCALHOST).as_str(), "127.0.0.1");
    assert_eq!((CacheKey::from('é').as_str(), CacheKey::from(true).as_str()), ("é", "true"));
}

#[test]
fn a_tuple_can_be_read_and_is_no_text_that_one_would_write() {
    for (tuple, text) in [
        (CacheKey::from(("post", 17_u64, "de")), "|post|17|de|"),
        (CacheKey::from(&("post", &17_u64, &"de".to_owned())), "|post|17|de|"),
        (CacheKey::from(("post",)), "|post|"),
        (CacheKey::from(("", "")), "|||"),
        (CacheKey::from(("50 %", "a|b")), "|50 %25|a%7Cb|"),
        (CacheKey::from((("a", 1), "b")), "|%7Ca%7C1%7C|b|"),
        (CacheKey::from((1, 2, 3, 4, 5, 6, 7, '8')), "|1|2|3|4|5|6|7|8|"),
    ] {
        assert_eq!(tuple.as_str(), text);
    }
}

#[test]
fn a_type_of_ones_own_is_a_key_and_a_part_of_one() {
    struct PostId(u64);

    impl ToKey for PostId {
        fn to_key(&self) -> CacheKey<'_> {
            ("post", self.0).into()
        }
    }

    for shape in shapes() {
        let cache = shape.builder.build();
        cache.insert(&PostId(17), "a post".to_owned());
        cache.insert((PostId(17), "comments"), "no comments".to_owned());
        assert_eq!(cache.get(("post", 17)).as_deref(), Some("a post"), "{}", shape.name);
        assert_eq!(cache.get((&PostId(17), "comments")).as_deref(), Some("no comments"));
        assert_eq!(cache.get(("post", 17, "comments")), None);
    }
}

#[test]
fn the_first_parts_of_tuples_are_a_prefix_to_purge_by() {
    type Form = fn(&Cache<String>);
    let forms: [Form; 3] = [
        |cache| assert_eq!(cache.purge_prefix(("post", 1)), 3),
        |cache| assert_eq!(cache.soft_purge_prefix(("post", 1)), 3),
        |cache| {
            futures_util::FutureExt::now_or_never(cache.purge(Purge::prefix(("post", 1)).hard()))
                .expect("memory answers at once")
                .unwrap();
        },
    ];
    for form in forms {
        for shape in shapes() {
            let cache = shape.builder.build();
            cache.insert(("post", 1), "itself".to_owned());
            cache.insert(("post", 1, "de"), "of it".to_owned());
            cache.insert(("post", 1, "|"), "of it".to_owned());
            let others = [
                CacheKey::from(("post", 17)),
                CacheKey::from(("post", "1|")),
                CacheKey::from(("posts", 1)),
                CacheKey::from(("post",)),
                CacheKey::from("post|1|de"),
            ];
            others.iter().for_each(|key| _ = cache.insert(key, "another".to_owned()));
            form(&cache);
            assert_eq!(cache.get(("post", 1)), None, "{}", shape.name);
            assert_eq!((cache.get(("post", 1, "de")), cache.get(("post", 1, "|"))), (None, None));
            let left = others.iter().all(|key| cache.get(key).is_some());
            assert!(left, "{}: another's is gone", shape.name);
        }
    }
}

#[test]
fn a_purge_names_a_key_as_an_insert_does() {
    for shape in shapes() {
        let cache = shape.builder.build();
        cache.insert(("post", 17), "a post".to_owned());
        assert!(cache.remove(("post", 17)), "{}", shape.name);
        assert_eq!(Purge::key(("post", 17)), Purge::key("|post|17|"));
    }
}

/// Of few characters, so that what separates and what encodes is among them.
fn part() -> impl Strategy<Value = String> {
    "[|%a7C]{0,4}"
}

fn key_of(parts: &[String]) -> String {
    let key = match parts {
        [a] => CacheKey::from((a,)),
        [a, b] => CacheKey::from((a, b)),
        [a, b, c] => CacheKey::from((a, b, c)),
        other => panic!("{} parts", other.len()),
    };
    key.as_str().to_owned()
}

proptest! {
    #[test]
    fn no_two_tuples_make_one_key_and_only_first_parts_begin_one(
        one in proptest::collection::vec(part(), 1..=3),
        other in proptest::collection::vec(part(), 1..=3),
    ) {
        prop_assert_eq!(key_of(&one) == key_of(&other), one == other);
        prop_assert_eq!(key_of(&one).starts_with(&key_of(&other)), one.starts_with(&other));
        for length in 1..=one.len() {
            prop_assert!(key_of(&one).starts_with(&key_of(&one[..length])));
        }
    }
}
