//! Include: the files that a `larder.toml` takes routes and services from.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use larder::http::policy::glob;

use super::{document::Places, mistake::Mistake, parts::Config, schema::Known};

/// What may stand in a file that is included; everything else is said once, in `larder.toml` itself.
const THERE: [&str; 2] = ["route", "upstream"];

/// More files are a mistake in a pattern.
const MOST: usize = 1000;

/// The files that a pattern names, by name. `*` stands in the last part only, and nothing above the folder of the
/// `larder.toml` is named.
pub(super) fn files(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = Path::new(pattern);
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
    if pattern.is_empty() || !is_below {
        return Err("files that are included lie below this one: \"routes/*.toml\"".to_owned());
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let parent = path.parent().unwrap_or(Path::new(""));
    if parent.to_str().is_some_and(|parent| parent.contains('*')) {
        return Err("* stands in the name of the file only: \"routes/*.toml\"".to_owned());
    }
    if !name.contains('*') {
        return Ok(vec![folder.join(path)]);
    }
    let unreadable = |error: io::Error| {
        format!("cannot read the folder {}: {error}", folder.join(parent).display())
    };
    let mut found = Vec::new();
    let within = folder.join(parent);
    let within = if within.as_os_str().is_empty() { PathBuf::from(".") } else { within };
    for entry in fs::read_dir(within).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?.file_name();
        let fits = |entry: &str| {
            // What editors and package managers leave lying about begins with a dot.
            !entry.starts_with('.') && glob::fits(name.as_bytes(), entry.as_bytes())
        };
        if entry.to_str().is_some_and(fits) {
            found.push(folder.join(parent).join(entry));
        }
        if found.len() > MOST {
            return Err(format!("there are more than {MOST} such files"));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Adds what stands in the files that `config` includes: its own routes come first, then theirs in the order of the
/// patterns and of the files' names.
pub(super) fn add(config: &mut Config, places: &mut Places, mistakes: &mut Vec<Mistake>) {
    let Some(main) = places.file().map(Path::to_owned) else { return };
    let folder = main.parent().unwrap_or(Path::new("")).to_owned();
    let mut taken: Vec<PathBuf> = vec![main];
    for (index, pattern) in config.include.clone().iter().enumerate() {
        let path = format!("include[{}]", index + 1);
        match files(&folder, pattern) {
            Ok(files) => {
                for file in files {
                    if taken.contains(&file) {
                        let what = format!("{} is included twice", file.display());
                        mistakes.push(places.mistake(&path, what));
                        continue;
                    }
                    taken.push(file.clone());
                    match text_of(&file) {
                        Ok(text) => add_one((&file, &text), config, places, mistakes),
                        Err(what) => mistakes.push(places.mistake(&path, what)),
                    }
                }
            }
            Err(what) => mistakes.push(places.mistake(&path, what)),
        }
    }
    places.set_files(taken);
}

fn add_one(
    (file, text): (&Path, &str),
    config: &mut Config,
    places: &mut Places,
    mistakes: &mut Vec<Mistake>,
) {
    let (theirs, their_places, more) = super::read_on(file, text);
    let routes_before = config.route.len();
    let moved = more.into_iter().map(|mistake| {
        let path = match mistake.path() {
            // Nothing of it was read, so what it would have said is not missing.
            Some("") => "include".to_owned(),
            Some(path) => behind(path, routes_before),
            None => return mistake,
        };
        mistake.at_path(&path)
    });
    mistakes.extend(moved);
    for table in Known::get().tables() {
        let place = their_places.of(&table.name).filter(|_| !THERE.contains(&&*table.name));
        if let Some(place) = place {
            let what = format!(
                "{} is said in {} itself: files that are included have [[route]] and [upstream.NAME]",
                table.written,
                taken_by(places)
            );
            mistakes.push(Mistake::new(Some(place.clone()), what).with_right_of(THERE[0]));
        }
    }
    for (name, upstream) in theirs.upstream {
        let path = format!("upstream.{name}");
        match places.of(&path) {
            None => drop(config.upstream.insert(name, upstream)),
            Some(first) => {
                let what = format!("there is an [upstream.{name}] already, at {first}");
                mistakes
                    .push(Mistake::new(their_places.of(&path).cloned(), what).with_right_of(&path));
            }
        }
    }
    places.add(&their_places, routes_before);
    config.route.extend(theirs.route);
}

fn taken_by(places: &Places) -> String {
    places.file().map(|file| file.display().to_string()).unwrap_or_default()
}

fn text_of(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file);
    text.map_err(|error| format!("cannot read {}: {error}", file.display()))
}

impl Places {
    /// What was said elsewhere, whose routes come behind so many.
    fn add(&mut self, others: &Places, routes_before: usize) {
        for (path, place) in others.all() {
            if !THERE.iter().any(|key| path.starts_with(key)) || path == "route" {
                continue;
            }
            if path.starts_with("upstream") && self.of(path).is_some() {
                continue;
            }
            self.set(&behind(path, routes_before), place.clone());
        }
    }
}

/// `route[2].ttl` behind three others is `route[5].ttl`.
fn behind(path: &str, routes_before: usize) -> String {
    let moved = || {
        let (index, rest) = path.strip_prefix("route[")?.split_once(']')?;
        Some(format!("route[{}]{rest}", index.parse::<usize>().ok()? + routes_before))
    };
    moved().unwrap_or_else(|| path.to_owned())
}
