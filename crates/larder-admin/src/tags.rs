//! Tags: which tags the entries carry, and what each would purge.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use axum::{
    Json,
    extract::{RawQuery, State},
};
use larder::listing::{Place, TagTotals};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    console::Console,
    cursor::Cursor,
    problem::{Problem, ProblemView},
    question::{Question, wrong},
};

#[derive(Clone, Copy)]
enum TagOrder {
    Bytes,
    Entries,
    Tag,
}

const ORDERS: [(&str, TagOrder); 3] =
    [("bytes", TagOrder::Bytes), ("entries", TagOrder::Entries), ("tag", TagOrder::Tag)];

/// In which order.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it says what a question looks like; the text is read by `Question`")]
pub(crate) struct TagsQuestion {
    /// The cache, by its name; left out: all together.
    cache: Option<String>,
    /// What weighs most, is on the most entries, or by name.
    #[param(inline)]
    order: Option<TagOrderWord>,
    /// How many rows.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// The words for orders of tags.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it says which words there are")]
pub(crate) enum TagOrderWord {
    Bytes,
    Entries,
    Tag,
}

/// A page of tags.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tags {
    /// When the list was begun; of several caches, the oldest.
    #[schema(format = DateTime)]
    snapshot_at: String,
    /// How many tags there are. Told are the thousand on the most entries, and the thousand that weigh most.
    total: u64,
    /// So many times a tag was not counted, because there are more tags than are told apart.
    left_out: u64,
    tags: Vec<TagView>,
    /// What to ask for the next page; `null` at the end.
    next: Option<String>,
}

/// What carries a tag.
#[derive(Serialize, ToSchema)]
pub(crate) struct TagView {
    tag: String,
    entries: u64,
    /// What those weigh: an entry counts in each of its tags.
    bytes: u64,
    last_purge: Option<TagPurgeView>,
}

/// The last purge of a tag that is remembered.
#[derive(Serialize, ToSchema)]
pub(crate) struct TagPurgeView {
    /// `null` where that is not remembered any more.
    #[schema(format = DateTime)]
    at: Option<String>,
    #[schema(pattern = "^(soft|hard)$")]
    mode: &'static str,
}

/// The tags of what the caches hold.
#[utoipa::path(
    get, path = "/v1/tags", tag = "entries", params(TagsQuestion),
    responses(
        (status = 200, description = "A page.", body = Tags),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn tags(
    State(console): State<Arc<Console>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Tags>, Problem> {
    let mut said = Question::of(query.as_deref(), &["cache", "order", "limit", "after"])?;
    let caches = console.caches_called(said.take("cache").as_deref())?;
    let order = said.word("order", &ORDERS)?.unwrap_or(TagOrder::Bytes);
    let limit = said.limit()?;
    let unknown = || wrong("\"after\" is the \"next\" of another page, as it is".to_owned());
    let after = said.take("after").map(|word| Cursor::of_word(&word).ok_or_else(unknown));
    let after = after.transpose()?.map(|cursor| cursor.place);
    let mut listed = Vec::new();
    for cache in caches {
        listed.push(console.snapshots.tags(cache, &console.caches[cache]).await?);
    }
    let began = listed.iter().map(|tags| tags.began).min().unwrap_or_else(SystemTime::now);
    let total = listed.iter().map(|tags| tags.total).sum();
    let left_out = listed.iter().map(|tags| tags.left_out).sum();
    let mut rows: Vec<(Place, TagTotals)> = together(listed.iter().flat_map(|listed| &listed.tags))
        .map(|totals| (place(order, &totals), totals))
        .filter(|(place, _)| after.as_ref().is_none_or(|after| place > after))
        .collect();
    rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let is_more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| is_more).map(|(place, _)| place.clone());
    Ok(Json(Tags {
        snapshot_at: humantime::format_rfc3339_millis(began).to_string(),
        total,
        left_out,
        tags: rows.into_iter().map(|(_, totals)| TagView::of(totals)).collect(),
        next: last.map(|place| Cursor { place, cache: 0 }.to_word()),
    }))
}

/// Each tag once, whichever caches have it.
fn together<'a>(rows: impl Iterator<Item = &'a TagTotals>) -> impl Iterator<Item = TagTotals> {
    let mut by_tag: HashMap<&str, TagTotals> = HashMap::new();
    for row in rows {
        match by_tag.get_mut(row.tag.as_str()) {
            Some(totals) => {
                totals.entries += row.entries;
                totals.bytes += row.bytes;
            }
            None => _ = by_tag.insert(&row.tag, row.clone()),
        }
    }
    by_tag.into_values().collect::<Vec<_>>().into_iter()
}

fn place(order: TagOrder, totals: &TagTotals) -> Place {
    let rank = match order {
        TagOrder::Bytes => u64::MAX - totals.bytes,
        TagOrder::Entries => u64::MAX - totals.entries,
        TagOrder::Tag => 0,
    };
    Place { rank, key: totals.tag.clone() }
}

impl TagView {
    fn of(totals: TagTotals) -> TagView {
        let last_purge = totals.last_purge.map(|purge| TagPurgeView {
            at: purge.at.map(|at| humantime::format_rfc3339_millis(at).to_string()),
            mode: purge.mode.as_str(),
        });
        TagView { tag: totals.tag, entries: totals.entries, bytes: totals.bytes, last_purge }
    }
}
