//! Shared: the tier below memory that several gateways share, from flags to the cache, and what the log says of it.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use larder::{
    Cache,
    http::Variants,
    lower::{Health, Settings, Unsure},
    redis::{ConnectError, Redis},
};

use crate::amount;

/// The variable that may hold the password. It is no flag: what is on the command line all users of a machine can read.
const PASSWORD_VARIABLE: &str = "LARDER_SHARED_PASSWORD";

/// Shorter is more calls than it is worth; of longer ones the cache takes none.
const MIN_INCOHERENCE: Duration = Duration::from_secs(1);
const MAX_INCOHERENCE: Duration = Duration::from_secs(30 * 60);

/// So often the log looks how the tier is.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What is over sooner is told by counters alone.
const WORTH_A_LINE: Duration = Duration::from_secs(1);
/// A tier that answers has told within this what there is to go by, unless it cannot.
const PATIENCE: Duration = Duration::from_secs(5);

/// What there is to say of the shared tier.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sharing with other gateways")]
pub(crate) struct SharedFlags {
    /// Share answers and purges with other gateways over this server of Redis 7 or Valkey, or several:
    /// redis://host:6379, rediss:// over TLS, redis+sentinel://host,host/NAME, redis+cluster://host,host.
    /// Without a password: that is read from a file or from LARDER_SHARED_PASSWORD. While the server is away
    /// nothing fails
    #[arg(long, value_name = "URL", env = "LARDER_SHARED", hide_env_values = true)]
    shared: Option<ServerUrl>,
    /// Which gateways share: those with one name on one server. Their --policy and --key-fields have to agree
    #[arg(
        long,
        value_name = "NAME",
        env = "LARDER_SHARED_NAMESPACE",
        default_value = "larder",
        requires = "shared"
    )]
    shared_namespace: String,
    /// The server's user, if it has users
    #[arg(long, value_name = "NAME", env = "LARDER_SHARED_USER", requires = "shared")]
    shared_user: Option<String>,
    /// A file with the password in its first line; or the variable LARDER_SHARED_PASSWORD
    #[arg(long, value_name = "FILE", env = "LARDER_SHARED_PASSWORD_FILE", requires = "shared")]
    shared_password_file: Option<PathBuf>,
    /// A file with 64 hexadecimal digits, one for all gateways (openssl rand -hex 32): what is not signed with this
    /// key is not served, whoever has written it to the server
    #[arg(long, value_name = "FILE", env = "LARDER_SHARED_KEY_FILE", requires = "shared")]
    shared_key_file: Option<PathBuf>,
    /// For rediss:// with certificates of one's own: a PEM file with those that vouch for the server's
    #[arg(long, value_name = "FILE", env = "LARDER_SHARED_CA_FILE", requires = "shared")]
    shared_ca_file: Option<PathBuf>,
    /// For how long what is in memory is served without hearing of the server: no purge that another gateway has
    /// made is missed for longer. One value for all gateways
    #[arg(
        long,
        value_name = "DURATION",
        env = "LARDER_MAX_INCOHERENCE",
        default_value = "10s",
        requires = "shared",
        value_parser = amount::duration
    )]
    max_incoherence: Duration,
    /// What becomes of what is in memory after that
    #[arg(long, value_enum, value_name = "WHAT", env = "LARDER_UNSURE", default_value_t = Doubt::Fetch, requires = "shared")]
    unsure: Doubt,
    /// Where the URL has come from: not from the environment.
    #[arg(skip)]
    pub(crate) is_url_typed: bool,
}

/// The words for [`Unsure`].
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Doubt {
    /// It is fetched anew, and used for as long
    Fetch,
    /// It is served as far as stale answers may be. A purge at another gateway then may go unnoticed for as long
    ServeStale,
}

/// The URL of a server, which may hold a password: nothing shows it as it is.
#[derive(Clone)]
struct ServerUrl(String);

impl From<&str> for ServerUrl {
    fn from(url: &str) -> Self {
        ServerUrl(url.to_owned())
    }
}

