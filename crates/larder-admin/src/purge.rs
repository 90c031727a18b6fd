//! Purge: forget entries, or mark them stale.

use std::{
    fmt,
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
    response::{IntoResponse, Response},
};
use futures_util::future::try_join_all;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use larder::{Asked, Glob, Mode, Purge, PurgeError, Receipt, Tier};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use crate::{
    access::ClientAddress,
    console::Console,
    entry::OnlyReads,
    forecast::Forecast,
    managed::Managed,
    nearest::{nearest_keys, nearest_prefixes},
    object::Object,
    problem::{Problem, ProblemView},
    receipt::ReceiptView,
    refresh::Refreshed,
    trail::{Story, Trail},
    walks::{ASK_AGAIN, NoWalk, is_walk},
    way::{LARDER_PURGED_BY, Way, own_name},
    written::with_ascii_host,
};

const TITLE: &str = "Purge not understood";

/// More keys or tags than this in one request are refused: send several.
const MAX_NAMES: usize = 1000;

/// How many stored keys are looked at for one that was meant, and how many that are not there are looked
/// for: a mistake does not cost more than a few milliseconds.
const KEYS_LOOKED_AT: usize = 5000;
const KEYS_LOOKED_FOR: usize = 5;

/// How long a request may wait for a tier, if it says so.
const TIMEOUT_MS: RangeInclusive<u64> = 1..=60_000;

/// For so long a request waits for CDNs, if it does not say.
const CDN_WAIT: Duration = Duration::from_secs(60);

/// A purge as it is asked for: one of the five, and how.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgeRequest {
    /// Everything; only `true` is one of the five.
    all: Option<bool>,
    /// Keys; of HTTP responses URIs in any spelling.
    #[schema(min_items = 1, max_items = 1000)]
    keys: Option<Vec<String>>,
    /// Whatever begins so.
    #[schema(min_length = 1)]
    prefix: Option<String>,
    /// Whatever this pattern fits: `*` stands for any characters.
    glob: Option<String>,
    /// Whatever carries one of these tags.
    #[schema(min_items = 1, max_items = 1000)]
    tags: Option<Vec<String>>,
    /// The only cache that is meant, by its name. Left out: all of them.
    cache: Option<String>,
    #[serde(default)]
    mode: ModeWord,
    /// The outermost tier that must have answered before this is.
    #[serde(default)]
    wait: TierWord,
    /// How long it waits for that. Usually as the cache's settings say.
    #[schema(minimum = 1, maximum = 60000)]
    timeout_ms: Option<u64>,
    /// Whether what it marks stale is asked for again, what was read most first.
    #[serde(default)]
    refresh: bool,
    /// Only say what it would touch.
    #[serde(default)]
    dry_run: bool,
}

/// The words for [`larder::Mode`].
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ModeWord {
    #[default]
    Soft,
    Hard,
}

/// The words for [`Tier`].
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum TierWord {
    #[default]
    Memory,
    Shared,
    Cdn,
}

impl From<ModeWord> for Mode {
    fn from(word: ModeWord) -> Mode {
        match word {
            ModeWord::Soft => Mode::Soft,
            ModeWord::Hard => Mode::Hard,
        }
    }
}

impl From<TierWord> for Tier {
    fn from(word: TierWord) -> Tier {
        match word {
            TierWord::Memory => Tier::Memory,
            TierWord::Shared => Tier::Shared,
            TierWord::Cdn => Tier::Cdn,
        }
    }
}

/// What is to be purged, in the words of a request.
#[derive(Debug, PartialEq, Eq)]
enum Targets {
    All,
    Keys(Vec<String>),
    Prefix(String),
    Glob(Glob),
    Tags(Vec<String>),
}

/// How many names a purge's line in the log has at most, and how much of each.
const LOGGED_NAMES: usize = 5;
const LOGGED_BYTES: usize = 100;

