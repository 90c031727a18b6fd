//! Lease: the right to fetch, for one among all who share the server.
//!
//! It is a key with a random token in it. A task holds it: it takes it, makes it last while it is wanted, and gives it
//! back, in this order, whatever becomes of those who asked. So one that was granted to somebody who no longer listens
//! is given back at once.
//!
//! Who does not get it waits for a message that it has been given back. Messages may be missed, so he looks from time
//! to time as well.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::redis::{RedisError, Script, cmd};
use futures_util::StreamExt;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{Shared, address::Address, connect::failed};
use crate::{
    sync::{self, watch},
    tier::lower::{Lease, LeaseAnswer, LogPart, LowerError},
};

static RENEW: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/renew_lease.lua")));
static GIVE_BACK: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/give_back.lua")));

/// Who waits looks so often whether he may have it.
const LOOK: Duration = Duration::from_millis(250);
/// A call of a task's own takes no longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a task tells who asked for a lease.
enum Taken {
    /// Until this is dropped.
    Granted(oneshot::Sender<()>),
    BySomebody,
}

impl Shared {
    pub(super) async fn lease(
        self: &Arc<Self>,
        key: &str,
        wanted: &str,
        log: LogPart,
        length: Duration,
    ) -> Result<LeaseAnswer, LowerError> {
        let name = self.names.lease(key, wanted);
        let (told, answer) = oneshot::channel();
        sync::spawn(hold(Arc::clone(self), name.clone(), length, told));
        // A task that is gone went with its runtime.
        match answer.await.unwrap_or(Err(LowerError::Reconciling))? {
            Taken::Granted(wanted) => {
                let lease = Lease::new(move || drop(wanted));
                let heads = self.heads(key, log).await?;
                Ok(LeaseAnswer::Granted { lease, heads })
            }
            Taken::BySomebody => {
                let ended = Box::pin(ended(Arc::clone(self), name));
                Ok(LeaseAnswer::Held { until: length, ended })
            }
        }
    }
}

/// From the question for a lease to its end.
async fn hold(
    tier: Arc<Shared>,
    name: String,
    length: Duration,
    mut told: oneshot::Sender<Result<Taken, LowerError>>,
) {
    let token = format!("{:032x}", sync::random());
    let taken = tokio::select! {
        // Chance decides nothing: a seed of the simulation makes one run.
        biased;
        taken = tier.take(&name, &token, length) => Some(taken),
        // It may be granted yet.
        () = told.closed() => None,
    };
    match taken {
        Some(Ok(true)) => {
            let (wanted, mut unwanted) = oneshot::channel();
            if told.send(Ok(Taken::Granted(wanted))).is_ok() {
                while timeout(length / 3, &mut unwanted).await.is_err() {
                    let renewed = timeout(PATIENCE, tier.renew_lease(&name, &token, length)).await;
                    if let Ok(Ok(false)) = renewed {
                        return;
                    }
                }
            }
        }
        Some(Ok(false)) => {
            told.send(Ok(Taken::BySomebody)).ok();
            return;
        }
        Some(Err(error)) => {
            told.send(Err(error)).ok();
        }
        None => {}
    }
    // If it fails the lease ends by itself.
    timeout(PATIENCE, tier.give_back(&name, &token)).await.ok();
}

impl Shared {
    async fn take(&self, name: &str, token: &str, length: Duration) -> Result<bool, LowerError> {
        let mut command = cmd("SET");
        command.arg(name).arg(token).arg("NX").arg("PX").arg(millis(length));
        let answer: Option<String> = self.lines.heads().await?.ask(&command).await?;
        Ok(answer.is_some())
    }

    async fn renew_lease(
        &self,
        name: &str,
        token: &str,
        length: Duration,
    ) -> Result<bool, LowerError> {
        let mut link = self.lines.heads().await?;
        let mut script = RENEW.key(name);
        script.arg(token).arg(millis(length)).invoke_async(&mut link).await.map_err(failed)
    }