impl ServerUrl {
    /// Its parts before and after what says who asks, which comes between.
    fn parts(&self) -> (&str, &str, &str) {
        let (scheme, rest) = match self.0.find("://") {
            Some(at) => self.0.split_at(at + 3),
            None => ("", &*self.0),
        };
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        (scheme, user, place)
    }

    fn has_password(&self) -> bool {
        let (_, user, _) = self.parts();
        user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
    }

    /// For the log.
    fn place(&self) -> String {
        let (scheme, _, place) = self.parts();
        format!("{scheme}{place}")
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

/// The password of the server. Nothing shows it.
pub(crate) struct Password(String);

impl Password {
    /// What the environment has; empty counts as unset.
    pub(crate) fn of_environment() -> Option<Password> {
        env::var(PASSWORD_VARIABLE).ok().filter(|password| !password.is_empty()).map(Password)
    }
}

/// What is wrong with what was said of the shared tier, all of it.
#[derive(Debug)]
pub(crate) struct SharedMistakes(Vec<String>);

impl std::error::Error for SharedMistakes {}

impl fmt::Display for SharedMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is said of the shared tier will not do")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  because: {mistake}"))
    }
}

/// A shared tier that can be used. Nothing has been opened.
pub(crate) struct Shared {
    pub(crate) tier: Redis,
    pub(crate) settings: Settings,
    /// How the log calls it.
    place: String,
}

impl SharedFlags {
    /// The tier, if there is to be one.
    pub(crate) fn tier(
        &self,
        of_environment: Option<Password>,
    ) -> Result<Option<Shared>, SharedMistakes> {
        let Some(url) = &self.shared else { return Ok(None) };
        let mut mistakes = Vec::new();
        if self.is_url_typed && url.has_password() {
            mistakes.push(format!(
                "--shared has a password in it, and whoever can list this machine's processes can read it: leave it \
                 out, and write it to a file (--shared-password-file FILE) or into the variable {PASSWORD_VARIABLE}"
            ));
        }
        if !(MIN_INCOHERENCE..=MAX_INCOHERENCE).contains(&self.max_incoherence) {
            mistakes.push("--max-incoherence is from 1s to 30m".to_owned());
        }
        let mut note = |mistake| mistakes.push(mistake);
        let of_file = self.shared_password_file.as_deref();
        let of_file = of_file.and_then(|path| password(path).map_err(&mut note).ok());
        let key = self.shared_key_file.as_deref();
        let key = key.and_then(|path| key_of(path).map_err(&mut note).ok());
        let ca = self.shared_ca_file.as_deref();
        let ca = ca.and_then(|path| read(path, "--shared-ca-file").map_err(&mut note).ok());
        if self.shared_password_file.is_some() && of_environment.is_some() {
            note(format!(
                "there are two passwords: in {PASSWORD_VARIABLE}, and --shared-password-file"
            ));
        }
        let mut options = Redis::options(&url.0)
            .namespace(&self.shared_namespace)
            .max_incoherence(self.max_incoherence);
        if let Some(user) = &self.shared_user {
            options = options.username(user);
        }
        if let Some(Password(password)) = of_file.or(of_environment) {
            options = options.password(password);
        }
        if let Some(key) = key {
            options = options.key(key);
        }
        if let Some(ca) = ca {
            options = options.ca_certificate(ca);
        }
        let tier = options.connect().map_err(|error| note(told(&error)));
        let settings = Settings {
            max_incoherence: self.max_incoherence,
            unsure: match self.unsure {
                Doubt::Fetch => Unsure::Fetch,
                Doubt::ServeStale => Unsure::ServeStale,
            },
            ..Settings::default()
        };
        match tier {
            Ok(tier) if mistakes.is_empty() => {
                Ok(Some(Shared { tier, settings, place: url.place() }))
            }
            _ => Err(SharedMistakes(mistakes)),
        }
    }
}

impl Shared {
    pub(crate) fn watch(&self) -> Watch {
        Watch::new(self.place.clone(), self.settings)
    }
}

/// By which flag it came.
fn told(error: &ConnectError) -> String {
    let flag = match error {
        ConnectError::Namespace => "--shared-namespace",
        _ => "--shared",
    };
    let cause = std::error::Error::source(error).map(|cause| format!(" ({cause})"));
    format!("{flag}: {error}{}", cause.unwrap_or_default())
}

