//! Settings: everything the blog takes from its environment, in one table.
//!
//! `.env` in the working directory is read if present; the environment goes before it, and an empty
//! variable counts as unset. All mistakes are reported at once.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use http::{HeaderValue, Uri};
use larder::redis::Redis;
use sqlx::postgres::PgConnectOptions;

use crate::error::with_causes;

/// One row for each variable: name, default, what it is. `blog run --help` prints them, and a test
/// holds `.env.example` against them.
const VARIABLES: [(&str, &str, &str); 22] = [
    ("FRONTEND_PORT", "3000", "port of the page"),
    ("BACKEND_PORT", "8000", "port of the backend"),
    ("POSTS_SERVICE_PORT", "8001", "port of the posts service"),
    ("CONSOLE_PORT", "9191", "port of the console (always on 127.0.0.1)"),
    ("BIND_ADDRESS", "127.0.0.1", "address the page, the backend and the posts service listen on"),
    ("FRONTEND_ORIGIN", "", "further origins of the page, comma-separated (http://localhost:5173)"),
    ("BACKEND_URL", "", "where the page's server finds the backend; unset: BACKEND_PORT here"),
    ("POSTS_SERVICE_URL", "", "where the backend finds the posts service; unset: its port here"),
    ("DATABASE_URL", "", "postgres://… for PostgreSQL; unset: SQLite in BLOG_DATA_DIR"),
    (
        "DATABASE_WAIT_SECONDS",
        "30",
        "how long the posts service waits at its start for a PostgreSQL that is not there yet",
    ),
    ("BLOG_DATA_DIR", "data", "folder of the SQLite database, made if missing"),
    ("POSTS_DELAY_MS", "2000", "time the posts service needs before each query, in ms"),
    (
        "CACHE_ENABLED",
        "true",
        "false: ask the posts service every time (the \"before\" picture), until the page's switch",
    ),
    ("CACHE_TTL_SECONDS", "300", "how long an answer stays fresh, in seconds"),
    ("CACHE_NEGATIVE_TTL_SECONDS", "5", "the same for the 404 of an unknown id; 0: not kept"),
    (
        "CACHE_STALE_WHILE_REVALIDATE_SECONDS",
        "0",
        "how long beyond that it is given while a new one is fetched; 0: off (the page's switch: 60)",
    ),
    (
        "CACHE_STALE_IF_ERROR_SECONDS",
        "3600",
        "how long beyond that it is given if the posts service fails",
    ),
    ("CACHE_MAX_BYTES", "67108864", "the most the cache may weigh, in bytes"),
    (
        "REDIS_URL",
        "",
        "redis://… of a Redis 7 or Valkey over which backends share posts; unset: each has its own",
    ),
    (
        "REDIS_PASSWORD_FILE",
        "",
        "a file with its password and nothing else; unset: the one of the URL",
    ),
    (
        "REDIS_NAMESPACE",
        "blog",
        "backends of one name share posts, those of others on that server do not",
    ),
    ("RUST_LOG", "info", "what to log: a level for the blog, and more by module (info,sqlx=debug)"),
];

/// No answer takes longer than a day, and no cache keeps one longer than 68 years (RFC 9111 §1.2.2).
const MAX_DELAY_MS: u64 = 86_400_000;
const MAX_TTL_SECONDS: u64 = 1 << 31;
/// A longer wait for a database is a forgotten one.
const MAX_DATABASE_WAIT_SECONDS: u64 = 3600;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) bind_address: IpAddr,
    pub(crate) frontend_port: u16,
    pub(crate) backend_port: u16,
    pub(crate) posts_service_port: u16,
    pub(crate) console_port: u16,
    pub(crate) frontend_origins: Vec<String>,
    pub(crate) backend_url: Option<BaseUrl>,
    pub(crate) posts_service_url: Option<BaseUrl>,
    pub(crate) database: Database,
    pub(crate) database_wait: Duration,
    pub(crate) posts_delay: Duration,
    pub(crate) cache_enabled: bool,
    pub(crate) cache_ttl: Duration,
    pub(crate) cache_negative_ttl: Duration,
    pub(crate) cache_stale_while_revalidate: Duration,
    pub(crate) cache_stale_if_error: Duration,
    pub(crate) cache_max_bytes: usize,
    pub(crate) shared: Option<Redis>,
    pub(crate) log: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite { file: PathBuf },
    Postgres { url: String },
}

