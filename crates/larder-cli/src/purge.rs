//! `larder purge`: what a gateway that runs is to forget, or to ask for again.

use std::{
    fmt::Write,
    thread::sleep,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use larder_gateway::config::amount;
use serde_json::{Value, json};

use crate::{
    ask::{AskError, Where},
    progress::Progress,
};

/// How long the answer may take beyond the wait for a tier.
const BUDGET: Duration = Duration::from_secs(10);

/// So many calls to a CDN are told in the end.
const CALLS: usize = 5;
/// All that the gateway tells.
pub(crate) const EVERY_CALL: usize = usize::MAX;

/// How often it is asked how far the CDNs are.
const LOOK: Duration = Duration::from_millis(250);

/// Purges in a gateway, by way of its admin API.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 it is purged, and where --wait was said in all that it waits for; 1 it is not, or not everywhere yet, or
nobody could be asked; 2 wrong usage.

Examples, with a gateway that was started with --admin 127.0.0.1:9191:
  larder purge --url https://example.org/posts/1
  larder purge --url example.org/posts/1           http and https
  larder purge --tag post:1 --tag post:2 --hard --wait shared
  larder purge --tag post:1 --wait cdn --timeout 1m
  larder purge --glob 'example.org/posts/*.html'   * stands for any characters
  larder purge --host example.org
  larder purge --tag front-page --refresh          and is fetched anew, what is read most first")]
pub(crate) struct Purge {
    #[command(flatten)]
    what: What,
    /// Nothing is left of it. Otherwise it is stale: asked for again, and served where the service fails
    #[arg(long)]
    hard: bool,
    /// Have it asked for again at once, what was read most first, before its readers come
    #[arg(long, conflicts_with = "hard")]
    refresh: bool,
    /// Wait until it holds in all gateways that share with this one, or in the CDNs as well
    #[arg(long, value_enum, value_name = "TIER")]
    wait: Option<Tier>,
    /// How long to wait for that: usually 15s, and 60s for CDNs
    #[arg(long, value_name = "DURATION", value_parser = amount::duration)]
    timeout: Option<Duration>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Where,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// All that has this tag; may be said several times
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// What is stored for this URL; may be said several times
    #[arg(long, value_name = "URL", value_parser = url)]
    url: Vec<String>,
    /// All URLs that begin so
    #[arg(long, value_name = "URL", value_parser = url)]
    prefix: Option<String>,
    /// All URLs of this host
    #[arg(long, value_name = "HOST", value_parser = host)]
    host: Option<String>,
    /// All URLs that fit this pattern: * stands for any characters
    #[arg(long, value_name = "PATTERN", value_parser = glob)]
    glob: Option<String>,
    /// Everything
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// All gateways that share with this one
    Shared,
    /// Those, and all CDNs that they tell
    Cdn,
}

/// Why it is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PurgeError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("it is purged here, and not everywhere yet\n{0}")]
    NotEverywhere(String),
    #[error("it is purged here, and has failed for good where that is said\n{0}")]
    Failed(String),
}

impl PurgeError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            PurgeError::Ask(error) => error.exit_code(),
            PurgeError::NotEverywhere(_) | PurgeError::Failed(_) => 1,
        }
    }
}

/// Without a scheme it is for both.
fn url(text: &str) -> Result<String, String> {
    let is_whole = ["//", "http://", "https://"].iter().any(|start| text.starts_with(start));
    match text {
        _ if is_whole => Ok(text.to_owned()),
        _ if text.is_empty() || text.starts_with('/') => {
            Err("say the host as well: example.org/posts/1".to_owned())
        }
        _ if text.contains("://") => Err("say http:// or https://, or neither".to_owned()),
        _ => Ok(format!("//{text}")),
    }
}

fn host(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(['/', '*', '?', '#', '@', ' ']) {
        true => Err("say the host alone: example.org, or example.org:8080".to_owned()),
        false => Ok(format!("//{text}/")),
    }
}

fn glob(text: &str) -> Result<String, String> {
    if text.starts_with('*') { Ok(text.to_owned()) } else { url(text) }
}

