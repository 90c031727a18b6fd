//! Hearing: what a gateway that runs is told by signals, until it is to end.

use std::{future::Future, pin::Pin};

use larder_gateway::access::AccessLog;

use crate::{
    reload::Reloader,
    signals::{Heard, Reread, Signals},
    supervisor::Supervisor,
    upgrade::{Successor, Upgrade, UpgradeError, Upgrades},
};

/// Who is told of what was heard.
pub(crate) struct Hearing<'a> {
    pub(crate) access_log: &'a Option<AccessLog>,
    pub(crate) supervisor: &'a Supervisor,
    pub(crate) upgrades: &'a Upgrades,
}

type Upgrading<'a> = Pin<Box<dyn Future<Output = Result<Successor, UpgradeError>> + 'a>>;

impl Hearing<'_> {
    /// Until it is told to stop, or another process has taken over: that is returned.
    pub(crate) async fn until_told(
        &self,
        signals: &mut Signals,
        reloader: &mut Reloader,
        upgrade: &Upgrade,
    ) -> Option<Successor> {
        let mut upgrading: Option<Upgrading<'_>> = None;
        loop {
            let heard = tokio::select! {
                heard = signals.next() => heard,
                upgraded = running(&mut upgrading) => {
                    upgrading = None;
                    match upgraded {
                        Ok(successor) => return Some(successor),
                        Err(error) => {
                            tracing::error!("this process goes on: {error}");
                            self.upgrades.failed(&error);
                            self.supervisor.ready(self.upgrades.note()()).await;
                            continue;
                        }
                    }
                }
            };
            match heard {
                Heard::Stop => return None,
                Heard::Reopen => self.reopen(),
                Heard::Reread(reread) => self.reread(reloader, reread).await,
                Heard::Upgrade if upgrading.is_some() => {
                    tracing::info!("SIGUSR2 changes nothing: a new process is started already");
                }
                Heard::Upgrade => {
                    self.supervisor.upgrading().await;
                    upgrading = Some(Box::pin(upgrade.run()));
                }
            }
        }
    }

    /// Until it is told to stop once more, while it comes to its end.
    pub(crate) async fn until_told_again(&self, signals: &mut Signals) {
        loop {
            match signals.next().await {
                Heard::Stop => return,
                Heard::Reopen => self.reopen(),
                Heard::Upgrade => {
                    tracing::info!("SIGUSR2 changes nothing: this process comes to its end");
                }
                Heard::Reread(Reread::Told) => {
                    tracing::info!("SIGHUP changes nothing: this process comes to its end");
                }
                Heard::Reread(Reread::IfChanged) => {}
            }
        }
    }

    fn reopen(&self) {
        match self.access_log {
            Some(access_log) => access_log.reopen(),
            None => tracing::info!("SIGUSR1 changes nothing: there is no access log"),
        }
    }

    async fn reread(&self, reloader: &mut Reloader, reread: Reread) {
        let is_told = reread == Reread::Told;
        if is_told {
            self.supervisor.reloading().await;
        }
        reloader.hear(reread);
        if is_told {
            self.supervisor.ready(reloader.reloads.note()()).await;
        }
    }
}

/// The upgrade that runs, if one does; never ready otherwise.
async fn running<F: Future + Unpin>(upgrading: &mut Option<F>) -> F::Output {
    match upgrading {
        Some(upgrading) => upgrading.await,
        None => std::future::pending().await,
    }
}
