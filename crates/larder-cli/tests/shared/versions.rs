//! Versions: an origin whose answers say how old they are, and readers who can tell.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::support::{
    answer::{Answer, field},
    origin::{Origin, ok},
};

/// A body of several pieces below.
const LONG: usize = 300_000;

/// What there is under each path: a number that only grows.
#[derive(Clone, Default)]
pub(crate) struct Versions(Arc<Mutex<HashMap<String, Path>>>);

#[derive(Clone, Copy, Default)]
struct Path {
    version: u64,
    fetches: usize,
}

impl Versions {
    /// Whatever is asked for is fresh for ten minutes, and has the tags `all` and its path. A path that begins with
    /// `/long` has a long answer.
    pub(crate) async fn origin(&self) -> Origin {
        let versions = self.clone();
        Origin::answering(move |head| versions.answer(head)).await
    }

    fn answer(&self, head: &str) -> Vec<u8> {
        let path = head.split(' ').nth(1).unwrap();
        let version = {
            let mut paths = self.lock();
            let path = paths.entry(path.to_owned()).or_default();
            path.fetches += 1;
            path.version
        };
        let fields = format!(
            "cache-control: max-age=600\r\netag: \"{version}\"\r\nsurrogate-key: all {}\r\n",
            tag(path)
        );
        if field(head, "if-none-match") == Some(&*format!("\"{version}\"")) {
            return format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into();
        }
        let line = format!("{version}\n");
        let lines = if path.starts_with("/long") { LONG / line.len() } else { 1 };
        ok(&fields, line.repeat(lines))
    }

    /// The origin has another version from now on.
    pub(crate) fn update(&self, path: &str) -> u64 {
        let mut paths = self.lock();
        let path = paths.entry(path.to_owned()).or_default();
        path.version += 1;
        path.version
    }

    /// So often the origin was asked.
    pub(crate) fn fetches(&self, path: &str) -> usize {
        self.lock().get(path).map_or(0, |path| path.fetches)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Path>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the origin calls the answer under a path, and nothing else.
pub(crate) fn tag(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

/// The version of which an answer is, all of it.
#[track_caller]
pub(crate) fn version(answer: &Answer) -> u64 {
    assert_eq!(answer.status(), 200, "{}", answer.head);
    let mut lines = answer.text().lines();
    let first = lines.next().unwrap();
    assert!(lines.all(|line| line == first), "an answer of several versions");
    first.parse().unwrap()
}