    async fn give_back(&self, name: &str, token: &str) -> Result<(), LowerError> {
        let mut link = self.lines.heads().await?;
        let mut script = GIVE_BACK.key(name);
        let script = script.arg(token).arg(self.names.leases());
        script.invoke_async(&mut link).await.map_err(failed)
    }

    /// The token of who has the lease. A server that does not answer is taken for nobody: who waits goes on.
    async fn holder(&self, name: &str) -> Option<String> {
        let mut command = cmd("GET");
        command.arg(name);
        let asked = timeout(LOOK, async { self.lines.heads().await?.ask(&command).await });
        asked.await.ok()?.ok()?
    }
}

/// Ready when somebody's lease has ended. Another one may have it by then, to whom what the first has written is of no
/// use: to who waits here it may be.
async fn ended(tier: Arc<Shared>, name: String) {
    let mut waiting = tier.messages.wait_for(&name, &tier);
    let mut first = None;
    loop {
        let seen = *waiting.news.borrow();
        let Some(holder) = tier.holder(&name).await else { return };
        if *first.get_or_insert_with(|| holder.clone()) != holder {
            return;
        }
        timeout(LOOK, waiting.news.wait_for(|news| *news != seen)).await.ok();
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Messages of leases that were given back, for those who wait here. One connection listens for all of them, from
/// when the first of them waits.
#[derive(Default)]
pub(super) struct Messages {
    waiting: Arc<ByName>,
    listener: Mutex<Option<Listener>>,
}

/// Who waits for which lease.
#[derive(Default)]
struct ByName(Mutex<HashMap<String, watch::Sender<u64>>>);

/// A task that ends with this.
struct Listener(JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One who waits.
struct Waiting {
    /// How often it was given back.
    news: watch::Receiver<u64>,
    name: String,
    of: Arc<ByName>,
}

impl Messages {
    fn wait_for(&self, name: &str, tier: &Shared) -> Waiting {
        let news = {
            let mut waiting = self.waiting.lock();
            waiting.entry(name.to_owned()).or_insert_with(|| watch::channel(0).0).subscribe()
        };
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        // It ends with its runtime, and never otherwise.
        if listener.as_ref().is_none_or(|listener| listener.0.is_finished()) {
            let (address, channel) = (Arc::clone(tier.lines.address()), tier.names.leases());
            let listening = listen(address, channel, Arc::clone(&self.waiting));
            *listener = Some(Listener(tokio::spawn(listening)));
        }
        Waiting { news, name: name.to_owned(), of: Arc::clone(&self.waiting) }
    }
}

impl ByName {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, name: &str) {
        if let Some(sender) = self.lock().get(name) {
            tell(sender);
        }
    }

    fn tell_all(&self) {
        for sender in self.lock().values() {
            tell(sender);
        }
    }
}

fn tell(sender: &watch::Sender<u64>) {
    sender.send_if_modified(|news| {
        *news += 1;
        true
    });
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.of.lock();
        // This one is still counted.
        if waiting.get(&self.name).is_some_and(|sender| sender.receiver_count() <= 1) {
            waiting.remove(&self.name);
        }
    }
}

async fn listen(address: Arc<Address>, channel: String, waiting: Arc<ByName>) {
    loop {
        // Whoever waits looks by himself while there is no connection.
        listen_once(&address, &channel, &waiting).await.ok();
        sleep(LOOK).await;
    }
}

async fn listen_once(address: &Address, channel: &str, waiting: &ByName) -> Result<(), RedisError> {
    let mut messages = address.subscriber().await?;
    messages.subscribe(channel).await?;
    // What was given back before is told to nobody.
    waiting.tell_all();
    let mut messages = messages.into_on_message();
    while let Some(message) = messages.next().await {
        waiting.tell(&String::from_utf8_lossy(message.get_payload_bytes()));
    }
    Ok(())
}
