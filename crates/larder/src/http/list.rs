//! List: the responses that are stored, for whoever looks after a cache: nothing is counted, nothing marked as used.
//!
//! What a response is good for is judged by the rules of now, as for a request; whoever has rules by route says which are
//! those of a key.

use std::{borrow::Cow, sync::Arc, time::Duration, time::SystemTime, time::UNIX_EPOCH};

use http::{Uri, header};
use larder_policy::{
    coding::Coding,
    credentials,
    reuse::Variant,
    settings::Policy,
    stored::{ChosenBy, StoredHead},
};

use super::{
    beginning::BodyBeginning,
    body::stored::Span,
    cache::HttpCache,
    purge::Spellings,
    tags::{group_tag, query_tag},
    variants::{StoredVariant, Variants},
};
use crate::{
    clock::Moment,
    engine::list::{Beyond, Selector, state_of},
    gone::GoneKey,
    listing::{Freshness, Held, HeldState, ListQuery, Listed, ListedTags, Order, Touched},
    purge::Scope,
};

/// Stands for what may be a secret.
const HIDDEN: &str = "(hidden)";
/// Stands for a field that was not sent.
const ABSENT: &str = "(absent)";

/// Fields of answers whose values are for one reader, beside the [usual credentials](credentials::NAMES).
const SECRET: [&str; 7] = [
    "authentication-info",
    "authorization",
    "cookie",
    "proxy-authentication-info",
    "proxy-authorization",
    "set-cookie",
    "set-cookie2",
];

/// What is stored under one key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HeldResponses {
    /// All of it together: its state is that of the response that is good for most.
    pub held: Held,
    /// The responses, told apart by `Vary`.
    pub variants: Vec<HeldVariant>,
}

/// A stored response, without its body.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HeldVariant {
    /// Its status.
    pub status: u16,
    /// Its fields, names in small letters. What may be a secret (`Set-Cookie`, credentials) is `(hidden)`.
    pub fields: Vec<(String, String)>,
    /// What of its request told it apart: fields, `cookie NAME`, `partition`. A value that may be a secret is `(hidden)`,
    /// that of a field that was not sent `(absent)`.
    pub differs_by: Vec<(String, String)>,
    /// How long its body is.
    pub body_bytes: u64,
    /// In which codings it lies there beside, made by the cache.
    pub codings: Vec<&'static str>,
    /// How long ago it was made at its origin.
    pub age: Duration,
    /// What it is good for.
    pub state: HeldState,
    /// How long it is fresh, or has not been.
    pub freshness: Freshness,
    /// For so long after that it answers while it is asked for anew.
    pub stale_while_revalidate: Duration,
    /// For so long after that it answers where the origin fails.
    pub stale_if_error: Duration,
}

/// By which rules what is stored under a key is judged. `None`: by the cache's own.
pub type RulesOfKeys<'a> = &'a dyn Fn(&str) -> Option<Arc<Policy>>;

impl HttpCache {
    /// [`Cache::list`](crate::Cache::list), with scopes whose keys and prefixes may be URIs in any spelling, and where
    /// `rules` say when what is stored is fresh no longer. `is_wanted` is asked of each key that `query` names, as `rules`
    /// are: under no lock.
    pub fn list(
        &self,
        query: &ListQuery,
        rules: Option<RulesOfKeys<'_>>,
        is_wanted: Option<&dyn Fn(&str) -> bool>,
    ) -> Listed {
        let engine = self.parts().engine();
        let selectors: Vec<_> = query.scopes.iter().map(|scope| self.selector(scope)).collect();
        let now = self.parts().now();
        let fresh_until = |key: &str, variants: &Variants, of_entry: Moment| {
            let policy = self.rules_of(key, rules);
            let ends = variants.iter().map(|variant| fresh_until(variant.variant(), &policy, now));
            let marked = nanos(self.parts().store.wall_clock().at(of_entry));
            ends.max().unwrap_or(0).min(marked)
        };
        let fresh_until: &dyn Fn(&str, &Variants, Moment) -> u64 = &fresh_until;
        let fresh_until = (query.order == Order::Expires).then_some(fresh_until);
        engine.list(query, &selectors, Beyond { is_wanted, fresh_until })
    }

