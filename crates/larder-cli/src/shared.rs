//! Shared: the tier below memory that several gateways share, as the flags name it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use larder::{
    lower::{Settings, Unsure},
    redis::{ConnectError, Redis},
};
use larder_gateway::config::{Mistake, Place, Places, SharedPart, UnsureWord};

/// The variables that may hold passwords. They are no flags: what is on the command line all users of a machine can read.
const PASSWORD_VARIABLE: &str = "LARDER_SHARED_PASSWORD";
const SENTINEL_PASSWORD_VARIABLE: &str = "LARDER_SHARED_SENTINEL_PASSWORD";

/// Shorter is more calls than it is worth; of longer ones the cache takes none.
const MIN_INCOHERENCE: Duration = Duration::from_secs(1);
const MAX_INCOHERENCE: Duration = Duration::from_secs(30 * 60);

/// The namespace where none is named.
const NAMESPACE: &str = "larder";

fn has_password(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let (user, _) = rest.rsplit_once('@').unwrap_or_default();
    user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
}

/// A password. Nothing shows it.
struct Password(String);

/// Those that the environment has.
#[derive(Default)]
pub(crate) struct Passwords {
    server: Option<Password>,
    sentinels: Option<Password>,
}

impl Passwords {
    /// What is empty counts as unset.
    pub(crate) fn of_environment() -> Passwords {
        let read = |name| env::var(name).ok().filter(|password| !password.is_empty()).map(Password);
        Passwords { server: read(PASSWORD_VARIABLE), sentinels: read(SENTINEL_PASSWORD_VARIABLE) }
    }
}

/// A shared tier that can be used. Nothing has been opened.
pub(crate) struct Shared {
    pub(crate) tier: Redis,
    pub(crate) settings: Settings,
    /// Where purges wait for it on disk. Whoever only looks at the settings leaves it alone.
    pub(crate) outbox: Option<PathBuf>,
}

