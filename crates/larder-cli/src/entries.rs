//! `larder entries`: what a gateway that runs holds, in an order.

use std::{
    fmt::Write,
    thread::sleep,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum, builder::RangedU64ValueParser};
use form_urlencoded::Serializer;
use serde_json::{Value, json};

use crate::ask::{AskError, Where};

const BUDGET: Duration = Duration::from_secs(20);
/// For so long it is asked again where not all has been looked at yet.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(200);
/// So many rows there are in one answer.
const PAGE: usize = 1000;

/// Prints what a gateway holds, by way of its admin API.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 it has answered, 1 it has not, 2 wrong usage.

Examples, with a gateway that was started with --admin 127.0.0.1:9191:
  larder entries --order bytes                       what takes most memory
  larder entries --order expires --limit 10          what is stale, or will be next
  larder entries --tag post:1
  larder entries --contains utm_source               whose URLs have that in them
  larder entries --prefix https://example.org/posts/ --order cost --json")]
pub(crate) struct Entries {
    /// Only those whose key begins so: the beginning of a URL in any spelling
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Only those with this in their key, letter for letter
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
    /// Only those of the cache of this name: a gateway's is called gateway
    #[arg(long, value_name = "NAME")]
    cache: Option<String>,
    /// Only those that carry this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Only those of this route, in the words of its file
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// What comes first
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = Order::Bytes)]
    order: Order,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    limit: usize,
    /// Print all that is known as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Where,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// By key
    Key,
    /// What weighs most
    Bytes,
    /// The oldest
    Age,
    /// What was asked for most
    Heat,
    /// What took longest to fetch
    Cost,
    /// What is stale, or will be soonest
    Expires,
}

impl Order {
    fn as_str(self) -> &'static str {
        match self {
            Order::Key => "key",
            Order::Bytes => "bytes",
            Order::Age => "age",
            Order::Heat => "heat",
            Order::Cost => "cost",
            Order::Expires => "expires",
        }
    }
}

impl Entries {
    /// What to print.
    pub(crate) fn run(self) -> Result<String, AskError> {
        let (mut entries, mut after): (Vec<Value>, Option<String>) = (Vec::new(), None);
        loop {
            let page = self.page(self.limit - entries.len(), after.as_deref())?;
            entries.extend(page["entries"].as_array().into_iter().flatten().cloned());
            after = page["next"].as_str().map(str::to_owned);
            if after.is_none() || entries.len() >= self.limit {
                // Of several pages, the first said when; each entry is as it was a moment ago.
                let whole = json!({
                    "snapshot_at": page["snapshot_at"], "total": page["total"], "bytes": page["bytes"],
                    "is_complete": page["is_complete"], "entries": entries, "next": page["next"],
                });
                return Ok(if self.json { format!("{whole}\n") } else { told(&whole) });
            }
        }
    }

    /// One that all was looked at for, if that does not take too long.
    fn page(&self, limit: usize, after: Option<&str>) -> Result<Value, AskError> {
        let mut question = Serializer::new(String::new());
        question.append_pair("order", self.order.as_str());
        question.append_pair("limit", &limit.min(PAGE).to_string());
        let said = [
            ("prefix", self.prefix.as_deref()),
            ("contains", self.contains.as_deref()),
            ("cache", self.cache.as_deref()),
            ("tag", self.tag.as_deref()),
            ("route", self.route.as_deref()),
            ("after", after),
        ];
        for (name, value) in said {
            question.extend_pairs(value.map(|value| (name, value)));
        }
        let path = format!("/v1/entries?{}", question.finish());
        let began = Instant::now();
        loop {
            let page = self.admin.ask(&path, None, BUDGET)?;
            if page["is_complete"] == true || began.elapsed() >= PATIENCE {
                return Ok(page);
            }
            sleep(AGAIN);
        }
    }
}

fn told(said: &Value) -> String {
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("a text takes what is written");
    let rows = said["entries"].as_array().into_iter().flatten();
    line(&format!(
        "{:>10} {:>9} {:>9}  {:<12} {:<5} {:>8}  KEY",
        "BYTES", "AGE", "FRESH FOR", "STATE", "HEAT", "COST"
    ));
    let mut shown = 0;
    for entry in rows {
        shown += 1;
        let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let seconds = |name: &str| entry[name].as_f64().map_or("-".to_owned(), short);
        line(&format!(
            "{:>10} {:>9} {:>9}  {:<12} {:<5} {:>8}  {}",
            entry["bytes"].as_u64().unwrap_or_default(),
            seconds("age_seconds"),
            seconds("fresh_for_seconds"),
            word("state"),
            word("heat"),
            seconds("cost_seconds"),
            word("key").escape_debug()
        ));
    }
    let count = |name: &str| said[name].as_u64().unwrap_or_default();
    let (total, mebibytes) = (count("total"), count("bytes") as f64 / f64::from(1 << 20));
    line(&format!("{shown} of {total} entries, which take {mebibytes:.1} MiB"));
    if said["is_complete"] == false {
        line("not all has been looked at yet: these are the first of what was");
    }
    text
}

/// A time in one unit, of three digits or so.
fn short(seconds: f64) -> String {
    let (sign, seconds) = if seconds < 0.0 { ("-", -seconds) } else { ("", seconds) };
    match seconds {
        s if s < 0.001 => format!("{sign}{:.0}us", s * 1e6),
        s if s < 1.0 => format!("{sign}{:.0}ms", s * 1e3),
        s if s < 120.0 => format!("{sign}{s:.1}s"),
        s if s < 7200.0 => format!("{sign}{:.0}m", s / 60.0),
        s if s < 172_800.0 => format!("{sign}{:.0}h", s / 3600.0),
        s => format!("{sign}{:.0}d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_below_none_where_something_is_over() {
        for (seconds, text) in [
            (0.0, "0us"),
            (0.000_25, "250us"),
            (0.25, "250ms"),
            (1.0, "1.0s"),
            (-61.5, "-61.5s"),
            (600.0, "10m"),
            (-7200.0, "-2h"),
            (864_000.0, "10d"),
        ] {
            assert_eq!(short(seconds), text);
        }
    }

    #[test]
    fn a_key_cannot_write_on_the_terminal() {
        let entry = json!({"key": "/a\u{1b}[2J\n/b", "bytes": 7, "state": "fresh"});
        let text = told(&json!({"entries": [entry], "total": 1, "bytes": 7, "is_complete": true}));
        assert!(!text.contains('\u{1b}') && text.lines().count() == 3, "{text}");
    }
}
