//! Reload: settings that are read again while the gateway runs, whole or not at all.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use clap::ArgMatches;
use larder_admin::{
    Tokens,
    figures::{Family, Figures},
};
use larder_gateway::{
    Gateway, GatewayConfig, ListenerRules, Tls,
    cdn::Cdns,
    config::{self, AdminAccess, Config, Listener, Mistakes, Named, Places, ReloadWord},
    origins::Origins,
};

use crate::{
    configured::Said,
    files::Files,
    flags::ServeFlags,
    metrics::{counter, gauge},
    restart,
    serve::upstreams,
    shared::Passwords,
    signals::Reread,
    watch::{Look, Watch, look_at},
};

/// What was said at the start, which is said again with the file as it is then.
pub(crate) struct Again {
    pub(crate) flags: ServeFlags,
    pub(crate) matches: ArgMatches,
}

impl Again {
    pub(crate) fn said(&self) -> Result<Said, Mistakes> {
        Said::by_flags(self.flags.clone(), &self.matches)
    }
}

/// Brings a file's new settings into a gateway that runs.
pub(crate) struct Reloader {
    pub(crate) again: Again,
    /// What it was started with: what changes only with a restart is compared with that.
    pub(crate) running: Config,
    pub(crate) gateway: Gateway,
    pub(crate) cdns: Cdns,
    pub(crate) admin: RunningAdmin,
    /// Those of now, in the gateway's order.
    pub(crate) upstreams: Vec<Named>,
    /// Those that it was started with, in the server's order, with the rules of now.
    pub(crate) listeners: Vec<Listener>,
    pub(crate) files: Files,
    /// How many connections of readers there may be.
    pub(crate) readers: usize,
    pub(crate) files_of: FilesOf,
    pub(crate) reloads: Reloads,
}

/// The admin API, as it was started, with the tokens of now.
pub(crate) struct RunningAdmin {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) tokens: Tokens,
    pub(crate) tls: Option<Tls>,
}

impl RunningAdmin {
    /// What changes at once. Where it listens changes only with a restart, so a file that would do with fewer tokens
    /// because it moves the API to this machine does not take them from one that others can reach.
    fn follow(&self, now: &AdminAccess) {
        if let (Some(tls), Some(now)) = (&self.tls, &now.tls) {
            tls.show(now);
        }
        let is_reached_by_others = self.address.is_some_and(|address| !address.ip().is_loopback());
        let are_both = now.read.is_some() && now.write.is_some();
        if is_reached_by_others && self.tokens.are_both() && !are_both {
            tracing::warn!(
                "the tokens of the admin API stay as they are: others can reach it until a restart"
            );
            return;
        }
        self.tokens.exchange(now.read, now.write);
    }
}

/// Which files the settings are read from, and whether they have changed since.
pub(crate) struct FilesOf {
    /// Whether somebody wants to know, by the settings in force.
    is_wanted: bool,
    /// What was read last, as far as it could be.
    config: Config,
    places: Places,
    is_refused: bool,
    watch: Watch,
}

impl FilesOf {
    pub(crate) fn new(config: &Config, places: &Places) -> FilesOf {
        let look = look_at(config::files_of(config, places));
        let is_wanted = config.server.reload == Some(ReloadWord::OnChange);
        let (config, places) = (config.clone(), places.clone());
        FilesOf { is_wanted, config, places, is_refused: false, watch: Watch::of(look) }
    }

    fn look(&self) -> Look {
        let files = if self.is_refused { config::all_files_of } else { config::files_of };
        look_at(files(&self.config, &self.places))
    }

    fn have_changed(&mut self) -> bool {
        self.is_wanted && self.watch.have_changed(self.look())
    }

    /// `look` was had before they were read, and `said` is in them if they could be. Whether that is in force is told
    /// later: until then it is not, and each of its files may be the one that has to be mended.
    fn were_read(&mut self, look: Look, said: Option<(&Config, &Places)>) {
        self.watch = Watch::of(look);
        // What no file could be made of names no others.
        if let Some((config, places)) = said.filter(|(_, places)| places.file().is_some()) {
            (self.config, self.places) = (config.clone(), places.clone());
            self.is_refused = true;
            self.watch.follow(self.look());
        }
    }

    fn are_in_force(&mut self) {
        self.is_wanted = self.config.server.reload == Some(ReloadWord::OnChange);
        self.is_refused = false;
        self.watch.follow(self.look());
    }
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
    pub(crate) fn hear(&mut self, reread: Reread) {
        if reread == Reread::Told || self.files_of.have_changed() {
            self.reread();
        }
    }

    /// A file with mistakes changes nothing, and that is told.
    fn reread(&mut self) {
        // Before they are read: what changes from here on is seen at the next look.
        let look = self.files_of.look();
        let said = self.again.said();
        let files = said.as_ref().ok().map(|said| (&said.config, &said.places));
        self.files_of.were_read(look, files);
        let configured = said.and_then(|said| said.configured(Passwords::of_environment()));
        let configured = match configured {
            Ok(configured) => configured,
            Err(mistakes) => {
                tracing::error!("the settings stay as they are, the file is refused:\n{mistakes}");
                return self.reloads.refused(&mistakes);
            }
        };
        self.files_of.are_in_force();
        let Some(file) = configured.places.file() else {
            return tracing::info!("SIGHUP changes nothing: there is no file to read again");
        };
        let later = restart::needed_for(&self.running, &configured.config);
        let settings = configured.settings;
        for doubt in &settings.doubts {
            tracing::warn!("{doubt}");
        }
        let before = std::mem::replace(&mut self.upstreams, settings.upstreams);
        let kept: Vec<(Named, Origins)> =
            before.into_iter().zip(self.gateway.upstreams()).collect();
        let upstreams = upstreams(&self.upstreams, self.files, self.readers, &kept);
        self.admin.follow(&settings.admin_access);
        let listeners = self.follow(&settings.listeners);
        let gateway = GatewayConfig { listeners, ..settings.gateway };
        // Before an answer tells a tag so that nobody purges it by.
        if settings.outbox.tells_tags {
            self.cdns.tells_tags();
        }
        self.gateway.reload(upstreams, settings.ways, gateway);
        self.reloads.applied();
        tracing::info!("the settings are those of {} as it is now", file.display());
        if !later.is_empty() {
            tracing::warn!("what changes only with a restart: {}", later.join(", "));
        }
    }
}

impl Reloader {
    /// What changes at once for the listeners that are there, each found again by its place; their rules of now.
    fn follow(&mut self, now: &[Listener]) -> Vec<ListenerRules> {
        for running in &mut self.listeners {
            let here = || now.iter().filter(|now| now.listen == running.listen);
            // Several may be at port 0, which is another one each time.
            let named = here().find(|now| now.name == running.name);
            let Some(now) = named.or_else(|| here().next()) else { continue };
            running.rules = now.rules.clone();
            if let Some(proxy) = &running.config.proxy {
                proxy.trust(now.rules.trusted_peers.clone());
            }
            if let (Some(tls), Some(now)) = (&running.config.tls, &now.config.tls) {
                tls.show(now);
            }
        }
        self.listeners.iter().map(|listener| listener.rules.clone()).collect()
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
