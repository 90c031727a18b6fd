//! What a value is said to own is what it owns. An allocator that counts says the same, in a process of its own.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque},
    marker::PhantomData,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use allocation_counter::measure;
use bytes::Bytes;
use larder::{Cache, Weigh};
use proptest::prelude::*;

/// What it says, and what was allocated for it.
fn weighed<T: Weigh>(make: impl FnOnce() -> T) -> (usize, usize) {
    let mut made = None;
    let taken = measure(|| made = Some(make()));
    let bytes = made.map_or(0, |made| made.heap_bytes());
    (bytes, usize::try_from(taken.bytes_current).unwrap_or(0))
}

#[track_caller]
fn assert_exact<T: Weigh>(make: impl FnOnce() -> T) {
    let (said, taken) = weighed(make);
    assert_eq!(said, taken, "{}", std::any::type_name::<T>());
}

fn text(length: usize) -> String {
    "x".repeat(length)
}

#[test]
fn what_is_one_allocation_weighs_what_that_takes() {
    assert_exact(|| text(100));
    assert_exact(String::new);
    assert_exact(|| String::with_capacity(1000));
    assert_exact(|| text(100).into_boxed_str());
    assert_exact(|| vec![0_u8; 100]);
    assert_exact(|| vec![0_u64; 100]);
    assert_exact(|| vec![(); 100]);
    assert_exact(|| Vec::<String>::with_capacity(100));
    assert_exact(|| VecDeque::from([1_u16, 2, 3]));
    assert_exact(|| BinaryHeap::from([1_u16, 2, 3]));
    assert_exact(|| vec![0_u32; 100].into_boxed_slice());
    assert_exact(|| Box::new([0_u32; 100]));
    assert_exact(|| Box::new(()));
    assert_exact(|| Box::<Path>::from(Path::new("/posts")));
    assert_exact(|| PathBuf::from("/posts"));
    assert_exact(|| Some(Ok::<String, Duration>(text(9))));
    assert_exact(|| Err::<Duration, String>(text(9)));
    assert_exact(|| Cow::<str>::Owned(text(9)));
    assert_exact(|| Cow::<[u16]>::Owned(vec![1, 2, 3]));
    assert_exact(|| (text(9), 7_u8, [text(0), text(0)], 0..9_u64, std::cmp::Reverse(text(5))));
}

#[test]
fn what_is_shared_counts_in_full_in_each_that_holds_it() {
    assert_exact(|| Arc::new([0_u64; 100]));
    assert_exact(|| Arc::<[u64]>::from(vec![0; 100]));
    assert_exact(|| Arc::<str>::from("a text of 24 characters."));
    assert_exact(|| Arc::new(text(100)));
    assert_exact(|| Bytes::from(vec![0; 100]));
    let shared = Arc::new(text(100));
    let alone = shared.heap_bytes();
    assert_eq!((Arc::clone(&shared), Arc::clone(&shared)).heap_bytes(), 2 * alone);
}

#[test]
fn what_refers_to_others_or_to_nothing_weighs_nothing() {
    assert_eq!("a text".heap_bytes(), 0);
    assert_eq!((&text(9), &[text(9)]).heap_bytes(), 0);
    assert_eq!((7_u8, 'a', true, 0.5, (), std::cmp::Ordering::Less).heap_bytes(), 0);
    assert_eq!((Duration::MAX, SystemTime::now(), IpAddr::from([127, 0, 0, 1])).heap_bytes(), 0);
    assert_eq!((None::<String>, PhantomData::<String>, Cow::Borrowed("text")).heap_bytes(), 0);
}

#[test]
fn whoever_is_behind_a_trait_weighs_what_he_is() {
    assert_exact(|| -> Box<dyn Weigh> { Box::new([0_u64; 9]) });
    assert_exact(|| -> Arc<dyn Weigh + Send + Sync> { Arc::new(text(9)) });
}

proptest! {
    /// Never too little, so that the bound holds; and not so much more that half of it stays empty.
    #[test]
    fn a_collection_weighs_what_it_takes_or_a_little_more(
        entries in proptest::collection::vec((any::<u32>(), 0..40_usize), 0..200),
        room in 0..50_usize,
    ) {
        let list = || entries.iter().map(|(_, length)| text(*length));
        let pairs = || entries.iter().map(|(key, length)| (*key, text(*length)));
        let vec = weighed(|| { let mut vec = Vec::with_capacity(room); vec.extend(list()); vec });
        let ring = weighed(|| list().collect::<VecDeque<_>>());
        let map = weighed(|| {
            let mut map = HashMap::with_capacity(room);
            map.extend(pairs());
            map
        });
        let set = weighed(|| list().collect::<HashSet<_>>());
        let bytes = weighed(|| entries.iter().map(|(_, length)| *length as u8).collect::<HashSet<_>>());
        let at_once = weighed(|| pairs().collect::<BTreeMap<_, _>>());
        let one_by_one = weighed(|| {
            let mut map = BTreeMap::new();
            pairs().for_each(|(key, value)| _ = map.insert(key, value));
            map
        });
        let in_order = weighed(|| {
            let mut set = BTreeSet::new();
            (0..entries.len()).for_each(|number| _ = set.insert(number));
            set
        });
        // For each allocation the allocator adds what it does not tell.
        let hidden = 12 * (2 * entries.len() + 1);
        for (name, (said, taken), most) in [
            ("Vec", vec, taken_at_most(vec, hidden, 1)),
            ("VecDeque", ring, taken_at_most(ring, hidden, 1)),
            ("HashMap", map, taken_at_most(map, hidden + 64, 1)),
            ("HashSet of texts", set, taken_at_most(set, hidden + 64, 1)),
            ("HashSet of bytes", bytes, taken_at_most(bytes, 64, 1)),
            ("BTreeMap", at_once, taken_at_most(at_once, hidden + 500, 3)),
            ("BTreeMap, one by one", one_by_one, taken_at_most(one_by_one, hidden + 500, 3)),
            ("BTreeSet", in_order, taken_at_most(in_order, hidden + 500, 3)),
        ] {
            prop_assert!(taken <= said, "{name} takes {taken} and says {said}");
            prop_assert!(said <= most, "{name} takes {taken} and says {said}");
        }
    }
}

