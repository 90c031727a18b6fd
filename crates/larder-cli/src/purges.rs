//! `larder purges`: what was purged in a gateway that runs, by whom, and how far each tier is with it.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use clap::Args;
use form_urlencoded::Serializer;
use larder_gateway::config::amount;
use serde_json::Value;

use crate::{
    ask::{AskError, Where},
    purge::{self, EVERY_CALL},
};

const BUDGET: Duration = Duration::from_secs(10);

/// Prints receipts of purges, by way of a gateway's admin API.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 it has answered, 1 it has not or knows no such purge, 2 wrong usage.

Examples, with a gateway that was started with --admin 127.0.0.1:9191:
  larder purges                          of the last hour
  larder purges --since 5m
  larder purges 5f0c2b9d8e7a6143         that one, with every call to a CDN")]
pub(crate) struct Purges {
    /// The name of one, as its receipt says it. Usually all of late
    #[arg(value_name = "PURGE", value_parser = id)]
    id: Option<String>,
    /// Those of so long
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = amount::duration, conflicts_with = "id")]
    since: Duration,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Where,
}

/// It stands in a path.
fn id(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match is_name {
        true => Ok(text.to_owned()),
        false => Err("say it as its receipt does: letters and digits".to_owned()),
    }
}

impl Purges {
    /// What to tell of them.
    pub(crate) fn run(self) -> Result<String, AskError> {
        let Purges { id, since, json, admin } = self;
        let said = match &id {
            Some(id) => admin.ask(&format!("/v1/purges/{id}"), None, BUDGET)?,
            None => {
                let from = SystemTime::now().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH);
                let from = humantime::format_rfc3339_millis(from.max(SystemTime::UNIX_EPOCH));
                let mut query = Serializer::new(String::new());
                query.append_pair("since", &from.to_string());
                admin.ask(&format!("/v1/purges?{}", query.finish()), None, BUDGET)?
            }
        };
        if json {
            return Ok(format!("{said}\n"));
        }
        if id.is_some() {
            return Ok(purge::told_of_story(&said, EVERY_CALL));
        }
        told(&said).ok_or_else(|| admin.foreign())
    }
}

/// The oldest first. `None`: it is no list of purges.
fn told(said: &Value) -> Option<String> {
    let stories = said["purges"].as_array()?;
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("a text takes what is written");
    for story in stories {
        let word = |name: &str| story[name].as_str().unwrap_or_default();
        line(&format!("{} by {}", word("at"), word("by")));
        purge::told_of_story(story, 0).lines().for_each(&mut line);
    }
    if said["more"] == true {
        line("there were more: these are the newest");
    }
    if stories.is_empty() {
        line("nothing was purged");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_told_fits_on_a_screen() {
        let story = json!({
            "id": "5f0c", "what": ["tag a"], "purges": 1, "mode": "hard",
            "at": "2026-11-30T12:00:00.000Z", "by": "admin API, 127.0.0.1",
            "tiers": { "memory": { "tier": "memory", "state": "applied", "by": 1, "of": 1 } },
        });
        let text = told(&json!({ "purges": [story] })).unwrap();
        let lines = "2026-11-30T12:00:00.000Z by admin API, 127.0.0.1\npurged tag a (hard, purge 5f0c)\n  memory  applied by 1 of 1\n";
        assert_eq!(text, lines);
        assert_eq!(told(&json!({ "purges": [] })).unwrap(), "nothing was purged\n");
        assert_eq!(told(&json!({})), None);
        assert!(id("../stats").is_err() && id("").is_err() && id("0a-7").is_ok());
    }
}