/// `http://host[:port][/path]` without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl(String);

impl BaseUrl {
    /// What listens at `address`, as this machine reaches it.
    pub(crate) fn of(address: SocketAddr) -> BaseUrl {
        BaseUrl(format!("http://{address}"))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// `path` begins with a slash and is made of characters a URI may carry.
    pub(crate) fn join(&self, path: &str) -> Uri {
        format!("{}{path}", self.0).parse().expect("base and path are both checked")
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<BaseUrl, String> {
        let uri: Uri = text.parse().map_err(|error| format!("no URL: {error}"))?;
        if uri.scheme_str() != Some("http") {
            return Err("must begin with http:// (TLS is not spoken here)".to_owned());
        }
        if uri.query().is_some() {
            return Err("must not have a query".to_owned());
        }
        Ok(BaseUrl(text.trim_end_matches('/').to_owned()))
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read .env")]
    DotEnv(#[source] dotenvy::Error),
    /// The line itself may hold a password.
    #[error("cannot read .env: a line in it is not NAME=value (quote a value that has spaces)")]
    DotEnvLine,
    #[error("{}", list(.0))]
    Wrong(Vec<Mistake>),
}

#[derive(Debug)]
pub(crate) struct Mistake {
    variable: &'static str,
    text: String,
    why: String,
}

fn list(mistakes: &[Mistake]) -> String {
    let mut text = "the environment (or .env) has settings that make no sense".to_owned();
    for Mistake { variable, text: value, why } in mistakes {
        write!(text, "\n  {variable}={value}: {why}").expect("writing into a string does not fail");
    }
    text + "\nsee blog run --help"
}

/// The table of variables for `--help`.
pub(crate) fn help() -> String {
    let mut text =
        "Environment (also read from .env; an empty variable counts as unset):\n".to_owned();
    for (name, default, meaning) in VARIABLES {
        let default = if default.is_empty() { "none" } else { default };
        writeln!(text, "  {name:<36} {meaning} [default: {default}]")
            .expect("writing into a string does not fail");
    }
    text
}

impl Settings {
    /// From the process's environment and `.env`.
    pub(crate) fn read() -> Result<Settings, SettingsError> {
        let file = match dotenvy::from_path_iter(".env") {
            Ok(pairs) => pairs.collect::<Result<HashMap<_, _>, _>>(),
            Err(dotenvy::Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                Ok(HashMap::new())
            }
            Err(error) => Err(error),
        };
        let file = file.map_err(|error| match error {
            dotenvy::Error::LineParse(..) => SettingsError::DotEnvLine,
            error => SettingsError::DotEnv(error),
        })?;
        let is_set = |value: &String| !value.trim().is_empty();
        Settings::from_lookup(|name| {
            let here = std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
            here.filter(is_set).or_else(|| file.get(name).cloned().filter(is_set))
        })
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Settings, SettingsError> {
        let mut variables = Variables { lookup, mistakes: Vec::new() };
        let settings = Settings {
            bind_address: variables.parse("BIND_ADDRESS", "must be an IP address"),
            frontend_port: variables.port("FRONTEND_PORT"),
            backend_port: variables.port("BACKEND_PORT"),
            posts_service_port: variables.port("POSTS_SERVICE_PORT"),
            console_port: variables.port("CONSOLE_PORT"),
            frontend_origins: variables.origins("FRONTEND_ORIGIN"),
            backend_url: variables.url("BACKEND_URL"),
            posts_service_url: variables.url("POSTS_SERVICE_URL"),
            database: variables.database(),
            database_wait: Duration::from_secs(
                variables.number("DATABASE_WAIT_SECONDS", MAX_DATABASE_WAIT_SECONDS),
            ),
            posts_delay: Duration::from_millis(variables.number("POSTS_DELAY_MS", MAX_DELAY_MS)),
            cache_enabled: variables.switch("CACHE_ENABLED"),
            cache_ttl: variables.seconds("CACHE_TTL_SECONDS"),
            cache_negative_ttl: variables.seconds("CACHE_NEGATIVE_TTL_SECONDS"),
            cache_stale_while_revalidate: variables.seconds("CACHE_STALE_WHILE_REVALIDATE_SECONDS"),
            cache_stale_if_error: variables.seconds("CACHE_STALE_IF_ERROR_SECONDS"),
            cache_max_bytes: variables.parse("CACHE_MAX_BYTES", "must be a whole number of bytes"),
            shared: variables.shared(),
            log: variables.value("RUST_LOG"),
        };
        if variables.mistakes.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError::Wrong(variables.mistakes))
        }
    }
}

/// Reads one variable after the other and goes on after a mistake, so that all are told at once.
struct Variables<L> {
    lookup: L,
    mistakes: Vec<Mistake>,
}

impl<L: Fn(&str) -> Option<String>> Variables<L> {
    fn optional(&self, variable: &'static str) -> Option<String> {
        (self.lookup)(variable)
    }

    fn value(&self, variable: &'static str) -> String {
        self.optional(variable).unwrap_or_else(|| default(variable).to_owned())
    }

    fn checked<T>(
        &mut self,
        variable: &'static str,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let text = self.value(variable);
        check(text.trim()).unwrap_or_else(|why| {
            let text = shown(variable, text);
            self.mistakes.push(Mistake { variable, text, why });
            check(default(variable)).expect("defaults are checked by a test")
        })
    }

    fn parse<T: FromStr>(&mut self, variable: &'static str, must: &str) -> T {
        self.checked(variable, |text| text.parse().map_err(|_| must.to_owned()))
    }

    fn port(&mut self, variable: &'static str) -> u16 {
        self.parse(variable, "must be a port from 1 to 65535 (or 0 for any that is free)")
    }

    fn number(&mut self, variable: &'static str, max: u64) -> u64 {
        self.checked(variable, |text| {
            let number = text.parse().ok().filter(|&number| number <= max);
            number.ok_or_else(|| format!("must be a whole number from 0 to {max}"))
        })
    }

    fn seconds(&mut self, variable: &'static str) -> Duration {
        Duration::from_secs(self.number(variable, MAX_TTL_SECONDS))
    }

    fn switch(&mut self, variable: &'static str) -> bool {
        self.checked(variable, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        })
    }

    fn url(&mut self, variable: &'static str) -> Option<BaseUrl> {
        self.checked(
            variable,
            |text| {
                if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
            },
        )
    }

    fn origins(&mut self, variable: &'static str) -> Vec<String> {
        self.checked(variable, |text| {
            let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
            origins.map(origin).collect()
        })
    }

    fn database(&mut self) -> Database {
        let file = PathBuf::from(self.value("BLOG_DATA_DIR")).join("blog.sqlite");
        self.checked("DATABASE_URL", |text| match text.split_once("://") {
            None if text.is_empty() => Ok(Database::Sqlite { file: file.clone() }),
            Some(("postgres" | "postgresql", _)) => match text.parse::<PgConnectOptions>() {
                Ok(_) => Ok(Database::Postgres { url: text.to_owned() }),
                Err(sqlx::Error::Configuration(why)) => Err(why.to_string()),
                Err(error) => Err(error.to_string()),
            },
            _ => Err("must begin with postgres:// (leave it unset for SQLite)".to_owned()),
        })
    }

    fn shared(&mut self) -> Option<Redis> {
        let password = self.checked("REDIS_PASSWORD_FILE", |file| match file {
            "" => Ok(None),
            file => match fs::read_to_string(file) {
                Ok(text) if text.trim().is_empty() => Err("this file is empty".to_owned()),
                Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => Err(error.to_string()),
            },
        });
        // The URL is at fault only if it is refused also under a name that is right.
        let namespace = self.checked("REDIS_NAMESPACE", |name| {
            let tier = Redis::options("redis://127.0.0.1").namespace(name).connect();
            tier.map(|_| name.to_owned()).map_err(|error| with_causes(&error))
        });
        self.checked("REDIS_URL", |url| {
            if url.is_empty() {
                return Ok(None);
            }
            let options = Redis::options(url).namespace(&namespace);
            let options = match &password {
                Some(password) => options.password(password),
                None => options,
            };
            options.connect().map(Some).map_err(|error| with_causes(&error))
        })
    }
}

impl fmt::Display for Database {
    /// Names the database in a message, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::Sqlite { file } => write!(f, "SQLite at {}", file.display()),
            // Taken apart as for connecting: whatever else is in a URL may be secret.
            Database::Postgres { url } => match url.parse::<PgConnectOptions>() {
                Ok(options) => {
                    let name = options.get_database().unwrap_or_default();
                    write!(f, "PostgreSQL at {}:{}/{name}", options.get_host(), options.get_port())
                }
                Err(_) => f.write_str("PostgreSQL"),
            },
        }
    }
}

