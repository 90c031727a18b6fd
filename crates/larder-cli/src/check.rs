//! `larder check`, `larder schema` and `larder init`: a configuration before it runs.

use std::{fmt::Write, io, path::PathBuf};

use clap::{ArgMatches, Args};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, uri::InvalidUri};
use larder::http::policy::uri::as_sent;
use larder_admin::written::with_ascii_host;
use larder_gateway::{
    config::{self, Listener, Mistake, Mistakes, Place},
    downstream::ListenAddress,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    configured::{Configured, Said, USUAL_FILE},
    flags::ServeFlags,
    live::{self, Live},
    shared::Passwords,
};

/// Says whether a file can be run, and all that is wrong with it otherwise. What goes before a file when it is run goes before
/// it here: the flags of `larder serve`, and the variables of this environment.
#[derive(Debug, Args)]
#[command(after_help = "\
Whether it can be run is told for this environment: LARDER_ADMIN_READ_TOKEN and its like count as they do for `larder serve`.

Exit codes: 0 it is fine, 1 it is, and with --live something does not answer, 2 it is not.

Example:
  larder init > larder.toml
  larder check larder.toml
  larder check larder.toml --live
  larder check larder.toml --explain http://localhost:8080/static/logo.png
  larder check larder.toml --json | jq -r '.mistakes[] | \"\\(.file):\\(.line): \\(.what)\"'")]
pub(crate) struct Check {
    /// The file; without it the one that `larder serve` would read, larder.toml of the working directory
    file: Option<PathBuf>,
    /// Ask each service, the shared tier and each CDN whether they answer, and to these credentials. Changes nothing
    #[arg(long, conflicts_with = "explain")]
    live: bool,
    /// Say which rules hold for this URL, and where in the file each of them stands
    #[arg(long, value_name = "URL", value_parser = url)]
    explain: Option<Uri>,
    /// The method of the request that is explained
    #[arg(long, value_name = "METHOD", default_value = "GET", requires = "explain")]
    method: Method,
    /// A header field of the request that is explained, as often as there are some
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field, requires = "explain")]
    fields: Vec<(HeaderName, HeaderValue)>,
    /// Print JSON: what is wrong, or what holds for the URL
    #[arg(long, conflicts_with = "live")]
    json: bool,
    #[command(flatten, next_help_heading = "What goes before the file, as with larder serve")]
    flags: ServeFlags,
}

/// Why it was not checked, or is not fine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    #[error("{0} is not a whole URL: say http://localhost:8080/path, as readers ask for it")]
    Url(Uri),
    #[error("{failed} of {asked} do not answer as they should")]
    Live { failed: usize, asked: usize },
    #[error("there is nothing to ask from")]
    Runtime(#[source] io::Error),
}

impl CheckError {
    /// The exit code that goes with it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CheckError::Mistakes(_) | CheckError::Url(_) => 2,
            CheckError::Live { .. } | CheckError::Runtime(_) => 1,
        }
    }
}

impl Check {
    /// `print` gets what is to be printed.
    pub(crate) fn run(
        self,
        matches: &ArgMatches,
        passwords: Passwords,
        print: impl FnOnce(String),
    ) -> Result<(), CheckError> {
        let Check { file, live, explain, method, fields, json, mut flags } = self;
        flags.config = file.or(flags.config);
        if flags.config.is_none() && flags.upstream.is_none() {
            flags.config = Some(USUAL_FILE.into());
        }
        let said = Said::by_flags(flags, matches);
        let configured = match said.and_then(|said| said.configured(passwords)) {
            Ok(configured) => configured,
            Err(mistakes) => {
                if json {
                    print(findings(Some(&mistakes), &[]));
                }
                return Err(mistakes.into());
            }
        };
        let text = match explain {
            None if live => {
                let Live { text, failed, asked } =
                    live::ask(&configured).map_err(CheckError::Runtime)?;
                print(summary(&configured) + &text);
                return match failed {
                    0 => Ok(()),
                    failed => Err(CheckError::Live { failed, asked }),
                };
            }
            None if json => Ok(findings(None, &configured.settings.doubts)),
            None => Ok(summary(&configured)),
            Some(url) if url.authority().is_none() => Err(CheckError::Url(url)),
            Some(url) => {
                let mut sent = HeaderMap::new();
                for (name, value) in fields {
                    sent.append(name, value);
                }
                let Configured { settings, places, .. } = &configured;
                let explained = config::explain(settings, places, &method, &url, &sent);
                Ok(if json { as_json(&explained) } else { explained.to_string() })
            }
        };
        text.map(print)
    }
}

