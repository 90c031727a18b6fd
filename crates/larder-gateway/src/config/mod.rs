//! `larder.toml`: from its text to settings that can be run, or to all that is wrong with it.
//!
//! ```
//! use std::path::Path;
//!
//! use larder_gateway::config;
//!
//! let text = "[upstream.blog]\nurl = \"http://127.0.0.1:8001\"\n[defaults]\nttl = \"5m\"\n";
//! let (config, places) = config::read(Path::new("larder.toml"), text)?;
//! let settings = config::Settings::of(&config, &places, config::Secrets::default());
//! assert!(settings.is_ok());
//! let mistakes = config::read(Path::new("larder.toml"), "[sever]").unwrap_err();
//! assert!(mistakes.to_string().contains("did you mean [server]?"));
//! # Ok::<(), config::Mistakes>(())
//! ```
//!
//! 1. [`read`]: `document` takes the text apart and notes where each key stands; `decode` makes the [`Config`] of it.
//! 2. Whoever has flags as well writes them into the [`Config`], and where they come from into the [`Places`].
//! 3. [`Settings::of`] checks what no type can, and turns it into what the gateway's parts take.

pub mod address;
pub mod amount;
mod decode;
mod document;
mod explain;
mod files;
mod include;
mod mistake;
mod nearest;
mod parts;
mod route;
mod rules;
mod schema;
mod settings;
mod value;
mod written;

use std::path::Path;

pub use document::Places;
pub use explain::{Explained, Told, explain};
pub use files::{all_files_of, files_of};
pub use mistake::{Mistake, Mistakes, Place, Right};
pub use parts::{
    AccessLogPart, AddressesWord, AdminPart, BalanceWord, BreakerPart, CauseWord, CdnPart, Config,
    FormatWord, ForwardedWord, HealthPart, ListenerPart, LogPart, Memory, ModeWord, OutboxPart,
    PairPart, ParentsWord, ProtocolWord, PurgePart, QueryWord, ReadYourWritesPart, ReloadWord,
    RetryPart, SchemeWord, Server, ServerPart, SharedPart, TlsPart, TlsVersionWord, TracingPart,
    UnknownNamesWord, UnsureWord, UpstreamPart, UpstreamTlsPart, VersionWord,
};
pub use route::Route;
pub use rules::{
    AuthorizationWord, CodingWord, ControlWord, PathTypeWord, PolicyText, PolicyWord,
    ResponseHeaders, Rules, SetCookieWord, TagWord,
};
pub use schema::{Key, keys, schema};
pub use settings::{AdminAccess, Listener, Named, Running, Secrets, Settings};
pub use value::{
    CookieName, Count, Field, FieldValue, HopWord, HostName, Listen, ListenAt, MediaType, Mode,
    OneCookie, Parameter, Part, Peer, Port, Service, Size, StatusText, Time, Verb, Wanted,
};
pub use written::{Written, WrittenRoute};

use decode::{Kind, Wrong};
use document::Text;
use nearest::nearest;
use route::OF_A_ROUTE;
use schema::Known;

/// An example that can be run as it stands, with all that is often changed in comments.
pub const EXAMPLE: &str = include_str!("example.toml");

/// Some editors mark what they write, at its front.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What the text of a file says, and where.
///
/// # Errors
///
/// What is no TOML; or what no key or no value can be, all of it.
pub fn read(file: &Path, text: &str) -> Result<(Config, Places), Mistakes> {
    let (config, places, mistakes) = read_on(file, text);
    match Mistakes::of(mistakes) {
        Some(mistakes) => Err(mistakes),
        None => Ok((config, places)),
    }
}

/// The same, whatever is wrong: what can be read without that, and the mistakes. More of them may be found in what was
/// read ([`Settings::of`], [`add_new`]), so that all are told at once.
pub fn read_on(file: &Path, text: &str) -> (Config, Places, Vec<Mistake>) {
    read_all(&Text::new(file, text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)))
}

/// The same, with what stands in the files that this one includes. They are read here.
pub fn read_with_included(file: &Path, text: &str) -> (Config, Places, Vec<Mistake>) {
    let (mut config, mut places, mut mistakes) = read_on(file, text);
    include::add(&mut config, &mut places, &mut mistakes);
    (config, places, mistakes)
}

/// What is wrong with a text that may include nothing: it is not that of a file.
fn include_is_refused(config: &Config, places: &Places) -> Option<Mistake> {
    let what = "nothing is opened for this text: write what it includes into it";
    (!config.include.is_empty()).then(|| places.mistake("include", what))
}

/// Adds what was found in a second look, but for what the first has caused: what it left out, because it is wrong, is not
/// missing.
pub fn add_new(mistakes: &mut Vec<Mistake>, more: Vec<Mistake>) {
    let is_new = |more: &Mistake| !mistakes.iter().any(|known| known.may_have_caused(more));
    let new: Vec<_> = more.into_iter().filter(is_new).collect();
    mistakes.extend(new);
}

fn read_all(text: &Text<'_>) -> (Config, Places, Vec<Mistake>) {
    let (table, places) = match document::parse(text) {
        Ok(parsed) => parsed,
        Err(mistakes) => return (Config::default(), Places::default(), mistakes),
    };
    let (config, wrong) = decode::decode::<Config>(&table);
    let mistakes = wrong.into_iter().map(|wrong| told(wrong, text)).collect();
    (config, places, mistakes)
}

