//! A second opinion: the crate `http-cache-semantics`, asked the same questions.
//!
//! It follows RFC 7234, in its own reading. Wherever the two disagree whether a stored response is
//! served unasked, a rule below must explain it; a rule that explains nothing fails as well.

mod support;

use std::time::Duration;

use http::{Request as HttpRequest, Response as HttpResponse, StatusCode};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use larder_policy::{
    head::{Exchange, ResponseHead},
    response::storability,
    reuse::Verdict,
    settings::Policy,
};
use support::*;

/// One question: an answer that comes at noon to one request, and another request later.
#[derive(Clone, Debug)]
struct Case {
    status: u16,
    answer: Vec<(&'static str, &'static str)>,
    first: Vec<(&'static str, &'static str)>,
    then: Vec<(&'static str, &'static str)>,
    later: u64,
}

impl Case {
    fn says(&self, name: &str) -> Option<&'static str> {
        self.answer.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn directs(&self, directive: &str) -> bool {
        self.says("Cache-Control").is_some_and(|list| list.split(", ").any(|one| one == directive))
    }

    fn wishes(&self, wish: &str) -> bool {
        self.then.iter().any(|(_, value)| value.starts_with(wish))
    }

    fn larder_serves(&self) -> bool {
        let (first, then, answer) = (get(&self.first), get(&self.then), headers(&self.answer));
        let status = StatusCode::from_u16(self.status).expect("a status");
        let response = ResponseHead { status, headers: (&answer).into() };
        let exchange = Exchange { requested_at: noon(), received_at: noon() };
        storability(&Policy::standard(), first.head(), response, exchange).is_ok_and(|head| {
            let verdict = verdict(&Policy::standard(), &head, &then, after(self.later));
            matches!(verdict, Verdict::Serve { .. })
        })
    }

    fn other_serves(&self) -> bool {
        let request = |fields: Fields<'_>| {
            let builder = HttpRequest::get("http://example.com/a?b");
            fields
                .iter()
                .fold(builder, |builder, (name, value)| builder.header(*name, *value))
                .body(())
                .expect("a request")
        };
        let response = self
            .answer
            .iter()
            .fold(HttpResponse::builder().status(self.status), |builder, (name, value)| {
                builder.header(*name, *value)
            })
            .body(())
            .expect("a response");
        let options = CacheOptions { shared: true, ..CacheOptions::default() };
        let policy = CachePolicy::new_options(&request(&self.first), &response, noon(), options);
        policy.is_storable()
            && matches!(
                policy.before_request(&request(&self.then), after(self.later)),
                BeforeRequest::Fresh(_)
            )
    }
}

/// Why the two differ: a sentence, which of them serves, and when the sentence holds.
struct Rule {
    name: &'static str,
    larder_serves: bool,
    holds: fn(&Case) -> bool,
}