/// The tier that `part` describes, if there is to be one.
pub(crate) fn tier(
    part: &SharedPart,
    places: &Places,
    of_environment: Passwords,
) -> Result<Option<Shared>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let Some(url) = &part.url else {
        without_url(part, places, &mut mistakes);
        return if mistakes.is_empty() { Ok(None) } else { Err(mistakes) };
    };
    let mut note = |path: &str, what: String| mistakes.push(places.mistake(path, what));
    // Only the environment is this user's alone.
    let is_readable = !matches!(places.of("shared.url"), Some(Place::Variable(_)));
    if is_readable && has_password(url) {
        let (url, file) = (places.name("shared.url"), places.name("shared.password_file"));
        let who = match places.of("shared.url") {
            Some(Place::File { .. }) => "whoever is shown this file",
            _ => "whoever can list this machine's processes",
        };
        note(
            "shared.url",
            format!(
                "{url} has a password in it, and {who} can read it: leave it out, and write it to a file of its own \
                 ({file} FILE) or into the variable {PASSWORD_VARIABLE}"
            ),
        );
    }
    let usual = Settings::default();
    let max_incoherence =
        part.max_incoherence.as_ref().map_or(usual.max_incoherence, |time| time.0);
    if !(MIN_INCOHERENCE..=MAX_INCOHERENCE).contains(&max_incoherence) {
        let name = places.name("shared.max_incoherence");
        note("shared.max_incoherence", format!("{name} is from 1s to 30m"));
    }
    let mut read_by = |path: &str, file: Option<&std::path::PathBuf>| {
        let file = places.resolve(path, file?);
        let read = read(&file, places.name(path));
        read.map_err(|what| note(path, what)).ok().map(|bytes| (file, bytes))
    };
    let of_file = read_by("shared.password_file", part.password_file.as_ref());
    let of_sentinels = part.sentinel_password_file.as_ref();
    let of_sentinels = read_by("shared.sentinel_password_file", of_sentinels);
    let key = read_by("shared.key_file", part.key_file.as_ref());
    let ca = read_by("shared.ca_file", part.ca_file.as_ref()).map(|(_, bytes)| bytes);
    let mut password_of = |path: &str, read: Option<(PathBuf, Vec<u8>)>| {
        let (file, bytes) = read?;
        let password = password(&file, bytes, places.name(path));
        password.map_err(|what| note(path, what)).ok()
    };
    let of_file = password_of("shared.password_file", of_file);
    let of_sentinels = password_of("shared.sentinel_password_file", of_sentinels);
    let key = key.and_then(|(file, bytes)| {
        let key = key_of(&file, &bytes, places.name("shared.key_file"));
        key.map_err(|what| note("shared.key_file", what)).ok()
    });
    let Passwords { server: in_variable, sentinels: of_sentinels_in_variable } = of_environment;
    for (path, file, variable, is_set) in [
        ("shared.password_file", &part.password_file, PASSWORD_VARIABLE, in_variable.is_some()),
        (
            "shared.sentinel_password_file",
            &part.sentinel_password_file,
            SENTINEL_PASSWORD_VARIABLE,
            of_sentinels_in_variable.is_some(),
        ),
    ] {
        if file.is_some() && is_set {
            let name = places.name(path);
            note(path, format!("there are two passwords: in {variable}, and {name}"));
        }
    }
    let has_sentinels = url.contains("+sentinel://");
    for (path, is_said) in [
        ("shared.sentinel_user", part.sentinel_user.is_some()),
        ("shared.sentinel_password_file", part.sentinel_password_file.is_some()),
    ] {
        if is_said && !has_sentinels {
            let name = places.name(path);
            note(
                path,
                format!("{name} says nothing without sentinels: redis+sentinel://host,host/NAME"),
            );
        }
    }
    let outbox = part.outbox.as_ref().map(|path| places.resolve("shared.outbox", path));
    let namespace = part.namespace.as_deref().unwrap_or(NAMESPACE);
    let mut options = Redis::options(url).namespace(namespace).max_incoherence(max_incoherence);
    if let Some(user) = &part.user {
        options = options.username(user);
    }
    if let Some(Password(password)) = of_file.or(in_variable) {
        options = options.password(password);
    }
    if let Some(user) = &part.sentinel_user {
        options = options.sentinel_username(user);
    }
    if let Some(Password(password)) = of_sentinels.or(of_sentinels_in_variable) {
        options = options.sentinel_password(password);
    }
    if let Some(key) = key {
        options = options.key(key);
    }
    if let Some(ca) = ca {
        options = options.ca_certificate(ca);
    }
    let tier = options.connect().map_err(|error| {
        let path = match error {
            ConnectError::Namespace => "shared.namespace",
            _ => "shared.url",
        };
        note(path, told(&error, places.name(path)));
    });
    let unsure = match part.unsure {
        None | Some(UnsureWord::Fetch) => Unsure::Fetch,
        Some(UnsureWord::ServeStale) => Unsure::ServeStale,
    };
    let settings = Settings { max_incoherence, unsure, ..usual };
    match tier {
        Ok(tier) if mistakes.is_empty() => Ok(Some(Shared { tier, settings, outbox })),
        _ => Err(mistakes),
    }
}

/// What is said of a tier that nobody has named.
fn without_url(part: &SharedPart, places: &Places, mistakes: &mut Vec<Mistake>) {
    let SharedPart {
        url: _,
        namespace,
        user,
        password_file,
        sentinel_user,
        sentinel_password_file,
        outbox,
        key_file,
        ca_file,
        max_incoherence,
        unsure,
    } = part;
    let url = match places.name("shared.url") {
        "--shared" => "--shared <URL>",
        name => name,
    };
    for (path, is_said) in [
        ("shared.namespace", namespace.is_some()),
        ("shared.user", user.is_some()),
        ("shared.password_file", password_file.is_some()),
        ("shared.sentinel_user", sentinel_user.is_some()),
        ("shared.sentinel_password_file", sentinel_password_file.is_some()),
        ("shared.outbox", outbox.is_some()),
        ("shared.key_file", key_file.is_some()),
        ("shared.ca_file", ca_file.is_some()),
        ("shared.max_incoherence", max_incoherence.is_some()),
        ("shared.unsure", unsure.is_some()),
    ] {
        if is_said {
            let name = places.name(path);
            let what = format!("{name} says nothing without a server to share over: {url}");
            mistakes.push(places.mistake(path, what));
        }
    }
}

fn told(error: &ConnectError, name: &str) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(" ({cause})"));
    format!("{name}: {error}{}", cause.unwrap_or_default())
}

fn read(path: &Path, name: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{name} {}: {error}", path.display()))
}

