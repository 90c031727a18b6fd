//! Overlap: while two processes serve, what is purged in one is purged in the other.
//!
//! The one before still answers what comes on its connections, from its own memory. Over a shared tier both hear of each
//! other's purges by its log; without one they tell each other, over the socket by which they changed places.

use std::io;

use larder::{Event, Events, Observed, Purge, http::HttpCache};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Longer names are not told: everything is purged for them.
const MOST_BYTES: usize = 1 << 20;
/// Everything, hard: what stands for purges that cannot be told one by one.
const EVERYTHING: &str = "hard everything";

/// Goes on until the other process has ended. `events` are those of `cache` from before the other one served, or since.
/// Dropping it ends that; the other one then takes this for its end.
pub(crate) async fn tell_each_other(
    talk: UnixStream,
    events: Events,
    cache: HttpCache,
    has_shared_tier: bool,
) {
    let (reads, writes) = talk.into_split();
    let over = match has_shared_tier {
        true => until_it_ends(reads).await,
        false => exchange(reads, writes, &cache, events).await,
    };
    if let Err(error) = over
        && error.kind() != io::ErrorKind::UnexpectedEof
    {
        tracing::debug!("the other process hears of no more purges: {error}");
    }
}

async fn until_it_ends(mut reads: OwnedReadHalf) -> io::Result<()> {
    reads.read_u8().await.map(|_| ())
}

async fn exchange(
    reads: OwnedReadHalf,
    mut writes: OwnedWriteHalf,
    cache: &HttpCache,
    mut events: Events,
) -> io::Result<()> {
    // Read whole by a task of its own: half a message must not be lost to an event that comes between.
    let (heard, mut hears) = tokio::sync::mpsc::channel(16);
    let reading = async move {
        let mut reads = reads;
        loop {
            let message = read(&mut reads).await;
            let is_last = message.is_err();
            if heard.send(message).await.is_err() || is_last {
                return std::future::pending().await;
            }
        }
    };
    let working = async {
        // What came from there is not told back.
        let mut learnt = Vec::new();
        loop {
            tokio::select! {
                biased;
                message = hears.recv() => {
                    let Some(message) = message else { return Ok(()) };
                    if let Ok(receipt) = cache.purge(purge_of(&message?)).await {
                        learnt.push(receipt.number);
                    }
                }
                event = events.next() => match event {
                    None => return Ok(()),
                    Some(Observed::Lost(_)) => {
                        learnt.clear();
                        write(&mut writes, EVERYTHING).await?;
                    }
                    Some(Observed::Event(Event::Purged { what, soft, number })) => {
                        match learnt.iter().position(|learnt| *learnt == number) {
                            Some(place) => _ = learnt.swap_remove(place),
                            None => write(&mut writes, &told(&what, soft)).await?,
                        }
                    }
                    Some(Observed::Event(_)) => {}
                }
            }
        }
    };
    tokio::select! {
        over = working => over,
        never = reading => never,
    }
}

fn told(what: &str, soft: bool) -> String {
    let mode = if soft { "soft" } else { "hard" };
    match what.len() {
        0..MOST_BYTES => format!("{mode} {what}"),
        _ => EVERYTHING.to_owned(),
    }
}

/// What is not understood stands for everything: the other process may be of another version.
fn purge_of(message: &str) -> Purge {
    let (mode, what) = message.split_once(' ').unwrap_or_default();
    let purge = match what.split_once(' ') {
        Some(("key", key)) => Purge::key(key),
        Some(("prefix", prefix)) => Purge::prefix(prefix),
        Some(("tag", tag)) => Purge::tag(tag),
        _ => Purge::everything(),
    };
    let is_understood = !matches!(purge.scope, larder::Scope::Everything) || what == "everything";
    if mode == "soft" && is_understood { purge } else { purge.hard() }
}

async fn write(writes: &mut OwnedWriteHalf, message: &str) -> io::Result<()> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    writes.write_u32(length).await?;
    writes.write_all(message.as_bytes()).await
}

async fn read(reads: &mut OwnedReadHalf) -> io::Result<String> {
    let length = reads.read_u32().await? as usize;
    if length > MOST_BYTES + 16 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    reads.read_exact(&mut bytes).await?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use larder::{Mode, Scope};

    use super::*;

    #[test]
    fn a_purge_arrives_as_it_was_made_and_what_is_not_understood_is_everything() {
        for (scope, soft) in [
            (Scope::Key("http://a/b c".into()), true),
            (Scope::Prefix("http://a/".into()), false),
            (Scope::Tag("posts and more".into()), true),
            (Scope::Everything, true),
            (Scope::Everything, false),
        ] {
            let purge = purge_of(&told(&scope.to_string(), soft));
            assert_eq!((&purge.scope, purge.mode == Mode::Soft), (&scope, soft), "{scope}");
        }
        for text in ["", "soft", "soft glob http://a/*", "soft star a", "hard"] {
            let purge = purge_of(text);
            assert_eq!((purge.scope, purge.mode), (Scope::Everything, Mode::Hard), "{text}");
        }
        let long = told(&format!("key {}", "x".repeat(MOST_BYTES)), true);
        assert_eq!(long, EVERYTHING);
    }
}