fn read(path: &Path, flag: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{flag} {}: {error}", path.display()))
}

fn password(path: &Path) -> Result<Password, String> {
    const FLAG: &str = "--shared-password-file";
    let text = String::from_utf8(read(path, FLAG)?);
    let text = text.map_err(|_| format!("{FLAG} {}: it is no text", path.display()))?;
    match text.lines().next() {
        None | Some("") => Err(format!("{FLAG} {}: its first line is empty", path.display())),
        Some(line) => Ok(Password(line.to_owned())),
    }
}

fn key_of(path: &Path) -> Result<[u8; 32], String> {
    const FLAG: &str = "--shared-key-file";
    let text = read(path, FLAG)?;
    let digits = text.trim_ascii();
    let mut key = [0; 32];
    let is_key = digits.len() == 64
        && digits.chunks_exact(2).zip(&mut key).all(|(pair, byte)| {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            let value = digit(0).zip(digit(1)).map(|(high, low)| high * 16 + low);
            value.and_then(|value| u8::try_from(value).ok()).map(|value| *byte = value).is_some()
        });
    is_key.then_some(key).ok_or_else(|| {
        format!("{FLAG} {}: it is not 64 hexadecimal digits (openssl rand -hex 32)", path.display())
    })
}

/// How a cache stands with its tier, as far as the log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What happens first is yet to be seen.
    Begins,
    Together,
    Away,
    /// It answers, and still nobody knows what others have purged.
    Unsettled,
}

/// Says in the log when the tier goes, and when it comes back: each once, however many requests that concerns.
pub(crate) struct Watch {
    place: String,
    settings: Settings,
    state: State,
    /// For so long it has been answering without being of use.
    unsettled: Duration,
}

impl Watch {
    fn new(place: String, settings: Settings) -> Self {
        Watch { place, settings, state: State::Begins, unsettled: Duration::ZERO }
    }