fn taken_at_most((_, taken): (usize, usize), more: usize, times: usize) -> usize {
    times * taken + more
}

#[test]
fn a_part_that_says_too_much_makes_the_whole_too_large_to_be_stored() {
    #[derive(Clone)]
    struct Liar;

    impl Weigh for Liar {
        fn heap_bytes(&self) -> usize {
            usize::MAX
        }
    }

    #[derive(Clone, Weigh)]
    struct Two(Liar, Liar);

    assert_eq!(vec![Liar, Liar].heap_bytes(), usize::MAX);
    assert_eq!((Liar, text(9)).heap_bytes(), usize::MAX);
    assert_eq!((Box::new(Liar), Arc::new([Liar])).heap_bytes(), usize::MAX);
    assert_eq!(Two(Liar, Liar).heap_bytes(), usize::MAX);
    let cache = Cache::<Two>::builder().build();
    cache.insert("key", Two(Liar, Liar));
    assert_eq!((cache.get("key").is_some(), cache.stats().too_large), (false, 1));
}

mod derived {
    use super::*;

    #[derive(Weigh)]
    struct Post<T, U: ?Sized> {
        id: u64,
        title: String,
        body: T,
        shared: Arc<U>,
        #[weigh(skip)]
        pool: Foreign,
        #[weigh(with = Foreign::heap)]
        extra: Foreign,
        r#type: Option<Box<str>>,
    }

    struct Foreign(Vec<u8>);

    impl Foreign {
        fn heap(&self) -> usize {
            self.0.capacity()
        }
    }

    #[test]
    fn a_struct_owns_what_its_fields_own() {
        let post = Post::<Vec<u8>, str> {
            id: 1,
            title: text(10),
            body: vec![0; 100],
            shared: "a text of 24 characters.".into(),
            pool: Foreign(vec![0; 1 << 20]),
            extra: Foreign(vec![0; 1000]),
            r#type: Some(text(3).into_boxed_str()),
        };
        assert_eq!((post.id, post.pool.0.len()), (1, 1 << 20));
        assert_eq!(post.heap_bytes(), 10 + 100 + (16 + 24) + 1000 + 3);
    }

    #[derive(Weigh)]
    enum Reply<E> {
        Found { title: String, lines: Vec<String> },
        Moved(String, #[weigh(with = |code: &Foreign| code.heap())] Foreign),
        Failed(E),
        Gone,
    }

    #[test]
    fn an_enum_owns_what_its_variant_owns() {
        let found = Reply::<()>::Found { title: text(10), lines: vec![text(5)] };
        assert_eq!(found.heap_bytes(), 10 + size_of::<String>() + 5 + 12);
        assert_eq!(Reply::<()>::Moved(text(7), Foreign(vec![0; 2])).heap_bytes(), 9);
        assert_eq!(Reply::Failed(text(8)).heap_bytes(), 8);
        assert_eq!(Reply::<()>::Gone.heap_bytes(), 0);
    }

    #[derive(Weigh)]
    struct Unit;

    #[derive(Weigh)]
    enum Nothing {}

    #[derive(Weigh)]
    struct Tree {
        name: String,
        below: Vec<Tree>,
    }

    #[derive(Weigh)]
    struct Marked<'a, T, const N: usize>(&'a str, [u8; N], #[weigh(skip)] PhantomData<T>)
    where
        T: Clone;

    #[test]
    fn a_type_may_be_empty_recursive_or_have_parameters_that_weigh_nothing() {
        assert_eq!((Unit.heap_bytes(), None::<Nothing>.heap_bytes()), (0, 0));
        let leaf = || Tree { name: text(5), below: Vec::new() };
        let tree = Tree { name: text(9), below: vec![leaf(), leaf()] };
        assert_eq!(tree.heap_bytes(), 9 + 2 * (size_of::<Tree>() + 5 + 12));
        // `Foreign` is not `Weigh`, and no value of it is there.
        #[derive(Clone)]
        struct Foreign;
        assert_eq!(Marked::<Foreign, 3>("a text", [0; 3], PhantomData).heap_bytes(), 0);
    }

    #[test]
    fn a_cache_takes_it_and_keeps_within_its_bound() {
        #[derive(Clone, Weigh)]
        struct Page {
            lines: Vec<String>,
        }
        let cache = Cache::<Page>::builder().max_bytes(1 << 20).build();
        for number in 0..100 {
            cache.insert(number, Page { lines: vec![text(100); 1000] });
        }
        assert!((1..10).contains(&cache.stats().entries), "{:?}", cache.stats());
    }
}
