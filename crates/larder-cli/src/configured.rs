//! Configured: from flags, variables and a file to one set of settings, or to all that is wrong.

use std::{fs, path::Path};

use clap::ArgMatches;
use larder_admin::log::Levels;
use larder_gateway::config::{self, Config, Mistake, Mistakes, Places, Secrets, Settings};

use crate::{
    flags::{self, ServeFlags},
    shared::{self, Passwords, Shared},
};

/// What is read where nothing else is said.
pub(crate) const USUAL_FILE: &str = "larder.toml";

const HOW_TO_BEGIN: &str = "\
there is no service to put the cache before. Say which:
  larder serve --upstream http://127.0.0.1:8001     (--upstream <URL>, or LARDER_UPSTREAM)
or begin with a file, larder.toml, which is read from the working directory:
  larder init > larder.toml
  larder serve";

/// What a gateway runs by, and where each of it was said.
pub(crate) struct Configured {
    pub(crate) settings: Settings,
    pub(crate) config: Config,
    pub(crate) places: Places,
    pub(crate) shared: Option<Shared>,
    pub(crate) levels: Levels,
}

/// What was said, whatever is wrong with it.
pub(crate) struct Said {
    pub(crate) config: Config,
    pub(crate) places: Places,
    secrets: Secrets,
    /// What can be told of it without a look at it as a whole.
    mistakes: Vec<Mistake>,
}

impl Said {
    /// By the flags of `larder serve`, and the file that they name, or the usual one.
    pub(crate) fn by_flags(flags: ServeFlags, matches: &ArgMatches) -> Result<Said, Mistakes> {
        let usual = Path::new(USUAL_FILE);
        let is_usual = flags.upstream.is_none() && usual.exists();
        let file = flags.config.clone().or_else(|| is_usual.then(|| usual.to_owned()));
        let (mut config, mut places, mut mistakes) = match &file {
            Some(file) => {
                let text = text_of(file)?;
                config::read_with_included(file, &text)
            }
            None if flags.upstream.is_none() => {
                return Err(all(vec![Mistake::new(None, HOW_TO_BEGIN)]));
            }
            None => (Config::default(), Places::of_flags(flags::NAMES), Vec::new()),
        };
        let (secrets, more) = flags.lay_over(&mut config, &mut places, matches);
        mistakes.extend(more);
        Ok(Said { config, places, secrets, mistakes })
    }

    /// What can be run of it.
    ///
    /// # Errors
    ///
    /// All that is wrong.
    pub(crate) fn configured(self, passwords: Passwords) -> Result<Configured, Mistakes> {
        let Said { config, places, secrets, mut mistakes } = self;
        let mut more = Vec::new();
        let mut note = |found: Vec<Mistake>| more.extend(found);
        let settings = Settings::of(&config, &places, secrets).map_err(&mut note);
        let shared = shared::tier(&config.shared, &places, passwords).map_err(&mut note);
        let levels = config.log.levels.as_deref().unwrap_or("info").parse::<Levels>();
        let levels = levels.map_err(|error| {
            note(vec![places.mistake("log.levels", error.to_string())]);
        });
        config::add_new(&mut mistakes, more);
        match (Mistakes::of(mistakes), settings, shared, levels) {
            (None, Ok(settings), Ok(shared), Ok(levels)) => {
                Ok(Configured { settings, config, places, shared, levels })
            }
            (Some(mistakes), ..) => Err(mistakes),
            (None, ..) => unreachable!("what cannot be used is a mistake"),
        }
    }
}

fn all(mistakes: Vec<Mistake>) -> Mistakes {
    Mistakes::of(mistakes).expect("there is one")
}

fn text_of(file: &Path) -> Result<String, Mistakes> {
    let unreadable = |what: String| all(vec![Mistake::new(None, what)]);
    let bytes = fs::read(file).map_err(|error| {
        let begin = "`larder init > larder.toml` writes one to begin with";
        unreadable(format!("cannot read {}: {error}; {begin}", file.display()))
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n');
        let (file, line) = (file.display(), line.count());
        unreadable(format!("{file}:{line}: this is no text in UTF-8: save it as that"))
    })
}