    /// What is stored for this URI, in any spelling, or under this key. `None`: nothing.
    pub fn held(&self, key: &str, rules: Option<RulesOfKeys<'_>>) -> Option<HeldResponses> {
        let (mut held, variants) = self.find_held(key)?;
        let policy = self.rules_of(&held.key, rules);
        let now = self.parts().now();
        // The entry's own lifetime is how long anything of it is of use: it is not fresh where a soft purge came.
        let marked = match held.freshness {
            Freshness::Left(_) => None,
            Freshness::OverFor(ago) => Some(ago),
        };
        let is_purged = held.state == HeldState::Purged;
        let mut of_variants: Vec<_> =
            variants.iter().map(|variant| HeldVariant::of(variant, marked, &policy, now)).collect();
        if is_purged {
            of_variants.iter_mut().for_each(|variant| variant.state = HeldState::Purged);
        }
        let best = of_variants.iter().min_by(|one, other| {
            let by_state = one.state.cmp(&other.state);
            by_state.then(other.freshness.seconds().total_cmp(&one.freshness.seconds()))
        });
        if let Some(best) = best {
            held.age = best.age;
            held.state = best.state;
            held.freshness = best.freshness;
            held.stale_while_revalidate = best.stale_while_revalidate;
            held.stale_if_error = best.stale_if_error;
        }
        held.variants = of_variants.len();
        held.tags = names_of(&held.key, &variants);
        Some(HeldResponses { held, variants: of_variants })
    }

    /// The beginning of a stored response's body: up to `most` bytes, without the content coding in which it came from the
    /// origin. `None`: there is no such response.
    pub fn beginning_of_body(
        &self,
        key: &str,
        variant: usize,
        most: usize,
    ) -> Option<BodyBeginning> {
        let (_, variants) = self.find_held(key)?;
        let variant = variants.iter().nth(variant)?;
        let span = Span { start: 0, len: Some(most as u64) };
        let slices = variant.stored.body.slices(span);
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let fields = variant.stored.head.fields();
        let codings = fields.iter().filter(|line| {
            line.name.eq_ignore_ascii_case(header::CONTENT_ENCODING.as_str().as_bytes())
        });
        let codings: Vec<_> = codings.map(|line| String::from_utf8_lossy(line.value)).collect();
        let coding = (!codings.is_empty()).then(|| codings.join(", "));
        Some(BodyBeginning::of(bytes, coding, most))
    }

    /// [`Cache::list_tags`](crate::Cache::list_tags), with the names that the responses say.
    pub fn list_tags(&self, most: usize) -> ListedTags {
        self.parts().engine().list_tags(most, Some(&names_of))
    }

    /// [`Cache::would_touch`](crate::Cache::would_touch), with keys and prefixes that may be URIs in any spelling.
    pub fn would_touch(&self, scopes: &[Scope]) -> Touched {
        let engine = self.parts().engine();
        let selectors = scopes.iter().map(|scope| self.selector(scope)).collect();
        engine.would_touch(&engine.any_of(selectors))
    }

    /// [`Cache::gone`](crate::Cache::gone) for a URI in any spelling, or any other key as it is.
    pub fn gone(&self, key: &str) -> Option<GoneKey> {
        self.keys_of(key).iter().find_map(|key| self.cache().gone(key.as_str()))
    }

    fn find_held(&self, key: &str) -> Option<(Held, Variants)> {
        let engine = self.parts().engine();
        self.keys_of(key).iter().find_map(|key| engine.held(key, Variants::clone))
    }

    fn rules_of(&self, key: &str, rules: Option<RulesOfKeys<'_>>) -> Arc<Policy> {
        let of_key = rules.and_then(|rules| rules(key));
        of_key.unwrap_or_else(|| Arc::clone(&self.parts().policy))
    }

    fn selector(&self, scope: &Scope) -> Selector {
        let Spellings { names, globs } = self.spellings(scope);
        self.parts().engine().selector(scope, names, globs)
    }
}