impl Purge {
    /// What to tell of it.
    pub(crate) fn run(self) -> Result<String, PurgeError> {
        let Purge { what, hard, refresh, wait, timeout, json, admin } = self;
        let usual = if wait == Some(Tier::Cdn) { 60 } else { 15 };
        let timeout = timeout.unwrap_or(Duration::from_secs(usual));
        let What { tag, url, prefix, host, glob, all } = what;
        let mut body = match (prefix.or(host), glob) {
            (Some(prefix), _) => json!({ "prefix": prefix }),
            (None, Some(glob)) => json!({ "glob": glob }),
            (None, None) if all => json!({ "all": true }),
            (None, None) if tag.is_empty() => json!({ "keys": url }),
            (None, None) => json!({ "tags": tag }),
        };
        body["mode"] = if hard { "hard".into() } else { "soft".into() };
        if refresh {
            body["refresh"] = true.into();
        }
        let mut within = BUDGET;
        if let Some(wait) = wait {
            body["wait"] = wait.word().into();
            // How far CDNs are is asked again and again, to be shown.
            let first = if wait == Tier::Cdn { timeout.min(LOOK) } else { timeout };
            let millis = first.as_millis().clamp(1, 60_000);
            body["timeout_ms"] = u64::try_from(millis).unwrap_or(u64::MAX).into();
            within += first;
        }
        let began = Instant::now();
        let said = admin.ask("/v1/purge", Some(&body), within)?;
        if wait == Some(Tier::Cdn) {
            let said = watch(&admin, said, began, timeout, json)?;
            let text = if json { format!("{said}\n") } else { told_of_story(&said, CALLS) };
            return match is_outside(&said) {
                true => Ok(text),
                false if is_over(&said) => Err(PurgeError::Failed(text)),
                false => Err(PurgeError::NotEverywhere(text)),
            };
        }
        let text = if json { format!("{said}\n") } else { told(&said) };
        match wait.is_some() && !is_everywhere(&said) {
            true => Err(PurgeError::NotEverywhere(text)),
            false => Ok(text),
        }
    }
}

impl Tier {
    fn word(self) -> &'static str {
        match self {
            Tier::Shared => "shared",
            Tier::Cdn => "cdn",
        }
    }
}

/// Asks how far it is until it is over, or for so long, and shows that as it goes on.
fn watch(
    admin: &Where,
    mut said: Value,
    began: Instant,
    timeout: Duration,
    is_silent: bool,
) -> Result<Value, AskError> {
    let mut progress = Progress::new(is_silent);
    while let (false, false, Some(id)) =
        (is_over(&said), began.elapsed() >= timeout, said["id"].as_str())
    {
        progress.show(&told_of_story(&said, 0));
        let path = format!("/v1/purges/{id}");
        sleep(LOOK.min(timeout.saturating_sub(began.elapsed())));
        said = admin.ask(&path, None, BUDGET)?;
    }
    progress.end();
    Ok(said)
}

fn cdns(story: &Value) -> &[Value] {
    story["tiers"]["cdn"].as_array().map_or(&[], Vec::as_slice)
}

/// Whether nothing more will change.
fn is_over(story: &Value) -> bool {
    let is_over = |cdn: &Value| cdn["state"] == "confirmed" || cdn["state"] == "failed";
    is_inside(story) && cdns(story).iter().all(is_over)
}

/// Whether it holds in the tiers inside.
fn is_inside(story: &Value) -> bool {
    let shared = &story["tiers"]["shared"]["state"];
    shared.is_null() || shared == "applied" || shared == "lapsed"
}

/// Whether it holds everywhere.
fn is_outside(story: &Value) -> bool {
    is_inside(story) && cdns(story).iter().all(|cdn| cdn["state"] == "confirmed")
}

/// One line for what was purged, and one for each tier; beneath a CDN the last so many calls to it, where there were several.
pub(crate) fn told_of_story(story: &Value, calls: usize) -> String {
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("a text takes what is written");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let what = story["what"].as_array().map_or(&[][..], Vec::as_slice);
    let more = match story["purges"].as_u64().unwrap_or_default() {
        0 | 1 => String::new(),
        purges => format!(" and {} more", purges - 1),
    };
    let first = what.first().map(word).unwrap_or_default();
    line(&format!("purged {first}{more} ({}, purge {})", word(&story["mode"]), word(&story["id"])));
    for tier in ["memory", "shared"] {
        let told = &story["tiers"][tier];
        if told.is_object() {
            line(&format!("  {tier:<8}{}", state_of(told)));
        }
    }
    told_of_cdns(story, calls).iter().for_each(|told| line(told));
    text
}