/// For the log: one line of no more than a few names, however many were purged.
impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let glob;
        let (what, names) = match self {
            Targets::Glob(pattern) => {
                glob = pattern.to_string();
                ("glob", std::slice::from_ref(&glob))
            }
            Targets::All => return f.write_str("everything"),
            Targets::Prefix(prefix) => ("prefix", std::slice::from_ref(prefix)),
            Targets::Keys(keys) => ("keys", &keys[..]),
            Targets::Tags(tags) => ("tags", &tags[..]),
        };
        f.write_str(what)?;
        for name in names.iter().take(LOGGED_NAMES) {
            match name.floor_char_boundary(LOGGED_BYTES) {
                end if end < name.len() => write!(f, " {:?}…", &name[..end])?,
                _ => write!(f, " {name:?}")?,
            }
        }
        match names.len().saturating_sub(LOGGED_NAMES) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl TryFrom<PurgeRequest> for Targets {
    type Error = String;

    fn try_from(request: PurgeRequest) -> Result<Targets, String> {
        let PurgeRequest {
            all,
            keys,
            prefix,
            glob,
            tags,
            cache: _,
            mode: _,
            wait: _,
            timeout_ms: _,
            refresh: _,
            dry_run: _,
        } = request;
        // As browsers send them, and so as they are stored.
        let keys = keys.map(|keys| keys.iter().map(|key| with_ascii_host(key).into()).collect());
        let prefix = prefix.map(|prefix| with_ascii_host(&prefix).into_owned());
        let glob = glob.map(|glob| with_ascii_host(&glob).into_owned());
        match (all, keys, prefix, tags, glob) {
            (Some(true), None, None, None, None) => Ok(Targets::All),
            (None, Some(keys), None, None, None) => names("keys", keys).map(Targets::Keys),
            (None, None, Some(prefix), None, None) if prefix.is_empty() => {
                Err("\"prefix\" is empty: to purge everything, say {\"all\":true}".to_owned())
            }
            (None, None, Some(prefix), None, None) => Ok(Targets::Prefix(prefix)),
            (None, None, None, Some(tags), None) if tags.iter().any(|tag| tag.trim().is_empty()) => {
                Err("\"tags\" has one without a letter: no entry has such a tag".to_owned())
            }
            (None, None, None, Some(tags), None) => names("tags", tags).map(Targets::Tags),
            (None, None, None, None, Some(glob)) => {
                let glob = Glob::new(&glob).map_err(|error| format!("\"glob\": {error}"))?;
                Ok(Targets::Glob(glob))
            }
            _ => Err("say one of {\"tags\":[\"…\"]}, {\"keys\":[\"…\"]}, {\"prefix\":\"…\"}, \
                      {\"glob\":\"…*…\"} and {\"all\":true}, and \"mode\":\"soft\" or \"hard\" if you like"
                .to_owned()),
        }
    }
}

fn names(what: &str, names: Vec<String>) -> Result<Vec<String>, String> {
    match names.len() {
        0 => Err(format!("\"{what}\" is empty")),
        1..=MAX_NAMES => Ok(names),
        many => Err(format!("{many} {what} are more than the {MAX_NAMES} of one request")),
    }
}

/// How a purge is to go.
#[derive(Clone)]
struct How {
    /// The only cache that is meant, by its name.
    cache: Option<String>,
    mode: Mode,
    wait: Tier,
    within: Option<Duration>,
    refreshes: bool,
    /// What it is called, where that is remembered.
    asked: Option<Asked>,
}

impl TryFrom<&PurgeRequest> for How {
    type Error = String;

    fn try_from(request: &PurgeRequest) -> Result<How, String> {
        let wait = Tier::from(request.wait);
        let within = match request.timeout_ms {
            None => None,
            Some(_) if wait == Tier::Memory => {
                return Err("\"timeout_ms\" is how long to wait for an outer tier: say \"wait\":\"shared\" as well"
                    .to_owned());
            }
            Some(millis) if TIMEOUT_MS.contains(&millis) => Some(Duration::from_millis(millis)),
            Some(_) => {
                let (least, most) = (TIMEOUT_MS.start(), TIMEOUT_MS.end());
                return Err(format!("\"timeout_ms\" is from {least} to {most}"));
            }
        };
        let (mode, refreshes) = (Mode::from(request.mode), request.refresh);
        if refreshes && mode == Mode::Hard {
            return Err(
                "\"refresh\" is for what is stale: nothing is left of what a hard purge names"
                    .to_owned(),
            );
        }
        let cache = request.cache.clone();
        Ok(How { cache, mode, wait, within, refreshes, asked: None })
    }
}

impl Targets {
    /// All purges that this is, in order.
    fn purges(&self) -> Vec<Purge> {
        match self {
            Targets::All => vec![Purge::everything()],
            Targets::Keys(keys) => keys.iter().map(Purge::key).collect(),
            Targets::Prefix(prefix) => vec![Purge::prefix(prefix)],
            Targets::Glob(glob) => vec![Purge::glob(glob.clone())],
            Targets::Tags(tags) => tags.iter().map(Purge::tag).collect(),
        }
    }

