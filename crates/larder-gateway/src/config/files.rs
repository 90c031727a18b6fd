//! Files: all that a configuration is made of, so that whoever waits for a change knows where to look.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{document::Places, include, parts::Config};

/// The files that a configuration in force is made of as they are now: with those that have come since it was read. Those
/// that are looked after by themselves (certificates of listeners, tokens of CDNs) and those that are read at a start only
/// are not among them.
pub fn files_of(config: &Config, places: &Places) -> Vec<PathBuf> {
    let mut files = own_files(config, places);
    let of_itself = named(config).into_iter().filter(|(path, _)| !is_looked_after_elsewhere(path));
    files.extend(of_itself.map(|(path, file)| places.resolve(&path, &file)));
    files
}

/// All files of a configuration that was refused: whichever was wrong may be mended.
pub fn all_files_of(config: &Config, places: &Places) -> Vec<PathBuf> {
    let mut files = own_files(config, places);
    files.extend(named(config).iter().map(|(path, file)| places.resolve(path, file)));
    files
}

/// The one that was named, and those that it includes.
fn own_files(config: &Config, places: &Places) -> Vec<PathBuf> {
    let Some(main) = places.file() else { return Vec::new() };
    let folder = main.parent().unwrap_or(Path::new(""));
    let included = config.include.iter().filter_map(|pattern| include::files(folder, pattern).ok());
    std::iter::once(main.to_owned()).chain(included.flatten()).collect()
}

fn is_looked_after_elsewhere(path: &str) -> bool {
    ["server.tls.", "listener[", "admin.tls.", "shared.", "cdn["]
        .iter()
        .any(|part| path.starts_with(part))
}

/// Each file that is read by what a key says, and the way to that key.
fn named(config: &Config) -> Vec<(String, PathBuf)> {
    // All parts of which a key names a file. The rules of routes name none.
    let parts = [
        ("server", serde_json::to_value(&config.server)),
        ("listener", serde_json::to_value(&config.listener)),
        ("admin", serde_json::to_value(&config.admin)),
        ("purge", serde_json::to_value(&config.purge)),
        ("shared", serde_json::to_value(&config.shared)),
        ("cdn", serde_json::to_value(&config.cdn)),
        ("upstream", serde_json::to_value(&config.upstream)),
    ];
    let mut files = Vec::new();
    for (path, part) in parts {
        look_into(path, &part.unwrap_or_default(), &mut files);
    }
    files
}

fn look_into(path: &str, value: &Value, files: &mut Vec<(String, PathBuf)>) {
    match value {
        Value::Object(keys) => {
            for (key, value) in keys {
                look_into(&format!("{path}.{key}"), value, files);
            }
        }
        Value::Array(elements) => {
            for (index, value) in elements.iter().enumerate() {
                look_into(&format!("{path}[{}]", index + 1), value, files);
            }
        }
        Value::String(file) if names_file(path) => files.push((path.to_owned(), file.into())),
        _ => {}
    }
}

/// Whether a key of this name says which file is read.
fn names_file(path: &str) -> bool {
    const OTHERS: [&str; 5] =
        ["certificate", "key", "client_certificate", "client_key", "maintenance_page"];
    let key = path.rsplit('.').next().unwrap_or_default();
    key.ends_with("_file") || OTHERS.contains(&key)
}
