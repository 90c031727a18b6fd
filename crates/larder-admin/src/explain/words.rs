//! Words: a dry run in sentences, for somebody who is tired.

use std::time::Duration;

use larder::http::{
    Below, DryRun, Held, RefreshOutlook, Standing, Step,
    policy::{
        cookies::IgnoredCookies, key_parts::Part, nearness::Difference, reason::Reason,
        uri::SMALL_HEX,
    },
};

use super::{PersonalView, keyed::seconds};

/// Why it is done so.
pub(super) fn why(dry: &DryRun) -> String {
    let why = dry.reason.says();
    match dry.purged_by.first() {
        Some(tag) if dry.reason == Reason::UriMiss => {
            format!("{why} What was stored has been purged by tag {tag}.")
        }
        _ => why.to_owned(),
    }
}

/// What cookies make of a request.
pub(super) fn personal(cookies: Vec<String>) -> PersonalView {
    let names: Vec<_> = cookies
        .iter()
        .map(|name| if name.is_empty() { "one without a name" } else { name })
        .collect();
    let (the, make) = match names[..] {
        [_] => ("cookie", "makes"),
        _ => ("cookies", "make"),
    };
    let says = format!(
        "The {the} {} {make} this look like one person's request: its answer is kept only where the service says that it \
         may be shared (Cache-Control: public, s-maxage).",
        names.join(", ")
    );
    // What a list of names takes, and what needs no quoting there.
    let is_plain = |name: &&String| !name.is_empty() && name.parse::<IgnoredCookies>().is_ok();
    // Whoever pastes it must not make everybody's answer of one person's.
    let may_go = cookies.iter().filter(|name| is_plain(name) && !may_be_a_login(name));
    let plain: Vec<_> = may_go.map(|name| format!("\"{name}\"")).collect();
    let remedy = (!plain.is_empty()).then(|| format!("ignore_cookies = [{}]", plain.join(", ")));
    PersonalView { cookies, says, remedy }
}

/// Whether a cookie's name is one of those by which applications know who somebody is, or what he has in his basket.
fn may_be_a_login(name: &str) -> bool {
    const PIECES: [&str; 16] = [
        "sess", "sid", "auth", "token", "login", "logged", "user", "account", "jwt", "csrf",
        "xsrf", "remember", "cart", "basket", "identity", "customer",
    ];
    let name = name.to_ascii_lowercase();
    PIECES.iter().any(|piece| name.contains(piece))
}

/// What memory holds.
pub(super) fn memory(dry: &DryRun) -> String {
    match (&dry.elsewhere, &dry.purged_by[..]) {
        (Some(key), _) => {
            format!("What is stored for {key} answers this as well (No-Vary-Search).")
        }
        (None, [tag, ..]) => {
            format!("What lies here has been purged by tag {tag}, and goes when room is needed.")
        }
        (None, []) => held(&dry.memory),
    }
}

/// What a tier holds.
pub(super) fn held(held: &[Held]) -> String {
    let fits = |held: &&Held| held.is_chosen || held.differs_by.is_empty();
    let best = held.iter().find(|held| held.is_chosen).or(held.iter().find(fits));
    match (held, best) {
        ([], _) => "Nothing is stored under this key.".to_owned(),
        (_, Some(held)) => format!("This is stored, {}.", standing(held)),
        ([one], None) => format!("One response is {}.", stored_for(&one.differs_by)),
        (several, None) => {
            let count = several.len();
            format!("{count} responses are stored, each for other requests than this.")
        }
    }
}

fn standing(held: &Held) -> String {
    let for_ = seconds(Duration::from_secs_f64(held.fresh_for_seconds.abs().min(1e12)));
    match held.standing {
        Standing::Fresh => format!("and fresh for {for_}"),
        Standing::StaleUsable => {
            format!("stale since {for_}, and may be served while it is refreshed")
        }
        Standing::Rescue => {
            format!("stale since {for_}, and may stand in for a service that fails")
        }
        Standing::Over => format!("stale since {for_}, and may only be asked about"),
        Standing::Purged => "and has been purged".to_owned(),
    }
}

/// What is under way.
pub(super) fn flight(dry: &DryRun) -> Option<String> {
    let since = dry
        .waits_for
        .map(|since| format!("a fetch of this has been under way for {}", seconds(since)));
    let others = match dry.other_fetches {
        0 => None,
        1 => Some("another fetch of this key is under way, for another request".to_owned()),
        count => {
            Some(format!("{count} other fetches of this key are under way, for other requests"))
        }
    };
    match (since, others) {
        (None, None) => None,
        (one, other) => Some(one.into_iter().chain(other).collect::<Vec<_>>().join("; ")),
    }
}

/// What the next request does.
pub(super) fn next(dry: &DryRun, service: &str) -> String {
    match dry.step {
        Step::Serve => "The next request is answered from memory, and no service is asked.".to_owned(),
        Step::ServeAndRefresh(outlook) => {
            let refresh = match outlook {
                RefreshOutlook::Begins => format!("{service} is asked behind its reader's back"),
                RefreshOutlook::UnderWay => "a refresh is under way".to_owned(),
                RefreshOutlook::HeldBack { left } => format!(
                    "{service} is not asked: the last refresh failed, and the next is held back for {}",
                    seconds(left)
                ),
            };
            format!("The next request is answered at once with what is stale; {refresh}.")
        }
        Step::ServeFromBelow => {
            "The next request is answered from the shared tier, and what lies there comes into memory."
                .to_owned()
        }
        Step::Refuse => "The next request is answered 504: it wants no service asked.".to_owned(),
        Step::Pass => {
            format!("The next request goes to {service}; nothing stored answers it, and what comes is not shared.")
        }
        Step::Ask { .. } if dry.waits_for.is_some() => {
            "The next request waits for the fetch that is under way, and takes its answer if it may."
                .to_owned()
        }
        Step::Ask { validates, may_rescue, is_shared } => {
            let mut says = format!("The next request asks {service}");
            if validates {
                says.push_str(" whether what is stored is still current");
            }
            if is_shared {
                says.push_str("; others who want the same wait for its answer");
            }
            if may_rescue {
                says.push_str("; if that fails, what is stale stands in");
            }
            says.push('.');
            if dry.is_apart {
                says.push_str(
                    " Such answers were for one reader each of late, so readers do not wait for each other.",
                );
            }
            if matches!(dry.below, Below::Silent) {
                says.push_str(" The shared tier does not answer.");
            }
            says
        }
    }
}

