//! Reload: settings that are read again while the gateway runs, whole or not at all.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use clap::ArgMatches;
use larder_admin::figures::{Family, Figures};
use larder_gateway::{
    Gateway,
    config::{Config, Mistakes, Named},
    upstream::Upstream,
};

use serde_json::Value;

use crate::{
    configured::Configured,
    files::Files,
    flags::ServeFlags,
    metrics::{counter, gauge},
    serve::upstreams,
    shared::Passwords,
};

/// What was said at the start, which is said again with the file as it is then.
pub(crate) struct Again {
    pub(crate) flags: ServeFlags,
    pub(crate) matches: ArgMatches,
}

impl Again {
    pub(crate) fn configured(&self) -> Result<Configured, Mistakes> {
        Configured::of_flags(self.flags.clone(), &self.matches, Passwords::of_environment())
    }
}

/// Brings a file's new settings into a gateway that runs.
pub(crate) struct Reloader {
    pub(crate) again: Again,
    /// What it was started with: what changes only with a restart is compared with that.
    pub(crate) running: Config,
    pub(crate) gateway: Gateway,
    /// Those of now, in the gateway's order.
    pub(crate) upstreams: Vec<Named>,
    pub(crate) files: Files,
    pub(crate) reloads: Reloads,
}

/// How it went so far. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Reloads(Arc<Outcomes>);

#[derive(Default)]
struct Outcomes {
    applied: AtomicU64,
    refused: AtomicU64,
    /// Protects what is wrong with the file that was read last; none if that is in force.
    wrong: Mutex<Option<String>>,
}

impl Outcomes {
    /// It is replaced whole, so whoever panicked with it has left nothing half done.
    fn wrong(&self) -> MutexGuard<'_, Option<String>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reloader {
    /// A file with mistakes changes nothing, and that is told.
    pub(crate) fn reread(&mut self) {
        let configured = match self.again.configured() {
            Ok(configured) => configured,
            Err(mistakes) => {
                tracing::error!("the settings stay as they are, the file is refused:\n{mistakes}");
                return self.reloads.refused(&mistakes);
            }
        };
        let Some(file) = configured.places.file() else {
            return tracing::info!("SIGHUP changes nothing: there is no file to read again");
        };
        let later = needing_a_restart(&self.running, &configured.config);
        let settings = configured.settings;
        for doubt in &settings.doubts {
            tracing::warn!("{doubt}");
        }
        let before = std::mem::replace(&mut self.upstreams, settings.upstreams);
        let kept: Vec<(Named, Upstream)> =
            before.into_iter().zip(self.gateway.upstreams()).collect();
        let upstreams = upstreams(&self.upstreams, self.files, &kept);
        self.gateway.reload(upstreams, settings.ways, settings.gateway);
        self.reloads.applied();
        tracing::info!("the settings are those of {} as it is now", file.display());
        if !later.is_empty() {
            tracing::warn!("what changes only with a restart: {}", later.join(", "));
        }
    }
}

/// The keys that differ and that a running gateway cannot change.
fn needing_a_restart(running: &Config, now: &Config) -> Vec<String> {
    /// Looked at with each request.
    const AT_ONCE: [&str; 4] = [
        "server.trusted_peers",
        "server.explain_token_file",
        "server.max_upgrades",
        "server.max_upgrades_per_client",
    ];
    let mut keys = Vec::new();
    let parts = |config: &Config| {
        [
            ("server", serde_json::to_value(&config.server)),
            ("admin", serde_json::to_value(&config.admin)),
            ("memory", serde_json::to_value(&config.memory)),
            ("shared", serde_json::to_value(&config.shared)),
            ("log", serde_json::to_value(&config.log)),
        ]
        .map(|(name, part)| (name, part.unwrap_or_default()))
    };
    for ((name, before), (_, after)) in parts(running).into_iter().zip(parts(now)) {
        differing(name, &before, &after, &mut keys);
    }
    keys.retain(|key| !AT_ONCE.contains(&key.as_str()));
    keys
}

fn differing(path: &str, before: &Value, after: &Value, keys: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                differing(
                    &format!("{path}.{key}"),
                    value,
                    after.get(key).unwrap_or(&Value::Null),
                    keys,
                );
            }
        }
        (before, after) if before != after => keys.push(path.to_owned()),
        _ => {}
    }
}

impl Reloads {
    fn applied(&self) {
        self.0.applied.fetch_add(1, Ordering::Relaxed);
        *self.0.wrong() = None;
    }

    fn refused(&self, mistakes: &Mistakes) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        let text = mistakes.to_string();
        let first = text.lines().next().unwrap_or_default();
        *self.0.wrong() = Some(format!(
            "the file of settings is refused, and those before it are in force: {first}"
        ));
    }

    /// For `/readyz`: one typo must not drain a fleet, so it is told and no more.
    pub(crate) fn note(&self) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        let Reloads(outcomes) = self.clone();
        move || outcomes.wrong().clone()
    }
}

impl Figures for Reloads {
    fn families(&self) -> Vec<Family> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Outcomes { applied, refused, wrong: _ } = &*self.0;
        let is_refused = u64::from(self.0.wrong().is_some());
        vec![
            counter(
                "config_reloads",
                "How often the file of settings was read again, by what came of it",
                "outcome",
                vec![("applied", read(applied)), ("refused", read(refused))],
            ),
            gauge(
                "config_refused",
                "1 while the file of settings has mistakes and those before it are in force",
                vec![("", is_refused)],
            ),
        ]
    }
}