/// A line for each CDN, and one where what they have still to be told is in memory alone.
fn told_of_cdns(story: &Value, calls: usize) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for cdn in cdns(story) {
        let mut told = format!("{} {}", word(&cdn["name"]), word(&cdn["state"]));
        let counts = ["queued", "sent", "confirmed", "failed"];
        let counts = counts.map(|count| (count, cdn[count].as_u64().unwrap_or_default()));
        if counts.iter().filter(|(_, count)| *count > 0).count() > 1 {
            let counts = counts.iter().filter(|(_, count)| *count > 0);
            let counts: Vec<_> = counts.map(|(name, count)| format!("{count} {name}")).collect();
            told += &format!(" ({})", counts.join(", "));
        }
        for name in ["vendor_id", "reason"] {
            if let Some(note) = cdn[name].as_str() {
                told += &format!(", {}: {note}", name.replace('_', " "));
            }
        }
        lines.push(format!("  {:<8}{told}", "cdn"));
        lines.extend(told_of_calls(cdn, calls));
    }
    if let Some(why) = story["not_on_disk"].as_str() {
        lines.push(format!("  in memory alone, and lost with the gateway: {why}"));
    }
    lines
}

fn told_of_calls(cdn: &Value, most: usize) -> Vec<String> {
    let calls = cdn["calls"].as_array().map_or(&[][..], Vec::as_slice);
    let untold = cdn["calls_left_out"].as_u64().unwrap_or_default();
    if most == 0 || calls.len() < 2 && untold == 0 {
        return Vec::new();
    }
    let shown = calls.len().min(most);
    let more = untold + u64::try_from(calls.len() - shown).unwrap_or(u64::MAX);
    let indent = " ".repeat(10);
    let told = |call: &Value| {
        let word = |name: &str| call[name].as_str().unwrap_or_default().to_owned();
        let mut told = format!("{indent}call {} {}", word("batch"), word("state"));
        if let Some(purges) = call["purges"].as_u64().filter(|purges| *purges > 1) {
            told += &format!(", {purges} purges");
        }
        if let Some(id) = call["vendor_id"].as_str() {
            told += &format!(", vendor id: {id}");
        }
        told
    };
    let before = (more > 0).then(|| format!("{indent}{more} calls before these"));
    before.into_iter().chain(calls[calls.len() - shown..].iter().map(told)).collect()
}

fn state_of(tier: &Value) -> String {
    let mut state = tier["state"].as_str().unwrap_or_default().to_owned();
    if let (Some(by), Some(of)) = (tier["by"].as_u64(), tier["of"].as_u64()) {
        state += &format!(" by {by} of {of}");
    }
    for name in ["what", "reason", "replication", "server", "outbox"] {
        if let Some(note) = tier[name].as_str() {
            state += &format!(", {name}: {note}");
        }
    }
    state
}

fn receipts(said: &Value) -> &[Value] {
    said["receipts"].as_array().map_or(&[], Vec::as_slice)
}

fn tiers(receipt: &Value) -> &[Value] {
    receipt["tiers"].as_array().map_or(&[], Vec::as_slice)
}

fn is_everywhere(said: &Value) -> bool {
    let holds = |tier: &Value| ["applied", "lapsed"].iter().any(|state| tier["state"] == *state);
    receipts(said).iter().flat_map(tiers).all(holds)
}

