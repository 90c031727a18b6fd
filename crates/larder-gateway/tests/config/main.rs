//! `larder.toml` from outside: what is wrong is told, what is right is taken, and the reference says what there is.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod explained;
mod files;
mod included;
mod reference;
mod right;
mod wrong;

use std::{env, fs, path::Path};

use larder_gateway::config::{self, Mistakes, Places, Secrets, Settings};

/// What `larder serve` would run by, or all that is wrong.
fn check(text: &str) -> Result<(Settings, Places), Mistakes> {
    let (config, places, mut mistakes) = config::read_on(Path::new("larder.toml"), text);
    let settings = match Settings::of(&config, &places, Secrets::default()) {
        Ok(settings) => Some(settings),
        Err(more) => {
            config::add_new(&mut mistakes, more);
            None
        }
    };
    match Mistakes::of(mistakes) {
        Some(mistakes) => Err(mistakes),
        None => Ok((settings.unwrap(), places)),
    }
}

/// The header of a key's table, with that of the list around it where it is a part of one.
fn header(table: &str) -> String {
    match table.contains("listener.") {
        true => format!("[[listener]]\nlisten = 0\n{table}"),
        false => table.replace("NAME", "blog"),
    }
}

/// Compares `text` with what stands in `file`, a path below this crate. With `LARDER_BLESS=1` it is written there
/// instead, for whoever reads the difference.
fn same_as_in(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if env::var_os("LARDER_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let stands = fs::read_to_string(&path).unwrap();
    if let Some((line, (one, other))) =
        stands.lines().zip(text.lines()).enumerate().find(|(_, (one, other))| one != other)
    {
        panic!("{file}:{}: stands there:\n{one}\nis now:\n{other}\n(LARDER_BLESS=1)", line + 1);
    }
    assert_eq!(stands.lines().count(), text.lines().count(), "{file} (LARDER_BLESS=1)");
}