const RULES: &[Rule] = &[
    Rule {
        name: "any final status with explicit freshness is stored (RFC 9111 §3); the crate has a list",
        larder_serves: true,
        holds: |case| ![200, 404].contains(&case.status),
    },
    Rule {
        name: "a cookie does not hinder the standard; the crate wants `public` beside it",
        larder_serves: true,
        holds: |case| case.says("Set-Cookie").is_some() && !case.directs("public"),
    },
    Rule {
        name: "proxy-revalidate concerns stale answers only (§5.2.2.8); the crate never serves it",
        larder_serves: true,
        holds: |case| case.directs("proxy-revalidate"),
    },
    Rule {
        name: "no-cache and private for named fields leave the rest; the crate ignores the names",
        larder_serves: true,
        holds: |case| case.directs("no-cache=\"x\"") || case.directs("private=\"x\""),
    },
    Rule {
        name: "Pragma in a response has no meaning beside explicit freshness (§5.4)",
        larder_serves: true,
        holds: |case| case.says("Pragma").is_some(),
    },
    Rule {
        name: "Pragma in a request is ignored beside Cache-Control (§5.4)",
        larder_serves: true,
        holds: |case| case.wishes("no-cache") && case.then.len() > 1,
    },
    Rule {
        name: "Expires may have any of three formats, names in any case (RFC 9110 §5.6.7)",
        larder_serves: true,
        holds: |case| case.says("Expires").is_some_and(|date| date.starts_with("Monday")),
    },
    Rule {
        name: "no-store gives way to must-understand where the status is understood (§5.2.2.3)",
        larder_serves: true,
        holds: |case| case.directs("must-understand") && case.directs("no-store"),
    },
    Rule {
        name: "spaces around commas mean nothing in a field that Vary names (§4.1)",
        larder_serves: true,
        holds: |case| case.then.contains(&("Foo", "1,2")) && case.first.contains(&("Foo", "1, 2")),
    },
    Rule {
        name: "max-stale=30 takes what is stale by exactly 30 s (§5.2.1.2)",
        larder_serves: true,
        holds: |case| case.wishes("max-stale=") && [50, 60, 90].contains(&case.later),
    },
    Rule {
        name: "what is immutable need not be asked for again by a reload (RFC 8246 §2)",
        larder_serves: true,
        holds: |case| case.directs("immutable") && case.wishes("max-age="),
    },
    Rule {
        name: "two different max-age count as the shorter; the crate adds must-revalidate to the first",
        larder_serves: true,
        holds: |case| case.directs("max-age=30") && case.wishes("max-stale"),
    },
    Rule {
        name: "two different max-age count as the shorter; the crate takes the first",
        larder_serves: false,
        holds: |case| case.directs("max-age=30"),
    },
    Rule {
        name: "an old Date makes an answer old (apparent_age, §4.2.3)",
        larder_serves: false,
        holds: |case| case.says("Date") == Some(ELEVEN),
    },
    Rule {
        name: "immutable gives no freshness of its own (RFC 8246 §2); the crate takes a day",
        larder_serves: false,
        holds: |case| case.directs("immutable") && !case.directs("max-age=60"),
    },
    Rule {
        name: "a stale answer under s-maxage or proxy-revalidate is never served (§4.2.4)",
        larder_serves: false,
        holds: |case| {
            let shared = case.directs("s-maxage=30") || case.directs("proxy-revalidate");
            case.wishes("max-stale") && shared
        },
    },
    Rule {
        name: "max-stale needs something that was fresh once; the crate serves what never said so",
        larder_serves: false,
        holds: |case| {
            let named = case.says("Cache-Control").is_some_and(|list| list.contains("max"));
            case.wishes("max-stale") && !named && case.says("Expires").is_none()
        },
    },
    Rule {
        name: "no-cache holds against max-stale as well (§5.2.2.4); the crate only looks at must-revalidate",
        larder_serves: false,
        holds: |case| case.wishes("max-stale") && case.directs("no-cache"),
    },
    Rule {
        name: "what was never fresh and has no validator is not stored; the crate keeps it for max-stale",
        larder_serves: false,
        holds: |case| case.wishes("max-stale") && case.says("Last-Modified").is_none(),
    },
    Rule {
        name: "the first member of a list in Age counts (§5.1); the crate reads no list",
        larder_serves: false,
        holds: |case| case.says("Age") == Some("50, 0"),
    },
    Rule {
        name: "no-cache in any case is no-cache; the crate compares case",
        larder_serves: false,
        holds: |case| case.directs("No-Cache") || case.directs("PRIVATE"),
    },
];