fn password(path: &Path, bytes: Vec<u8>, name: &str) -> Result<Password, String> {
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| format!("{name} {}: it is no text", path.display()))?;
    match text.lines().next() {
        None | Some("") => Err(format!("{name} {}: its first line is empty", path.display())),
        Some(line) => Ok(Password(line.to_owned())),
    }
}

fn key_of(path: &Path, text: &[u8], name: &str) -> Result<[u8; 32], String> {
    let digits = text.trim_ascii();
    let mut key = [0; 32];
    let is_key = digits.len() == 64
        && digits.chunks_exact(2).zip(&mut key).all(|(pair, byte)| {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            let value = digit(0).zip(digit(1)).map(|(high, low)| high * 16 + low);
            value.and_then(|value| u8::try_from(value).ok()).map(|value| *byte = value).is_some()
        });
    is_key.then_some(key).ok_or_else(|| {
        format!("{name} {}: it is not 64 hexadecimal digits (openssl rand -hex 32)", path.display())
    })
}

#[cfg(test)]
mod tests {
    use larder_gateway::config::Time;

    use super::*;
    use crate::flags;

    fn part(url: &str) -> SharedPart {
        SharedPart { url: Some(url.to_owned()), ..SharedPart::default() }
    }

    fn said_by(place: Place) -> Places {
        let mut places = Places::of_flags(flags::NAMES);
        places.set("shared.url", place);
        places
    }

    fn typed() -> Places {
        said_by(Place::Flag("--shared"))
    }

    #[test]
    fn a_password_in_a_url_is_seen() {
        for (url, has) in [
            ("redis://one", false),
            ("redis://user@one:7000/2", false),
            ("redis://:secret@one", true),
            ("redis://user:secret@one,two", true),
            ("redis://user:se@cret@one", true),
            ("redis://user:@one", false),
            ("user:secret@one", true),
        ] {
            assert_eq!(has_password(url), has, "{url}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once_and_no_secret_is() {
        let part = SharedPart {
            namespace: Some("a b".to_owned()),
            password_file: Some("/no/such/password".into()),
            sentinel_user: Some("larder".to_owned()),
            sentinel_password_file: Some("/no/such/password".into()),
            key_file: Some("/no/such/key".into()),
            max_incoherence: Some(Time(Duration::from_millis(10))),
            ..part("redis://:secret@one")
        };
        let secret = || Some(Password("secret".to_owned()));
        let of_environment = Passwords { server: secret(), sentinels: secret() };
        let mistakes = tier(&part, &typed(), of_environment).err().unwrap();
        let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        let told = told.join("\n");
        for words in [
            "--shared has a password in it",
            "--shared-password-file FILE",
            "--max-incoherence is from 1s to 30m",
            "--shared-password-file /no/such/password: No such file",
            "--shared-key-file /no/such/key: No such file",
            "there are two passwords: in LARDER_SHARED_PASSWORD, and",
            "there are two passwords: in LARDER_SHARED_SENTINEL_PASSWORD, and",
            "--shared-sentinel-user says nothing without sentinels",
            "--shared-sentinel-password-file /no/such/password: No such file",
            "--shared-namespace: a name space is",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(!told.contains("secret"), "{told}");
        let none = Passwords::default;
        assert!(matches!(tier(&self::part("redis://one"), &typed(), none()), Ok(Some(_))));
        assert!(tier(&self::part("http://one"), &typed(), none()).is_err());
        let sentinels = self::part("redis+sentinel://one:26379/main");
        let sentinels = SharedPart { sentinel_user: Some("larder".to_owned()), ..sentinels };
        assert!(matches!(tier(&sentinels, &typed(), none()), Ok(Some(_))));
    }

    #[test]
    fn a_url_with_a_password_may_come_from_the_environment() {
        let places = said_by(Place::Variable("LARDER_SHARED"));
        let none = Passwords::default();
        let tier = tier(&part("redis://:secret@one"), &places, none).ok().flatten().unwrap();
        assert_eq!(tier.tier.to_string(), "one:6379");
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        let read = |text: &str| key_of(Path::new("key"), text.as_bytes(), "--shared-key-file");
        assert_eq!(read(&format!("{}\n", "0F".repeat(32))), Ok([15; 32]));
        for text in ["", "00", &"0G".repeat(32), &"0f".repeat(33), &"+f".repeat(32)] {
            assert!(read(text).unwrap_err().contains("64 hexadecimal digits"), "{text}");
        }
    }
}