/// A mistake as its writer is told of it.
fn told(Wrong { kind, at }: Wrong, text: &Text<'_>) -> Mistake {
    let (at, path) = at.unwrap_or_default();
    let place = Some(text.place(&at));
    let key = path.last().to_owned();
    match kind {
        Kind::Unknown { key, known: names } => unknown(&key, names, &path.0, place),
        Kind::Word { found, known: words } => {
            let meant = nearest(found.trim_matches('"'), words.iter().copied());
            let meant = meant.map(|word| format!(": did you mean {word:?}?")).unwrap_or_default();
            let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
            let what = format!("{key} cannot be {found}{meant}");
            let mistake = Mistake::new(place, what).about(&path.0);
            let example = mistake.right.clone().map(|right| right.example).unwrap_or_default();
            mistake.with(words.join(" or "), example)
        }
        Kind::Type { .. } if path.0 == "route" => {
            Mistake::new(place, "routes are a list, of one or more: [[route]]").about("route")
        }
        Kind::Type { .. } if path.0 == "cdn" => {
            Mistake::new(place, "CDNs are a list, of one or more: [[cdn]]").about("cdn")
        }
        Kind::Type { .. } if path.0 == "listener" => {
            let what = "listeners are a list, of one or more: [[listener]]";
            Mistake::new(place, what).about("listener")
        }
        Kind::Type { .. }
            if path.0.starts_with("upstream.") && path.0.matches('.').count() == 1 =>
        {
            Mistake::new(place, "a service has a name of your choice: [upstream.NAME]")
                .about("upstream")
        }
        Kind::Type { found, expected } => {
            let mistake = Mistake::new(place, format!("{key} cannot be {found}")).about(&path.0);
            let example = mistake.right.clone().map(|right| right.example).unwrap_or_default();
            mistake.with(expected, example)
        }
        Kind::Value(what) => Mistake::new(place, format!("{key}: {what}")).about(&path.0),
    }
}

/// Keys that have other names than they had.
const RENAMED: &[(&str, &str)] = &[("server.grace", "server.drain")];

fn unknown(key: &str, names: &'static [&'static str], path: &str, place: Option<Place>) -> Mistake {
    let known = Known::get();
    let table = path.rsplit_once('.').map(|(table, _)| table);
    let is_route = table.is_some_and(|table| table.starts_with("route[") && table.ends_with(']'));
    // As it is written: `[listener.tls]` is that of the last `[[listener]]`.
    let written = table.map(|table| match table.split_once('[') {
        Some((list, rest)) if rest.ends_with(']') && !rest.contains('.') => format!("[[{list}]]"),
        Some((list, rest)) => {
            let below = rest.split_once(']').map_or("", |(_, below)| below);
            format!("[{list}{below}]")
        }
        None => format!("[{table}]"),
    });
    let own: &[&str] = if is_route { &OF_A_ROUTE } else { &[] };
    let names: Vec<_> = own.iter().chain(names).copied().collect();
    let within = match table {
        None => "",
        Some(_) if is_route => " in [[route]]",
        Some(_) => &format!(" in {}", written.unwrap_or_default()),
    };
    let renamed = RENAMED.iter().find(|(before, _)| *before == path);
    if let Some((_, now)) = renamed {
        let called = now.rsplit('.').next().unwrap_or_default();
        return Mistake::new(place, format!("{key:?}{within} is called {called:?} now")).about(now);
    }
    let what = format!("there is no key {key:?}{within}");
    // A key that there is in a table is not a slip for another.
    let is_elsewhere = table.is_none() && !known.tables_with(key).is_empty();
    if !is_elsewhere && let Some(meant) = nearest(key, names.iter().copied()) {
        let full = table.map_or_else(|| meant.to_owned(), |table| format!("{table}.{meant}"));
        let meant = match table {
            None if meant == "route" => "[[route]]".to_owned(),
            None => format!("[{meant}]"),
            Some(_) => format!("{meant:?}"),
        };
        return Mistake::new(place, format!("{what}: did you mean {meant}?")).about(&full);
    }
    if table.is_some() && known.right(key).is_some() {
        let part = if key == "route" { "[[route]]".to_owned() } else { format!("[{key}]") };
        return Mistake::new(place, format!("{what}: {part} is a part of its own")).about(key);
    }
    if let (None, Some(within)) = (table, known.table_named(key)) {
        let name = within.trim_matches(['[', ']']).to_owned();
        return Mistake::new(place, format!("{what}: did you mean {within}?")).about(&name);
    }
    match known.tables_with(key) {
        tables if tables.is_empty() => {
            let all = names.join(", ");
            let first = names.iter().find(|name| **name != "include");
            let example = first.map(|name| match table {
                None => format!("[{name}]"),
                Some(table) => {
                    let right = known.right(&format!("{table}.{name}"));
                    right.map(|right| right.example).unwrap_or_default()
                }
            });
            let example = example.unwrap_or_default();
            Mistake::new(place, what).with(format!("one of {all}"), example).at_path(path)
        }
        tables => {
            let tables = tables.join(" or ");
            let first = known.key_named(key);
            let example = first.map(|first| format!("{}\n{}", first.table, first.example));
            Mistake::new(place, format!("{what}: it belongs to {tables}"))
                .with(format!("{key} in {tables}"), example.unwrap_or_default())
                .at_path(path)
        }
    }
}