/// One line for each name, one for each tier, and what may have been meant.
fn told(said: &Value) -> String {
    let mut text = String::new();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut line = |line: &str| writeln!(text, "{line}").expect("a text takes what is written");
    for receipt in receipts(said) {
        let (what, mode) = (word(&receipt["what"]), word(&receipt["mode"]));
        // By which it is found again, where it is remembered.
        let name = said["id"].as_str().map_or_else(|| receipt["number"].to_string(), str::to_owned);
        line(&format!("purged {what} ({mode}, purge {name})"));
        for tier in tiers(receipt) {
            line(&format!("  {:<8}{}", word(&tier["tier"]), state_of(tier)));
        }
    }
    told_of_cdns(said, 0).iter().for_each(|told| line(told));
    if let Some(count) = said["purged"].as_u64() {
        let entries = if count == 1 { "answer was" } else { "answers were" };
        line(&format!("{count} {entries} stored in memory"));
    }
    if let Some(queued) = said["refresh"]["queued"].as_u64() {
        let left_out = said["refresh"]["left_out"].as_u64().unwrap_or_default();
        line(&format!("{queued} to be asked for again, {left_out} left to their next readers"));
    }
    let nearest = said["keys"].as_array().into_iter().flatten();
    let nearest = nearest.map(|key| &key["did_you_mean"]).chain([&said["did_you_mean"]]);
    for meant in nearest.flat_map(|names| names.as_array().into_iter().flatten()) {
        line(&format!("did you mean {}?", word(meant)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_as_people_write_them() {
        let rows = [
            ("https://a/b", Some("https://a/b")),
            ("a/b", Some("//a/b")),
            ("//a/b", Some("//a/b")),
            ("a:8080/b", Some("//a:8080/b")),
            ("/b", None),
            ("", None),
            ("ftp://a", None),
        ];
        for (text, expected) in rows {
            assert_eq!(url(text).ok().as_deref(), expected, "{text}");
        }
        assert_eq!(host("a:80").unwrap(), "//a:80/");
        assert!(["", "a/b", "*.a", "https://a"].iter().all(|text| host(text).is_err()));
        assert_eq!(glob("*.png").unwrap(), "*.png");
    }

    #[test]
    fn calls_to_a_cdn_are_told_where_there_were_several() {
        let call = |batch: &str, id: Value, purges: u64| json!({ "batch": batch, "vendor_id": id, "state": "sent", "at": "", "purges": purges });
        let calls = [
            call("x-1", "v1".into(), 1),
            call("x-2", Value::Null, 40),
            call("x-3", "v3".into(), 9),
        ];
        let story = |calls: &[Value], left_out: u64| {
            json!({
                "id": "5f0c", "what": ["tag a"], "purges": 50, "mode": "hard", "at": "", "by": "",
                "tiers": { "cdn": [{
                    "name": "edge", "state": "sent", "sent": 50, "calls": calls, "calls_left_out": left_out,
                }] },
            })
        };
        let first = "purged tag a and 49 more (hard, purge 5f0c)\n  cdn     edge sent\n";
        let indent = " ".repeat(10);
        let all = format!(
            "{first}{indent}call x-1 sent, vendor id: v1\n{indent}call x-2 sent, 40 purges\n{indent}call x-3 sent, 9 purges, vendor id: v3\n"
        );
        assert_eq!(told_of_story(&story(&calls, 0), EVERY_CALL), all);
        let last = format!(
            "{first}{indent}9 calls before these\n{indent}call x-3 sent, 9 purges, vendor id: v3\n"
        );
        assert_eq!(told_of_story(&story(&calls, 7), 1), last);
        assert_eq!(told_of_story(&story(&calls, 7), 0), first);
        assert_eq!(
            told_of_story(&story(&calls[..1], 0), EVERY_CALL),
            first,
            "one is told beside it"
        );
    }

    #[test]
    fn what_is_told_fits_on_a_screen() {
        let said = json!({
            "purged": 1, "mode": "soft",
            "keys": [{ "key": "/a", "purged": 0, "did_you_mean": ["http://h/a"] }],
            "receipts": [{
                "cache": "larder", "what": "key /a", "mode": "soft", "number": 7, "at": "",
                "tiers": [
                    { "tier": "memory", "state": "applied", "by": 1, "of": 1 },
                    { "tier": "shared", "state": "failed", "reason": "no answer" },
                ],
            }],
        });
        let lines = "purged key /a (soft, purge 7)\n  memory  applied by 1 of 1\n  shared  failed, reason: no answer\n\
                     1 answer was stored in memory\ndid you mean http://h/a?\n";
        assert_eq!(told(&said), lines);
        assert!(!is_everywhere(&said));
        let mut remembered = said.clone();
        remembered["id"] = "5f0c".into();
        remembered["tiers"] =
            json!({ "cdn": [{ "name": "edge", "state": "queued", "queued": 1 }] });
        remembered["not_on_disk"] = "No space left on device".into();
        let more = "  cdn     edge queued\n  in memory alone, and lost with the gateway: No space left on device\n1 answer";
        let lines = lines.replace("purge 7", "purge 5f0c").replace("1 answer", more);
        assert_eq!(told(&remembered), lines);
    }
}
