//! Shared: the tier below memory that several gateways share, as the flags name it.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use larder::{
    lower::{Settings, Unsure},
    redis::{ConnectError, Redis},
};

use crate::amount;

/// The variable that may hold the password. It is no flag: what is on the command line all users of a machine can read.
const PASSWORD_VARIABLE: &str = "LARDER_SHARED_PASSWORD";

/// Shorter is more calls than it is worth; of longer ones the cache takes none.
const MIN_INCOHERENCE: Duration = Duration::from_secs(1);
const MAX_INCOHERENCE: Duration = Duration::from_secs(30 * 60);

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
    fn has_password(&self) -> bool {
        let (_, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let (user, _) = rest.rsplit_once('@').unwrap_or_default();
        user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerUrl(…)")
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
            Ok(tier) if mistakes.is_empty() => Ok(Some(Shared { tier, settings })),
            _ => Err(SharedMistakes(mistakes)),
        }
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
        for (url, has_password) in [
            ("redis://one", false),
            ("redis://user@one:7000/2", false),
            ("redis://:secret@one", true),
            ("redis://user:secret@one,two", true),
            ("redis://user:se@cret@one", true),
            ("redis://user:@one", false),
            ("user:secret@one", true),
        ] {
            let parsed = ServerUrl::from(url);
            assert_eq!(parsed.has_password(), has_password, "{url}");
            let url = parsed;
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
        assert_eq!(flags.tier(None).ok().flatten().unwrap().tier.to_string(), "one:6379");
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
}