/// All combinations would be a thousand million: a stride that shares no factor with their number
/// visits them evenly, and the same ones in every run.
fn cases() -> impl Iterator<Item = Case> {
    const STATUSES: &[u16] = &[200, 200, 200, 404, 503, 599];
    const DIRECTIVES: &[&str] = &[
        "",
        "max-age=60",
        "max-age=60",
        "max-age=0",
        "max-age=x",
        "s-maxage=30",
        "public",
        "private",
        "private=\"x\", max-age=60",
        "PRIVATE, max-age=60",
        "no-store",
        "no-cache",
        "no-cache=\"x\", max-age=60",
        "No-Cache, max-age=60",
        "must-revalidate, max-age=60",
        "proxy-revalidate, max-age=60",
        "immutable",
        "immutable, max-age=60",
        "x, public, max-age=60",
        "must-understand, no-store, max-age=60",
        "max-age=60, s-maxage=30",
        "max-age=60, max-age=30",
        "s-maxage=30, must-revalidate",
    ];
    const EXPIRES: &[&str] = &["", ONE_O_CLOCK, ELEVEN, "0", "Monday, 05-Oct-26 13:00:00 GMT"];
    const DATES: &[&str] = &["", NOON, ELEVEN, "x"];
    const MODIFIED: &[&str] = &["", DAYS_AGO, ONE_O_CLOCK];
    const AGES: &[&str] = &["", "", "10", "x", "50, 0"];
    const COOKIES: &[&str] = &["", "", "a=b"];
    const VARY: &[&str] = &["", "Foo", "*"];
    const FOO: &[(&str, &str)] = &[("", ""), ("1", "1"), ("1", "2"), ("", "1"), ("1, 2", "1,2")];
    const PRAGMA: &[&str] = &["", "", "no-cache"];
    const CREDENTIALS: &[&str] = &["", "", "Basic eDp5"];
    const WISHES: &[&str] = &[
        "",
        "",
        "",
        "no-cache",
        "max-age=20",
        "max-age=0",
        "min-fresh=30",
        "max-stale",
        "max-stale=30",
        "no-store",
        "x",
    ];
    const LATER: &[u64] = &[1, 20, 29, 31, 50, 60, 61, 90, 4000];
    const TOTAL: u64 = (STATUSES.len()
        * DIRECTIVES.len()
        * EXPIRES.len()
        * DATES.len()
        * MODIFIED.len()
        * AGES.len()
        * COOKIES.len()
        * VARY.len()
        * FOO.len()
        * PRAGMA.len()
        * PRAGMA.len()
        * CREDENTIALS.len()
        * WISHES.len()
        * LATER.len()) as u64;
    const STRIDE: u64 = 1_000_003;

    (0..40_000_u64).map(|index| {
        let mut at = index * STRIDE % TOTAL;
        let mut pick = |count: usize| {
            let count = u64::try_from(count).expect("few");
            let digit = at % count;
            at /= count;
            usize::try_from(digit).expect("few")
        };
        let mut case = Case {
            status: STATUSES[pick(STATUSES.len())],
            answer: Vec::new(),
            first: Vec::new(),
            then: Vec::new(),
            later: LATER[pick(LATER.len())],
        };
        let say = |fields: &mut Vec<_>, name, value: &'static str| {
            if !value.is_empty() {
                fields.push((name, value));
            }
        };
        say(&mut case.answer, "Cache-Control", DIRECTIVES[pick(DIRECTIVES.len())]);
        say(&mut case.then, "Cache-Control", WISHES[pick(WISHES.len())]);
        say(&mut case.answer, "Expires", EXPIRES[pick(EXPIRES.len())]);
        say(&mut case.answer, "Date", DATES[pick(DATES.len())]);
        say(&mut case.answer, "Last-Modified", MODIFIED[pick(MODIFIED.len())]);
        say(&mut case.answer, "Age", AGES[pick(AGES.len())]);
        say(&mut case.answer, "Vary", VARY[pick(VARY.len())]);
        let (first, then) = FOO[pick(FOO.len())];
        say(&mut case.first, "Foo", first);
        say(&mut case.then, "Foo", then);
        say(&mut case.answer, "Set-Cookie", COOKIES[pick(COOKIES.len())]);
        say(&mut case.answer, "Pragma", PRAGMA[pick(PRAGMA.len())]);
        say(&mut case.then, "Pragma", PRAGMA[pick(PRAGMA.len())]);
        say(&mut case.first, "Authorization", CREDENTIALS[pick(CREDENTIALS.len())]);
        case
    })
}

#[test]
fn where_another_reading_of_the_standard_differs_a_rule_says_why() {
    let mut explained = vec![0_u32; RULES.len()];
    let mut unexplained = Vec::new();
    let (mut served, mut total) = (0, 0);
    for case in cases() {
        let (ours, theirs) = (case.larder_serves(), case.other_serves());
        total += 1;
        served += u32::from(ours);
        if ours == theirs {
            continue;
        }
        let holding: Vec<usize> = (0..RULES.len())
            .filter(|index| RULES[*index].larder_serves == ours && (RULES[*index].holds)(&case))
            .collect();
        match holding[..] {
            [] => unexplained.push((ours, case)),
            [only] => explained[only] += 1,
            [..] => {}
        }
    }
    assert!(served > total / 50, "served {served} of {total}: too few to mean anything");
    assert!(
        unexplained.is_empty(),
        "{} differences without a rule, such as {:?}",
        unexplained.len(),
        &unexplained[..unexplained.len().min(8)]
    );
    let idle: Vec<&str> = RULES
        .iter()
        .zip(explained)
        .filter(|(_, count)| *count == 0)
        .map(|(rule, _)| rule.name)
        .collect();
    assert!(idle.is_empty(), "no difference needs these rules: {idle:#?}");
}

#[test]
fn a_rule_of_the_policy_bounds_what_the_other_guesses_without_bound() {
    let ancient = "Sun, 06 Nov 1994 08:49:37 GMT";
    let mut case = Case {
        status: 200,
        answer: vec![("Date", NOON), ("Last-Modified", ancient)],
        first: vec![],
        then: vec![],
        later: Duration::from_secs(2 * 86_400).as_secs(),
    };
    assert!(case.other_serves() && !case.larder_serves());
    case.later = 86_399;
    assert!(case.other_serves() && case.larder_serves());
}