impl Database {
    /// The variable that chose it.
    pub(crate) fn variable(&self) -> &'static str {
        match self {
            Database::Sqlite { .. } => "BLOG_DATA_DIR",
            Database::Postgres { .. } => "DATABASE_URL",
        }
    }
}

/// A refused value as a message shows it: a URL of these may have a password in it.
fn shown(variable: &'static str, text: String) -> String {
    match variable {
        "DATABASE_URL" | "REDIS_URL" => {
            let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}…")
        }
        _ => text,
    }
}

/// What a browser sends as `Origin`: scheme, host and port, no path.
fn origin(text: &str) -> Result<String, String> {
    let has_path = text.splitn(4, '/').nth(3).is_some();
    let is_origin = (text.starts_with("http://") || text.starts_with("https://")) && !has_path;
    if is_origin && HeaderValue::from_str(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no origin: write http://host:port, without a path"))
    }
}

fn default(variable: &'static str) -> &'static str {
    let row = VARIABLES.iter().find(|(name, ..)| *name == variable);
    row.expect("every variable read is in the table").1
}

/// The console never listens elsewhere: it has no log-in.
pub(crate) const CONSOLE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let pairs: HashMap<_, _> = pairs.iter().copied().collect();
        Settings::from_lookup(|name| pairs.get(name).map(|&value| value.to_owned()))
    }

    fn message(pairs: &[(&str, &str)]) -> String {
        settings(pairs).unwrap_err().to_string()
    }

    #[test]
    fn without_any_variable_the_contracts_defaults_hold() {
        let settings = settings(&[]).unwrap();
        let ports = (settings.frontend_port, settings.backend_port);
        assert_eq!(ports, (3000, 8000));
        assert_eq!((settings.posts_service_port, settings.console_port), (8001, 9191));
        assert_eq!(settings.posts_delay, Duration::from_millis(2000));
        assert_eq!(settings.cache_ttl, Duration::from_secs(300));
        assert_eq!(settings.cache_negative_ttl, Duration::from_secs(5));
        assert_eq!(settings.cache_stale_while_revalidate, Duration::ZERO);
        assert_eq!(settings.cache_stale_if_error, Duration::from_secs(3600));
        assert!(settings.cache_enabled);
        assert_eq!(settings.database, Database::Sqlite { file: "data/blog.sqlite".into() });
        assert_eq!(settings.posts_service_url, None);
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_variable() {
        let text = message(&[
            ("BACKEND_PORT", "eighty"),
            ("CACHE_ENABLED", "maybe"),
            ("POSTS_DELAY_MS", "-1"),
            ("POSTS_SERVICE_URL", "https://posts.example"),
            ("FRONTEND_ORIGIN", "http://localhost:3000/page"),
            ("BIND_ADDRESS", "localhost"),
        ]);
        let variables = ["BACKEND_PORT=eighty", "CACHE_ENABLED=maybe", "POSTS_DELAY_MS=-1"];
        let more = ["POSTS_SERVICE_URL=https:", "FRONTEND_ORIGIN=http:", "BIND_ADDRESS=localhost"];
        for expected in variables.iter().chain(&more) {
            assert!(text.contains(expected), "{expected} is missing in: {text}");
        }
    }

    #[test]
    fn a_refused_url_does_not_show_its_password() {
        let text = message(&[
            ("DATABASE_URL", "mysql://user:secret@localhost/blog"),
            ("REDIS_URL", "http://:secret@localhost"),
        ]);
        assert!(!text.contains("secret"), "{text}");
        for words in ["DATABASE_URL=mysql…", "REDIS_URL=http…: the URL of the server"] {
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_redis_url_with_a_password_is_taken_and_not_shown() {
        let settings = settings(&[("REDIS_URL", "redis://user:secret@localhost:6380")]).unwrap();
        assert_eq!(settings.shared.as_ref().unwrap().to_string(), "localhost:6380");
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn a_password_comes_from_a_file_and_what_is_wrong_with_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let [right, empty] = ["right", "empty"].map(|name| folder.path().join(name));
        fs::write(&right, "secret\n").unwrap();
        fs::write(&empty, "\n").unwrap();
        let [right, empty] = [right, empty].map(|file| file.to_str().unwrap().to_owned());
        let url = ("REDIS_URL", "redis://user@localhost");
        let said = settings(&[url, ("REDIS_PASSWORD_FILE", &right)]).unwrap();
        assert!(said.shared.is_some() && !format!("{said:?}").contains("secret"));
        for (file, why) in [(&*empty, "this file is empty"), ("/nowhere/at/all", "No such file")] {
            let text = message(&[url, ("REDIS_PASSWORD_FILE", file)]);
            assert!(text.contains(&format!("REDIS_PASSWORD_FILE={file}: ")), "{text}");
            assert!(text.contains(why), "{text}");
        }
    }

    #[test]
    fn a_wrong_namespace_is_told_by_its_own_name() {
        for url in ["", "redis://localhost"] {
            let text = message(&[("REDIS_URL", url), ("REDIS_NAMESPACE", "a b")]);
            assert!(text.contains("REDIS_NAMESPACE=a b: "), "{text}");
            assert!(!text.contains("REDIS_URL"), "{text}");
        }
    }

    #[test]
    fn addresses_of_services_lose_their_last_slash() {
        let settings = settings(&[("POSTS_SERVICE_URL", "http://posts:8001/api/")]).unwrap();
        let url = settings.posts_service_url.unwrap().join("/posts/1");
        assert_eq!(url.to_string(), "http://posts:8001/api/posts/1");
    }

    #[test]
    fn the_example_file_names_every_variable_with_its_default() {
        let example = include_str!("../../../deploy/.env.example");
        for (name, default, _) in VARIABLES {
            let row = format!("{name}={default}");
            let is_there = example.lines().any(|line| line.trim_start_matches("# ") == row);
            assert!(is_there, "deploy/.env.example lacks the line {row}");
        }
    }

    #[test]
    fn help_names_every_variable() {
        let help = help();
        assert!(VARIABLES.iter().all(|(name, ..)| help.contains(name)));
    }
}