impl HeldVariant {
    fn of(
        variant: &StoredVariant,
        marked: Option<Duration>,
        policy: &Policy,
        now: SystemTime,
    ) -> HeldVariant {
        let head = &variant.stored.head;
        let marked = marked.and_then(|ago| now.checked_sub(ago));
        let marked = [marked, variant.variant().marked_stale].into_iter().flatten().min();
        let lifetime = head.lifetime(policy);
        let age = head.age(now);
        // What answers nobody without a question lies there to be asked about.
        let is_of_use = head.can_be_shared(policy);
        let state = match is_of_use {
            true => state_of(Variant { head, marked_stale: marked }.freshness(policy, now)),
            false => HeldState::Over,
        };
        let ttl = if is_of_use { lifetime.ttl() } else { Duration::ZERO };
        let freshness = Freshness::of(ttl, age);
        let freshness = match marked {
            Some(at) => freshness.marked_stale(now.duration_since(at).unwrap_or_default()),
            None => freshness,
        };
        let forms = variant.forms().into_iter().flat_map(|forms| forms.iter());
        HeldVariant {
            status: head.status().as_u16(),
            fields: fields_of(head),
            differs_by: head.chosen_by().iter().map(told).collect(),
            body_bytes: variant.stored.body.len(),
            codings: forms.map(|form| Coding::as_str(form.coding)).collect(),
            age,
            state,
            freshness,
            stale_while_revalidate: lifetime.revalidate_window(),
            stale_if_error: lifetime.rescue_window(),
        }
    }
}

/// When its freshness ends by its own lifetime, and by soft purges that have reached it.
fn fresh_until(variant: Variant<'_>, policy: &Policy, now: SystemTime) -> u64 {
    let head = variant.head;
    let made = now.checked_sub(head.age(now)).unwrap_or(UNIX_EPOCH);
    let ttl = if head.can_be_shared(policy) { head.lifetime(policy).ttl() } else { Duration::ZERO };
    let ends = made.checked_add(ttl).unwrap_or(now);
    nanos(variant.marked_stale.map_or(ends, |marked| marked.min(ends)))
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn fields_of(head: &StoredHead) -> Vec<(String, String)> {
    let fields = head.fields();
    let lines = fields.iter().map(|line| {
        let name = String::from_utf8_lossy(line.name).to_ascii_lowercase();
        let is_secret =
            SECRET.contains(&name.as_str()) || credentials::NAMES.contains(&name.as_str());
        let value = match is_secret {
            true => HIDDEN.to_owned(),
            false => String::from_utf8_lossy(line.value).into_owned(),
        };
        (name, value)
    });
    lines.collect()
}

fn told(chosen: &ChosenBy<'_>) -> (String, String) {
    match chosen {
        ChosenBy::Field(name, None) => ((*name).to_owned(), ABSENT.to_owned()),
        ChosenBy::Field(name, Some(_)) => {
            let value = chosen.impersonal().map_or(HIDDEN.to_owned(), |value| value.into_owned());
            ((*name).to_owned(), value)
        }
        ChosenBy::Cookie(name) => (format!("cookie {name}"), HIDDEN.to_owned()),
        ChosenBy::Partition(_) => {
            let name = chosen.impersonal().map(Cow::into_owned);
            ("partition".to_owned(), name.unwrap_or_default())
        }
    }
}

/// The tags by which a purge finds what is stored under `key`.
fn names_of(key: &str, variants: &Variants) -> Vec<String> {
    // The key of a QUERY goes on after its URI.
    let (uri, is_query) = match key.split_once(' ') {
        Some((uri, _)) => (uri, true),
        None => (key, false),
    };
    let uri: Option<Uri> = uri.parse().ok();
    let mut names: Vec<String> = Vec::new();
    for head in variants.heads() {
        names.extend(head.tags().iter().map(ToString::to_string));
        let groups =
            uri.iter().flat_map(|uri| head.groups().iter().map(|group| group_tag(uri, group)));
        names.extend(groups);
    }
    let of_query = uri.as_ref().filter(|_| is_query);
    let of_query = of_query.and_then(larder_policy::key::RequestKey::of_uri);
    names.extend(of_query.map(|uri| query_tag(&uri)));
    names.sort_unstable();
    names.dedup();
    names
}