    /// Every one of these caches, also after one that does not count.
    async fn purge(
        &self,
        console: &Console,
        caches: &[Arc<dyn Managed>],
        how: How,
    ) -> Result<Purged, NotMade> {
        let (mode, purges) = (how.mode.as_str(), self.purges());
        let mut made = match purges.iter().any(|purge| is_walk(&purge.scope)) {
            true => {
                let caches = caches.to_vec();
                console.walks.walk(async move { make(purges, &caches, how).await }).await??
            }
            false => make(purges, caches, how).await?,
        };
        let told = made.iter_mut().flat_map(|made| std::mem::take(&mut made.told)).collect();
        let counts: Vec<_> = made.iter().map(|made| made.entries).collect();
        let mut purged = Purged {
            purged: counts.iter().copied().sum(),
            mode: Some(mode),
            told,
            receipts: made.into_iter().flat_map(|made| made.receipts).collect(),
            ..Purged::default()
        };
        match self {
            Targets::Keys(keys) => {
                let counted = keys.iter().zip(counts);
                let counted = counted.map(|(key, count)| PurgedKey {
                    key: key.clone(),
                    purged: count.unwrap_or(0),
                    did_you_mean: Vec::new(),
                });
                purged.keys = counted.collect();
                let missed = purged.keys.iter_mut().filter(|key| key.purged == 0);
                look_for(missed.take(KEYS_LOOKED_FOR).collect(), caches);
            }
            Targets::Prefix(prefix) if purged.purged == Some(0) => {
                purged.did_you_mean = nearest_prefixes(prefix, &some_keys(caches));
            }
            Targets::All | Targets::Prefix(_) | Targets::Glob(_) | Targets::Tags(_) => {}
        }
        Ok(purged)
    }
}

/// Why a purge was not made.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    #[error(transparent)]
    Refused(#[from] PurgeError),
    #[error(transparent)]
    NoWalk(#[from] NoWalk),
}

impl IntoResponse for NotMade {
    fn into_response(self) -> Response {
        let (status, title) = match self {
            NotMade::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, TITLE),
            NotMade::NoWalk(NoWalk::TooMany) => (StatusCode::TOO_MANY_REQUESTS, "Too many purges"),
            NotMade::NoWalk(NoWalk::Broken) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "Purge broken off")
            }
        };
        let mut response = Problem::new(status, title, self.to_string()).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let seconds = HeaderValue::from(ASK_AGAIN.as_secs());
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// What came of one purge.
struct Made {
    /// How many entries that was, if all caches counted.
    entries: Option<usize>,
    receipts: Vec<ReceiptView>,
    told: Vec<Receipt>,
}

/// Purges each cache. Each purge is made when it is first polled, in their order; outer tiers are waited for together,
/// so that many names take no longer than one.
async fn make(
    purges: Vec<Purge>,
    caches: &[Arc<dyn Managed>],
    How { cache: _, mode, wait, within, refreshes: _, asked }: How,
) -> Result<Vec<Made>, PurgeError> {
    let of_all_caches = |purge: Purge| {
        let purge = Purge { asked: asked.clone(), ..purge.mode(mode).wait(wait) };
        try_join_all(caches.iter().map(move |cache| cache.purge(purge.clone(), within)))
    };
    let receipts = try_join_all(purges.into_iter().map(of_all_caches)).await?;
    let made = receipts.into_iter().map(|receipts| Made {
        entries: receipts.iter().map(|receipt| receipt.entries).sum(),
        receipts: caches
            .iter()
            .zip(&receipts)
            .map(|(cache, receipt)| ReceiptView::of(cache.name(), receipt))
            .collect(),
        told: receipts,
    });
    Ok(made.collect())
}

fn look_for(missed: Vec<&mut PurgedKey>, caches: &[Arc<dyn Managed>]) {
    if missed.is_empty() {
        return;
    }
    let stored = some_keys(caches);
    for key in missed {
        key.did_you_mean = nearest_keys(&key.key, &stored);
    }
}

fn some_keys(caches: &[Arc<dyn Managed>]) -> Vec<String> {
    let most = KEYS_LOOKED_AT / caches.len().max(1);
    caches.iter().flat_map(|cache| cache.keys(most)).collect()
}

/// What came of a request to purge.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum PurgeAnswer {
    Forecast(Forecast),
    Purged(Box<Purged>),
}

