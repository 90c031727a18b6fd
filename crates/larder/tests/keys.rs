//! `#[cached]`: calls that differ in an argument get what is theirs, whatever the arguments are.

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::Duration,
};

use larder::{Cache, cached};
use proptest::prelude::*;
use tokio::runtime::Runtime;

/// The function, and what it was called with.
type Called = Arc<(&'static str, Vec<Vec<Option<String>>>)>;

static CALLS: LazyLock<Cache<Called>> =
    LazyLock::new(|| Cache::builder_with_weigher(|_| 100).max_bytes(1 << 30).build());

fn called(function: &'static str, texts: &[&String]) -> Called {
    Arc::new((function, vec![texts.iter().map(|text| Some((*text).clone())).collect()]))
}

#[cached(cache = CALLS)]
async fn usual(mut lists: Vec<Vec<Option<String>>>, text: String) -> Called {
    lists.push(vec![Some(text)]);
    Arc::new(("usual", lists))
}

#[cached(cache = CALLS)]
async fn usual_of_parts((a, b): (String, String), [c, d]: [String; 2]) -> Called {
    called("parts", &[&a, &b, &c, &d])
}

#[cached(cache = CALLS, key = "text:3:{a}-{b}:{c}")]
async fn three(a: String, b: String, c: String) -> Called {
    called("three", &[&a, &b, &c])
}

#[cached(cache = CALLS, key = "text:{a}")]
async fn one(a: String) -> Called {
    called("one", &[&a])
}

#[cached(cache = CALLS, key = "text:{a}:end")]
async fn one_with_an_end(a: String) -> Called {
    called("end", &[&a])
}

#[cached(cache = CALLS, key = "%{a:?}%{b}%")]
async fn percent(a: Option<String>, b: String) -> Called {
    Arc::new(("percent", vec![vec![a, Some(b)]]))
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// Of few characters and short, so that calls come close to one another, with what stands between
/// arguments in keys and in what `Debug` writes.
fn text() -> impl Strategy<Value = String> {
    "(a|:|-|;| |%|\"|\\\\|,|\\(|\\)|\\[|\\]|None|end|Some|2){0,3}"
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2 * ProptestConfig::default().cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_call_gets_what_is_its_own(
        [a, b, c, d] in [text(), text(), text(), text()],
        lists in proptest::collection::vec(
            proptest::collection::vec(proptest::option::of(text()), 0..3), 0..3,
        ),
    ) {
        RUNTIME.block_on(async {
            let mut all = lists.clone();
            all.push(vec![Some(a.clone())]);
            prop_assert_eq!(usual(lists.clone(), a.clone()).await, Arc::new(("usual", all)));
            let found = usual_of_parts((a.clone(), b.clone()), [c.clone(), d.clone()]).await;
            prop_assert_eq!(found, called("parts", &[&a, &b, &c, &d]));
            let found = three(a.clone(), b.clone(), c.clone()).await;
            prop_assert_eq!(found, called("three", &[&a, &b, &c]));
            prop_assert_eq!(one(a.clone()).await, called("one", &[&a]));
            prop_assert_eq!(one(d.clone()).await, called("one", &[&d]));
            prop_assert_eq!(one_with_an_end(a.clone()).await, called("end", &[&a]));
            for option in [None, Some(c)] {
                let found = percent(option.clone(), d.clone()).await;
                prop_assert_eq!(found, Arc::new(("percent", vec![vec![option, Some(d.clone())]])));
            }
            Ok(())
        })?;
    }
}

#[cached]
async fn bits(number: f64) -> u64 {
    number.to_bits()
}

#[cached(key = "{number}")]
async fn bits_with_key(number: f64) -> u64 {
    number.to_bits()
}

#[cached(key = "{number:012e}")]
async fn bits_behind_zeros(number: f64) -> u64 {
    number.to_bits()
}

#[tokio::test]
async fn numbers_that_differ_in_their_last_bit_or_their_sign_are_two() {
    let close = f64::from_bits(0.1_f64.to_bits() + 1);
    for number in
        [0.0, -0.0, 0.1, close, f64::MIN_POSITIVE, 1e300, f64::INFINITY, f64::NEG_INFINITY]
    {
        assert_eq!(bits(number).await, number.to_bits());
        assert_eq!(bits_with_key(number).await, number.to_bits());
        assert_eq!(bits_behind_zeros(number).await, number.to_bits());
    }
}

#[cached(key = "{id:04}/{of:#06x}")]
async fn behind_zeros(id: i32, of: i8) -> Vec<u8> {
    format!("{id} {of}").into_bytes()
}

#[tokio::test]
async fn numbers_behind_zeros_are_told_apart_by_their_digits() {
    for (id, of) in
        [(1, 1), (-1, 1), (1, -1), (10, 1), (100, 1), (10_000, 1), (-100, -128), (1, 127)]
    {
        assert_eq!(behind_zeros(id, of).await, format!("{id} {of}").into_bytes());
    }
}

#[cfg(unix)]
#[cached(cache = PATHS)]
async fn path(path: PathBuf) -> Arc<OsString> {
    Arc::new(path.into_os_string())
}

#[cfg(unix)]
static PATHS: LazyLock<Cache<Arc<OsString>>> =
    LazyLock::new(|| Cache::builder_with_weigher(|_| 100).build());

#[cfg(unix)]
#[tokio::test]
async fn paths_that_are_no_unicode_are_told_apart() {
    use std::os::unix::ffi::OsStringExt;

    for bytes in [&b"a\xFE"[..], b"a\xFF", b"a\\xFF", "a\u{FFFD}".as_bytes(), b"a"] {
        let name = OsString::from_vec(bytes.to_vec());
        assert_eq!(*path(PathBuf::from(name.clone())).await, name);
    }
}

#[cached]
async fn nanos(lasting: Duration) -> u64 {
    u64::try_from(lasting.as_nanos()).unwrap_or(0)
}

#[tokio::test]
async fn durations_are_told_apart_by_their_nanoseconds() {
    for lasting in [1, 1000, 1_000_000, 1_000_000_000, 1_000_000_001] {
        assert_eq!(nanos(Duration::from_nanos(lasting)).await, lasting);
    }
}