    /// How the log calls the tier.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Until the task is aborted.
    pub(crate) async fn tell(mut self, cache: Cache<Variants>) {
        while let Some(health) = cache.lower_health() {
            if let Some(state) = self.change(&health, cache.stats().lower.is_trusted) {
                let line = self.line(state, &health);
                match state {
                    State::Begins | State::Together => tracing::info!("{line}"),
                    State::Away | State::Unsettled => tracing::warn!("{line}"),
                }
                self.state = state;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The state now, if it is another one than was told last. Asked every [`LOOK_EVERY`].
    fn change(&mut self, health: &Health, is_trusted: bool) -> Option<State> {
        let is_unsettled = matches!(health, Health::Answers) && !is_trusted;
        self.unsettled = if is_unsettled { self.unsettled + LOOK_EVERY } else { Duration::ZERO };
        let state = match health {
            Health::Fails { lasts, .. } if *lasts >= WORTH_A_LINE => State::Away,
            Health::Answers if is_trusted => State::Together,
            Health::Answers if self.unsettled > PATIENCE => State::Unsettled,
            _ => return None,
        };
        (state != self.state).then_some(state)
    }

    fn line(&self, state: State, health: &Health) -> String {
        let Watch { place, settings, .. } = self;
        match (state, self.state) {
            (State::Together, State::Begins) | (State::Begins, _) => format!("{place} answers"),
            (State::Together, _) => format!("{place} answers again"),
            (State::Unsettled, _) => format!(
                "{place} answers, and does not know yet which purges it has lost: until then nothing in memory is served"
            ),
            (State::Away, _) => {
                let lasts = humantime::format_duration(settings.max_incoherence);
                let then = match settings.unsure {
                    Unsure::ServeStale => "and then as stale answers may be",
                    _ => "and then fetched anew",
                };
                let reason = match health {
                    Health::Fails { reason, .. } => reason,
                    _ => "",
                };
                format!(
                    "{place} does not answer, and nothing is shared until it does: what is in memory is served for \
                     {lasts}, {then}; purges reach others once it is back ({reason})"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(url: &str) -> SharedFlags {
        SharedFlags {
            shared: Some(url.into()),
            shared_namespace: "larder".to_owned(),
            shared_user: None,
            shared_password_file: None,
            shared_key_file: None,
            shared_ca_file: None,
            max_incoherence: Duration::from_secs(10),
            unsure: Doubt::Fetch,
            is_url_typed: true,
        }
    }

    #[test]
    fn a_password_in_a_url_is_seen_and_not_shown() {
        for (url, has_password, place) in [
            ("redis://one", false, "redis://one"),
            ("redis://user@one:7000/2", false, "redis://one:7000/2"),
            ("redis://:secret@one", true, "redis://one"),
            ("redis://user:secret@one,two", true, "redis://one,two"),
            ("redis://user:se@cret@one", true, "redis://one"),
            ("redis://user:@one", false, "redis://one"),
            ("user:secret@one", true, "one"),
        ] {
            let url = ServerUrl::from(url);
            assert_eq!((url.has_password(), &*url.place()), (has_password, place), "{url:?}");
            assert!(!format!("{url:?}").contains("secret"));
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once_and_no_secret_is() {
        let flags = SharedFlags {
            shared_namespace: "a b".to_owned(),
            shared_password_file: Some("/no/such/password".into()),
            shared_key_file: Some("/no/such/key".into()),
            max_incoherence: Duration::from_millis(10),
            ..flags("redis://:secret@one")
        };
        let of_environment = Some(Password("secret".to_owned()));
        let told = flags.tier(of_environment).err().unwrap().to_string();
        for words in [
            "--shared has a password in it",
            "--shared-password-file FILE",
            "--max-incoherence is from 1s to 30m",
            "--shared-password-file /no/such/password: No such file",
            "--shared-key-file /no/such/key: No such file",
            "there are two passwords",
            "--shared-namespace: a name space is",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(!told.contains("secret"), "{told}");
        assert!(flags_are_taken("redis://one"));
        assert!(!flags_are_taken("http://one"));
    }

    fn flags_are_taken(url: &str) -> bool {
        matches!(flags(url).tier(None), Ok(Some(_)))
    }

    #[test]
    fn a_url_with_a_password_may_come_from_the_environment() {
        let flags = SharedFlags { is_url_typed: false, ..flags("redis://:secret@one") };
        assert_eq!(flags.tier(None).ok().flatten().unwrap().place, "redis://one");
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            fs::write(file.path(), text).unwrap();
            key_of(file.path())
        };
        assert_eq!(read(&format!("{}\n", "0F".repeat(32))), Ok([15; 32]));
        for text in ["", "00", &"0G".repeat(32), &"0f".repeat(33), &"+f".repeat(32)] {
            assert!(read(text).unwrap_err().contains("64 hexadecimal digits"), "{text}");
        }
    }

    #[test]
    fn each_change_is_told_once_and_what_is_short_is_not() {
        let mut watch = Watch::new("redis://one".to_owned(), Settings::default());
        let fails = |millis| Health::Fails {
            lasts: Duration::from_millis(millis),
            reason: "refused".to_owned(),
        };
        let mut after = |health: Health, is_trusted| {
            let state = watch.change(&health, is_trusted)?;
            let line = watch.line(state, &health);
            watch.state = state;
            Some(line)
        };
        assert_eq!(after(fails(999), false), None);
        let away = after(fails(1000), false).unwrap();
        assert!(
            away.starts_with("redis://one does not answer") && away.ends_with("(refused)"),
            "{away}"
        );
        assert_eq!(after(fails(60_000), false), None);
        assert_eq!(after(Health::Answers, false), None);
        assert_eq!(after(Health::Answers, true).unwrap(), "redis://one answers again");
        assert_eq!(after(Health::Answers, true), None);
        assert_eq!(after(fails(500), true), None);
        assert_eq!(after(Health::Answers, true), None);
        let unsettled = (0..100).filter_map(|_| after(Health::Answers, false));
        let unsettled: Vec<_> = unsettled.collect();
        assert_eq!(unsettled.len(), 1, "{unsettled:?}");
    }
}