/// What was done.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct Purged {
    /// How many entries that was; `null` where they are not counted: a single step purges what has a tag.
    purged: Option<usize>,
    /// Where `story` does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    /// Of each key that was named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<PurgedKey>,
    /// Where a prefix is that of nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    did_you_mean: Vec<String>,
    /// Of each name, and each cache.
    receipts: Vec<ReceiptView>,
    /// What is asked for again.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<Refreshed>,
    /// What it is called, who asked for it, and how far all tiers are, where that is remembered.
    #[serde(flatten)]
    story: Option<Story>,
    #[serde(skip)]
    #[schema(ignore)]
    told: Vec<Receipt>,
}

#[derive(Serialize, ToSchema)]
struct PurgedKey {
    key: String,
    /// 0: there is nothing of this name.
    purged: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    did_you_mean: Vec<String>,
}

/// Forgets entries, or marks them stale: `{"tags":["…"]}`, `{"keys":["…"]}`, `{"prefix":"…"}`, `{"glob":"…*…"}` or
/// `{"all":true}`. With `"dry_run":true` it only says what that would touch, and may be asked by whoever may read.
#[utoipa::path(
    post, path = "/v1/purge", tag = "purges", request_body = PurgeRequest,
    responses(
        (status = 200, description = "It is done, or this is what it would do.", body = PurgeAnswer),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn purge(
    State(console): State<Arc<Console>>,
    client: Option<Extension<ClientAddress>>,
    only_reads: Option<Extension<OnlyReads>>,
    fields: HeaderMap,
    request: Result<Json<Object<PurgeRequest>>, JsonRejection>,
) -> Result<Json<PurgeAnswer>, Response> {
    let way = Way::of(&fields, own_name());
    let purged = purge_or_foretell(console, (client, way), only_reads, request).await;
    purged.map(Json)
}

async fn purge_or_foretell(
    console: Arc<Console>,
    from: (Option<Extension<ClientAddress>>, Way),
    only_reads: Option<Extension<OnlyReads>>,
    request: Result<Json<Object<PurgeRequest>>, JsonRejection>,
) -> Result<PurgeAnswer, Response> {
    let is_dry_run = request.as_ref().is_ok_and(|Json(Object(request))| request.dry_run);
    // Who may only read is told so before anything of the request is judged.
    if let Some(Extension(only_reads)) = only_reads
        && !is_dry_run
    {
        return Err(only_reads.refuse("/v1/purge"));
    }
    let answer = match is_dry_run {
        true => {
            let forecast =
                foretell(&console, request).await.map_err(IntoResponse::into_response)?;
            PurgeAnswer::Forecast(forecast)
        }
        false => PurgeAnswer::Purged(Box::new(really_purge(console, from, request).await?)),
    };
    Ok(answer)
}

/// Judges a request as a purge is judged, and makes none.
async fn foretell(
    console: &Console,
    request: Result<Json<Object<PurgeRequest>>, JsonRejection>,
) -> Result<Forecast, Problem> {
    let Json(Object(request)) = request.map_err(|rejection| Problem::of_json(TITLE, &rejection))?;
    let not_understood = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, TITLE, detail);
    let how = How::try_from(&request).map_err(not_understood)?;
    let caches = console.only(how.cache.as_deref())?;
    let targets = Targets::try_from(request).map_err(not_understood)?;
    let scopes = targets.purges().into_iter().map(|purge| purge.scope).collect();
    Forecast::of(console, caches, scopes).await
}