/// For programs: all that is wrong, or doubtful.
fn findings(mistakes: Option<&Mistakes>, doubts: &[Mistake]) -> String {
    let of_one = |mistake: &Mistake| {
        let (file, line, column, flag) = match &mistake.place {
            Some(Place::File { file, line, column, .. }) => {
                (Some(file.display().to_string()), Some(line), Some(column), None)
            }
            Some(Place::Flag(name) | Place::Variable(name)) => (None, None, None, Some(name)),
            _ => (None, None, None, None),
        };
        let right = mistake.right.as_ref();
        json!({
            "what": mistake.what, "file": file, "line": line, "column": column, "flag": flag,
            "expected": right.map(|right| &right.expected), "example": right.map(|right| &right.example),
        })
    };
    let wrong: Vec<_> = mistakes.into_iter().flat_map(Mistakes::iter).map(of_one).collect();
    let doubts: Vec<_> = doubts.iter().map(of_one).collect();
    as_json(&json!({ "fine": mistakes.is_none(), "mistakes": wrong, "doubts": doubts }))
}

fn as_json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("texts and numbers are JSON") + "\n"
}

/// As a URL, with what is not usual about it.
pub(crate) fn place_of(listener: &Listener) -> String {
    let Listener { listen, config, rules, .. } = listener;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let mut text = match listen {
        ListenAddress::Tcp(address) => format!("{scheme}://{address}"),
        ListenAddress::Unix(_) => format!("{scheme}+{listen}"),
    };
    if config.proxy.is_some() {
        text += ", behind the PROXY protocol";
    }
    if let Some(port) = rules.redirect_to_https {
        text += &format!(", sent on to https at port {port}");
    }
    text
}

/// As a browser sends it.
fn url(text: &str) -> Result<Uri, InvalidUri> {
    as_sent(&with_ascii_host(text)).parse()
}

pub(crate) fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || "say a name, a colon and a value: \"X-Beta: 1\"".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = name.parse().map_err(|_| wrong())?;
    Ok((name, value.trim().parse().map_err(|_| wrong())?))
}

/// One screen.
fn summary(configured: &Configured) -> String {
    let Configured { settings, shared, config, places, .. } = configured;
    let mut text = match places.file() {
        Some(file) => format!("{} is fine\n", file.display()),
        None => "what is said without a file is fine\n".to_owned(),
    };
    let mut row = |name: &str, value: &str| {
        let name = if name.is_empty() { String::new() } else { name.to_owned() };
        writeln!(text, "  {name:<12}{value}").expect("a text takes what is written");
    };
    for (index, listener) in settings.listeners.iter().enumerate() {
        row(if index == 0 { "listens on" } else { "" }, &place_of(listener));
    }
    match settings.admin {
        Some(address) => {
            let scheme = if settings.admin_access.tls.is_some() { "https" } else { "http" };
            row("admin on", &format!("{scheme}://{address}"));
        }
        None => row("admin", "none: no page, no metrics, no purges"),
    }
    if let Some(purge) = &settings.gateway.purge {
        let from = match (&purge.allow, &purge.token) {
            (Some(_), Some(_)) => "clients at purge.allow with the token",
            (Some(_), None) => "clients at purge.allow",
            (None, _) => "anybody with the token",
        };
        row("purges", &format!("by PURGE and BAN, from {from}"));
    }
    row("memory", &settings.memory.to_string());
    match shared {
        Some(shared) => row("shared", &format!("over Redis at {}", shared.tier)),
        None => row("shared", "no"),
    }
    for (index, named) in settings.upstreams.iter().enumerate() {
        let value = format!("{}: {}", named.name, named.shown());
        row(if index == 0 { "upstreams" } else { "" }, &value);
    }
    let of = |index: usize| settings.rules_of_routes[index].upstream.as_deref().unwrap_or_default();
    const MOST: usize = 12;
    for (index, route) in config.route.iter().enumerate().take(MOST) {
        let upstream =
            if of(index).is_empty() { String::new() } else { format!(" -> {}", of(index)) };
        let value = format!("{}. {}{upstream}", index + 1, route.words());
        row(if index == 0 { "routes" } else { "" }, &value);
    }
    if config.route.len() > MOST {
        row("", &format!("and {} more", config.route.len() - MOST));
    }
    for doubt in &settings.doubts {
        writeln!(text, "but {doubt}").expect("a text takes what is written");
    }
    text
}