/// In what a stored response differs.
pub(super) fn differs(differences: &[Difference]) -> String {
    match differences {
        [] => "stored by other rules".to_owned(),
        [only] if only.part == Part::Query => match &only.name {
            Some(name) => format!("differs only in {name}"),
            None => "differs only in the order of the query".to_owned(),
        },
        [only] if only.part == Part::Path => {
            let (asked, stored) = (text(&only.asked), text(&only.stored));
            match asked.trim_end_matches('/') == stored.trim_end_matches('/') {
                true => "differs only in the slash at the end of the path".to_owned(),
                false => "differs only in capitals in the path".to_owned(),
            }
        }
        [only] if matches!(only.part, Part::Scheme | Part::Host) => {
            let (asked, stored) = (text(&only.asked), text(&only.stored));
            format!("stored for {stored}, and this is for {asked}")
        }
        several
            if several.iter().all(|differs| {
                matches!(differs.part, Part::Header | Part::Cookie | Part::Partition)
            }) =>
        {
            stored_for(several)
        }
        several => {
            let names = several.iter().map(|differs| match &differs.name {
                Some(name) => name.as_str(),
                None => differs.part.as_str(),
            });
            format!("differs in {}", names.collect::<Vec<_>>().join(", "))
        }
    }
}

fn stored_for(differences: &[Difference]) -> String {
    let each =
        differences.iter().map(|differs| match (differs.part, &differs.name, &differs.stored) {
            (Part::Partition, _, Some(stored)) if stored.ends_with(SMALL_HEX) => {
                format!("URLs with {SMALL_HEX}")
            }
            (Part::Partition, ..) if text(&differs.asked).ends_with(SMALL_HEX) => {
                "URLs with percent-encodings in capitals (%C3)".to_owned()
            }
            (Part::Partition, ..) => "the requests of another route".to_owned(),
            (Part::Cookie, Some(name), Some(_)) => format!("another cookie {name}"),
            (Part::Cookie, Some(name), None) => format!("requests without the cookie {name}"),
            (_, Some(name), Some(stored)) => format!("{name}: {stored}"),
            (_, name, _) => format!("requests without {}", name.as_deref().unwrap_or("that field")),
        });
    match differences {
        [] => "stored by other rules".to_owned(),
        _ => format!("stored for {}", each.collect::<Vec<_>>().join(" and ")),
    }
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_named_and_what_ignores_them_can_be_written() {
        let told = |names: &[&str]| personal(names.iter().map(|name| (*name).to_owned()).collect());
        let one = told(&["session"]);
        assert!(one.says.starts_with("The cookie session makes this look like"), "{}", one.says);
        assert_eq!(one.remedy, None, "a login must not be ignored");
        let mixed = told(&["session", "_ga", "PHPSESSID", "connect.sid"]);
        assert_eq!(mixed.remedy.as_deref(), Some("ignore_cookies = [\"_ga\"]"));
        let several = told(&["a", "", "b\"c"]);
        assert!(several.says.starts_with("The cookies a, one without a name, b\"c make"));
        assert_eq!(several.remedy.as_deref(), Some("ignore_cookies = [\"a\"]"));
        assert_eq!(told(&[""]).remedy, None);
    }

    #[test]
    fn what_differs_is_said_as_people_say_it() {
        let one = |part, name: &str, asked: &str, stored: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Difference { part, name: some(name), asked: some(asked), stored: some(stored) }
        };
        let rows = [
            (
                vec![one(Part::Partition, "", "", &format!("beta, {SMALL_HEX}"))],
                "stored for URLs with percent-encodings in small letters (%c3)",
            ),
            (
                vec![one(Part::Partition, "", SMALL_HEX, "")],
                "stored for URLs with percent-encodings in capitals (%C3)",
            ),
            (
                vec![one(Part::Partition, "", "beta", "")],
                "stored for the requests of another route",
            ),
            (vec![one(Part::Query, "utm_source", "", "x")], "differs only in utm_source"),
            (vec![one(Part::Query, "", "b&a", "a&b")], "differs only in the order of the query"),
            (
                vec![one(Part::Path, "", "/a", "/a/")],
                "differs only in the slash at the end of the path",
            ),
            (vec![one(Part::Path, "", "/a", "/A")], "differs only in capitals in the path"),
            (
                vec![one(Part::Scheme, "", "https", "http")],
                "stored for http, and this is for https",
            ),
            (
                vec![one(Part::Header, "accept-encoding", "", "br")],
                "stored for accept-encoding: br",
            ),
            (
                vec![one(Part::Header, "accept-encoding", "br", "")],
                "stored for requests without accept-encoding",
            ),
            (vec![one(Part::Cookie, "lang", "de", "(hidden)")], "stored for another cookie lang"),
            (
                vec![one(Part::Query, "a", "1", "2"), one(Part::Host, "", "a", "b")],
                "differs in a, host",
            ),
            (vec![], "stored by other rules"),
        ];
        for (differences, expected) in rows {
            assert_eq!(differs(&differences), expected);
        }
    }
}