async fn really_purge(
    console: Arc<Console>,
    (client, way): (Option<Extension<ClientAddress>>, Way),
    request: Result<Json<Object<PurgeRequest>>, JsonRejection>,
) -> Result<Purged, Response> {
    let no_json = |rejection: JsonRejection| Problem::of_json(TITLE, &rejection).into_response();
    let Json(Object(request)) = request.map_err(no_json)?;
    let not_understood =
        |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, TITLE, detail).into_response();
    let how = How::try_from(&request).map_err(not_understood)?;
    let caches = console.only(how.cache.as_deref()).map_err(IntoResponse::into_response)?;
    if how.refreshes && caches.len() < console.caches.len() {
        let detail = "\"refresh\" is for all caches: leave \"cache\" out, or \"refresh\"";
        return Err(not_understood(detail.to_owned()));
    }
    let targets = Targets::try_from(request).map_err(not_understood)?;
    let refresh = match (how.refreshes, &console.refresh) {
        (false, _) => None,
        (true, Some(refresh)) => Some(Arc::clone(refresh)),
        (true, None) => {
            let detail = "nothing here asks again by itself: leave \"refresh\" out";
            return Err(not_understood(detail.to_owned()));
        }
    };
    let came_by = match way {
        Way::Here(came_by) => came_by,
        Way::Round => {
            console.came_round.one_more();
            tracing::debug!("it was purged here before it came round: {targets}");
            return Ok(Purged { mode: Some(how.mode.as_str()), ..Purged::default() });
        }
        Way::Unreadable => {
            let detail = format!("{LARDER_PURGED_BY} has the names of caches, with commas between");
            return Err(not_understood(detail));
        }
    };
    let by = match client {
        Some(Extension(ClientAddress(address))) => format!("admin API, {address}"),
        None => "admin API".to_owned(),
    };
    let (mode, cache) = (how.mode, how.cache.clone());
    let asked = Asked { came_by, ..Trail::ask(by) };
    let purged = targets.purge_and_wait(&console, &caches, how, asked).await;
    let mut purged = purged.map_err(IntoResponse::into_response)?;
    if let Some(refresh) = refresh {
        let purges = targets.purges();
        // To look at a million entries takes longer than others should wait. If it broke, that was told.
        purged.refresh = spawn_blocking(move || refresh.refresh(&purges)).await.ok();
    }
    let id = purged.story.as_ref().map(|story| story.id.as_str());
    tracing::info!(purged = purged.purged, %mode, cache, id, "purged {targets}");
    Ok(purged)
}

impl Console {
    /// The caches of this name, or all.
    fn only(&self, name: Option<&str>) -> Result<Vec<Arc<dyn Managed>>, Problem> {
        let called = self.caches_called(name)?;
        Ok(called.into_iter().map(|at| Arc::clone(&self.caches[at])).collect())
    }
}

impl Targets {
    /// Purges all tiers inside as the caches do, and waits for CDNs by the trail.
    async fn purge_and_wait(
        &self,
        console: &Console,
        caches: &[Arc<dyn Managed>],
        how: How,
        asked: Asked,
    ) -> Result<Purged, NotMade> {
        let Some(trail) = &console.trail else {
            return self.purge(console, caches, how).await;
        };
        let began = Instant::now();
        let is_for_cdns = how.wait == Tier::Cdn && trail.has_cdns();
        let has_shared = caches.iter().any(|cache| cache.lower_health().is_some());
        let wait = match how.wait {
            Tier::Cdn if is_for_cdns && has_shared => Tier::Shared,
            Tier::Cdn if is_for_cdns => Tier::Memory,
            wait => wait,
        };
        let (id, within) = (Arc::clone(&asked.id), how.within);
        let mut purged =
            self.purge(console, caches, How { wait, asked: Some(asked), ..how }).await?;
        trail.told(&id, &purged.told);
        trail.kept(&id).await;
        purged.story = match is_for_cdns {
            true => {
                let within = within.unwrap_or(CDN_WAIT).saturating_sub(began.elapsed());
                trail.wait(&id, Tier::Cdn, within).await
            }
            false => trail.story(&id),
        };
        if purged.story.is_some() {
            purged.mode = None;
        }
        Ok(purged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_purges_too_much_at_once_is_told_when_to_ask_again() {
        let told = |error: NotMade| {
            let response = error.into_response();
            let wait = response.headers().get(header::RETRY_AFTER).cloned();
            (response.status().as_u16(), wait.map(|wait| wait.to_str().unwrap().to_owned()))
        };
        assert_eq!(told(NoWalk::TooMany.into()), (429, Some("1".to_owned())));
        assert_eq!(told(NoWalk::Broken.into()), (500, None));
    }

    #[test]
    fn the_log_names_a_few_and_counts_the_rest() {
        let names = |count: usize| (0..count).map(|number| format!("t{number}")).collect();
        for (scope, text) in [
            (Targets::All, "everything".to_owned()),
            (Targets::Prefix("/a".to_owned()), r#"prefix "/a""#.to_owned()),
            (Targets::Keys(names(1)), r#"keys "t0""#.to_owned()),
            (Targets::Tags(names(5)), r#"tags "t0" "t1" "t2" "t3" "t4""#.to_owned()),
            (
                Targets::Tags(names(1000)),
                r#"tags "t0" "t1" "t2" "t3" "t4" and 995 more"#.to_owned(),
            ),
            (Targets::Prefix("é".repeat(1000)), format!("prefix {:?}…", "é".repeat(50))),
            (Targets::Keys(vec!["a\nb".to_owned()]), r#"keys "a\nb""#.to_owned()),
        ] {
            assert_eq!(scope.to_string(), text);
        }
    }
}
