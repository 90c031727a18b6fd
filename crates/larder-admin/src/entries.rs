//! Entries: what the caches hold, page by page, in an order.

use std::{cmp::Ordering, sync::Arc, time::SystemTime};

use axum::{
    Json,
    extract::{RawQuery, State},
};
use http::StatusCode;
use larder::listing::{Order, Place};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    console::Console,
    cursor::Cursor,
    held::EntryView,
    problem::{Problem, ProblemView},
    question::{Question, wrong},
    snapshots::{From, Page, Wanted},
};

const ORDERS: [(&str, Order); 6] = [
    ("key", Order::Key),
    ("bytes", Order::Bytes),
    ("age", Order::Age),
    ("heat", Order::Heat),
    ("cost", Order::Cost),
    ("expires", Order::Expires),
];

/// Which entries, in which order.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it says what a question looks like; the text is read by `Question`")]
pub(crate) struct EntriesQuestion {
    /// The cache, by its name; left out: all.
    cache: Option<String>,
    /// Only keys that begin so; of HTTP responses the beginning of a URI in any spelling.
    prefix: Option<String>,
    /// Only keys in which this stands somewhere, letter for letter.
    contains: Option<String>,
    /// Only entries that carry this tag.
    tag: Option<String>,
    /// Only entries of this route, in the words of its file.
    route: Option<String>,
    /// By key; what weighs most, is oldest, was asked for most, took longest to fetch, or is fresh no longer first.
    #[param(inline)]
    order: Option<OrderWord>,
    /// How many rows.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// The words for orders.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it says which words there are")]
pub(crate) enum OrderWord {
    Key,
    Bytes,
    Age,
    Heat,
    Cost,
    Expires,
}

/// A page of what is held.
#[derive(Serialize, ToSchema)]
pub(crate) struct Entries {
    /// When the list that the page is of was begun; of several caches, the oldest. What is told of each entry is as it is
    /// now.
    #[schema(format = DateTime)]
    snapshot_at: String,
    /// How many entries fit.
    total: u64,
    /// What those weigh.
    bytes: u64,
    /// False: time was over before all was seen, and what is told are the first of what was. The whole list is on its way:
    /// ask again.
    is_complete: bool,
    entries: Vec<EntryView>,
    /// What to ask for the next page; `null` at the end.
    next: Option<String>,
}

/// What the caches hold: what can no longer be served and has yet to go is among it.
#[utoipa::path(
    get, path = "/v1/entries", tag = "entries", params(EntriesQuestion),
    responses(
        (status = 200, description = "A page.", body = Entries),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn entries(
    State(console): State<Arc<Console>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Entries>, Problem> {
    let known = ["cache", "prefix", "contains", "tag", "route", "order", "limit", "after"];
    let mut said = Question::of(query.as_deref(), &known)?;
    let caches = console.caches_called(said.take("cache").as_deref())?;
    let order = said.word("order", &ORDERS)?.unwrap_or(Order::Key);
    let limit = said.limit()?;
    let after = match said.take("after") {
        None => None,
        Some(word) => {
            let unknown =
                || wrong("\"after\" is the \"next\" of another page, as it is".to_owned());
            Some(Cursor::of_word(&word).ok_or_else(unknown)?)
        }
    };
    let (prefix, contains) = (said.take("prefix"), said.take("contains"));
    let (tag, route) = (said.take("tag"), said.take("route"));
    let mut pages = Vec::new();
    for cache in caches {
        let (prefix, contains) = (prefix.clone(), contains.clone());
        let (tag, route) = (tag.clone(), route.clone());
        let wanted = Wanted { cache, order, prefix, contains, tag, route };
        let from = after.as_ref().map(|after| from(after, cache));
        let page = console
            .snapshots
            .page(&console.caches[cache], &console.key_routes, &wanted, from.as_ref(), limit)
            .await?;
        pages.push((cache, page));
    }
    Ok(Json(console.told(pages, limit)))
}

/// Of entries with the same rank and key, those of later caches come after the cursor.
fn from(after: &Cursor, cache: usize) -> From {
    let is_inclusive = match cache.cmp(&after.cache) {
        Ordering::Less | Ordering::Equal => false,
        Ordering::Greater => true,
    };
    From { place: after.place.clone(), is_inclusive }
}

impl Console {
    /// The places of the caches of this name, or of all.
    pub(crate) fn caches_called(&self, name: Option<&str>) -> Result<Vec<usize>, Problem> {
        let all = self.caches.iter().enumerate();
        let called = all.filter(|(_, cache)| name.is_none_or(|name| cache.name() == name));
        let called: Vec<_> = called.map(|(at, _)| at).collect();
        match (called.is_empty(), name) {
            (true, Some(name)) => {
                let names: Vec<_> = self.caches.iter().map(|cache| cache.name()).collect();
                let detail =
                    format!("there is no cache {name:?}, but there is {}", names.join(", "));
                Err(Problem::new(StatusCode::NOT_FOUND, "Cache not known", detail))
            }
            _ => Ok(called),
        }
    }

    /// The first rows of all pages together. What has gone since is left out.
    fn told(&self, pages: Vec<(usize, Page)>, limit: usize) -> Entries {
        let lists = || pages.iter().map(|(_, page)| &page.list);
        let snapshot_at = lists().map(|list| list.began).min().unwrap_or_else(SystemTime::now);
        let (total, bytes) =
            (lists().map(|list| list.total).sum(), lists().map(|list| list.bytes).sum());
        let is_complete = lists().all(|list| list.is_complete);
        let mut rows: Vec<(&Place, usize)> = Vec::new();
        for (cache, page) in &pages {
            rows.extend(page.rows.iter().map(|place| (place, *cache)));
        }
        rows.sort_unstable();
        let is_more = rows.len() > limit || pages.iter().any(|(_, page)| page.is_more);
        rows.truncate(limit);
        let next = rows
            .last()
            .filter(|_| is_more)
            .map(|(place, cache)| Cursor { place: (*place).clone(), cache: *cache }.to_word());
        let held = rows.iter().filter_map(|(place, cache)| self.view(*cache, &place.key));
        let entries = held.map(|(view, _)| view).collect();
        let snapshot_at = humantime::format_rfc3339_millis(snapshot_at).to_string();
        Entries { snapshot_at, total, bytes, is_complete, entries, next }
    }
}
