//! Journal: what must outlive this process, in one bounded file that a thread writes.
//!
//! Entries have numbers, which grow, and payloads. Whoever adds one goes on at once; a thread writes all that have
//! come within a few milliseconds, and syncs once for them. Whoever must know waits for its [`Written`]. What is done
//! before it was written never is.
//!
//! ```text
//! caller   add 7   add 8   done 7                    add 9
//! thread                            writes 8, syncs           writes 9, syncs
//! ```
//!
//! A disk that fails is nobody's error: entries stay in memory, the file is written anew again and again until that
//! succeeds, and meanwhile everybody is told why. What it holds is bounded by who adds: see [`Journal::has_room`].

mod file;
mod record;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::watch;

use self::file::OnDisk;
pub use self::file::OutboxError;

/// The most bytes of entries that are not done.
const MAX_LIVE_BYTES: usize = 32 << 20;
/// So much of the file may be of no use, and as much as is.
const MAX_DEAD_BYTES: u64 = 1 << 20;
/// What comes within this time of the first is written with it. What is done by then is not written at all, as most of it
/// is while all goes well.
const GATHER: Duration = Duration::from_millis(2);
/// While something waits in it, it is looked so often whether the file is still there.
const LOOK: Duration = Duration::from_secs(5);
/// After a failure the next try waits so long, then twice as long, and so on.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(10);
/// Whoever drops a journal waits so long for what is still to be written.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// How far the file is.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Entries up to this number are on disk, or done.
    pub to: u64,
    /// Why nothing is written, where that has failed.
    pub failure: Option<Arc<str>>,
    /// How often it has failed.
    pub failures: u64,
}

/// A file, and the thread that writes it.
pub struct Journal(Arc<Shared>);

struct Shared {
    /// Held for moments.
    state: Mutex<State>,
    /// There is something to do, or the thread has ended.
    changed: Condvar,
    written: watch::Sender<Written>,
}

#[derive(Default)]
struct State {
    /// What is not done. What is in the file comes first.
    live: BTreeMap<u64, Arc<[u8]>>,
    live_bytes: usize,
    /// The highest number of an entry, done or not.
    added_to: u64,
    /// Entries up to this number are in the file, or about to be, or were done before.
    taken_to: u64,
    /// What is done of those, and not yet known to the file.
    done: Vec<u64>,
    /// The file is to be written anew: then nothing needs to be said of what is done.
    is_to_be_replaced: bool,
    /// A part of the file is lost, and nothing stands for it yet. It is written anew with what does, and left as it is
    /// until then: whoever opens it next is to know.
    is_damaged: bool,
    is_closing: bool,
    has_ended: bool,
    /// There is no file, and no thread.
    #[cfg(all(test, not(shuttle)))]
    is_in_memory: bool,
}

/// What was found in a file.
#[derive(Default)]
pub struct Found {
    /// The entries that were not done, in their order.
    pub entries: Vec<(u64, Vec<u8>)>,
    /// Numbers that were given are no higher.
    pub last: u64,
    /// There were others, which cannot be read. The next entry that is added is to stand for them: the file is left as
    /// it is until then.
    pub is_damaged: bool,
    /// So many bytes at its end are no whole entry: what a crash leaves of one that nobody was told to be on disk, or what
    /// is left where somebody has cut off the end.
    pub torn_bytes: usize,
}

impl Journal {
    /// Opens the file, or makes it, and begins to write it.
    pub fn open(path: &Path) -> Result<(Journal, Found), OutboxError> {
        let (file, read) = OnDisk::open(path)?;
        let record::Read { live, last, is_damaged, torn_bytes, sound_bytes: _ } = read;
        let entries: Vec<_> = live.into_iter().collect();
        let shared = |(number, payload): &(u64, Vec<u8>)| (*number, Arc::from(payload.as_slice()));
        let live: BTreeMap<u64, Arc<[u8]>> = entries.iter().map(shared).collect();
        let live_bytes = live.values().map(|payload| record::bytes_of(payload)).sum();
        let (added_to, taken_to) = (last, last);
        let state = State { live, live_bytes, added_to, taken_to, is_damaged, ..State::default() };
        let written = watch::Sender::new(Written { to: last, ..Written::default() });
        let shared = Arc::new(Shared { state: state.into(), changed: Condvar::new(), written });
        let of_thread = Arc::clone(&shared);
        let spawned = thread::Builder::new().name("larder-outbox".to_owned()).spawn(move || {
            let _ended = Ended(Arc::clone(&of_thread));
            Writer { shared: of_thread, file, _ended }.run();
        });
        spawned.map_err(|source| OutboxError::Io { what: "no thread can write it", source })?;
        Ok((Journal(shared), Found { entries, last, is_damaged, torn_bytes }))
    }

    /// Whether there is room for one more.
    pub fn has_room(&self, payload_bytes: usize) -> bool {
        self.0.lock().live_bytes.saturating_add(payload_bytes) <= MAX_LIVE_BYTES
    }

    /// The bytes of what is not done.
    pub fn live_bytes(&self) -> usize {
        self.0.lock().live_bytes
    }

    /// Adds an entry. Its number is higher than all before.
    pub fn add(&self, number: u64, payload: Vec<u8>) {
        let mut state = self.0.lock();
        state.live_bytes += record::bytes_of(&payload);
        state.live.insert(number, payload.into());
        state.added_to = state.added_to.max(number);
        #[cfg(all(test, not(shuttle)))]
        if state.is_in_memory {
            drop(state);
            self.0.written.send_replace(Written { to: number, ..Written::default() });
            return;
        }
        self.0.changed.notify_all();
    }

    /// Puts an entry in whose number may have been given before, also for another: the file is written anew.
    pub(crate) fn put(&self, number: u64, payload: Vec<u8>) {
        let mut state = self.0.lock();
        state.live_bytes += record::bytes_of(&payload);
        if let Some(other) = state.live.insert(number, payload.into()) {
            state.live_bytes -= record::bytes_of(&other);
        }
        state.added_to = state.added_to.max(number);
        state.is_to_be_replaced = true;
        self.0.changed.notify_all();
    }

    /// These are of no use any more.
    pub fn done(&self, numbers: &[u64]) {
        let mut state = self.0.lock();
        for number in numbers {
            let Some(payload) = state.live.remove(number) else { continue };
            state.live_bytes -= record::bytes_of(&payload);
            if *number <= state.taken_to && !state.is_to_be_replaced {
                state.done.push(*number);
            }
        }
        self.0.changed.notify_all();
    }

    /// How far it is, from now on.
    pub fn written(&self) -> watch::Receiver<Written> {
        self.0.written.subscribe()
    }

    /// Until what was added is on disk, or cannot be.
    pub async fn flush(&self) {
        let last = self.0.lock().live.last_key_value().map_or(0, |(number, _)| *number);
        let is_over = |written: &Written| written.to >= last || written.failure.is_some();
        // Its sender lives as long as this.
        self.written().wait_for(is_over).await.ok();
    }
}

#[cfg(all(test, not(shuttle)))]
impl Journal {
    /// What the next process finds in it.
    pub(crate) fn left(&self) -> Found {
        let live = &self.0.lock().live;
        let entries = live.iter().map(|(number, payload)| (*number, payload.to_vec())).collect();
        let last = self.0.written.borrow().to;
        Found { entries, last, ..Found::default() }
    }
}

#[cfg(all(test, not(shuttle), feature = "redis"))]
impl Journal {
    /// One of a simulation, which needs no disk: what is added is there at once, and is found by who goes on with it.
    pub(crate) fn in_memory(found: &Found) -> Journal {
        let shared = |(number, payload): &(u64, Vec<u8>)| (*number, Arc::from(payload.as_slice()));
        let live: BTreeMap<u64, Arc<[u8]>> = found.entries.iter().map(shared).collect();
        let live_bytes = live.values().map(|payload| record::bytes_of(payload)).sum();
        let (is_in_memory, has_ended) = (true, true);
        let state = State { live, live_bytes, is_in_memory, has_ended, ..State::default() };
        let written = watch::Sender::new(Written { to: found.last, ..Written::default() });
        Journal(Arc::new(Shared { state: state.into(), changed: Condvar::new(), written }))
    }

    /// The same one, for who looks into it.
    pub(crate) fn twin(&self) -> Journal {
        Journal(Arc::clone(&self.0))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closing = true;
        self.0.changed.notify_all();
        let goes_on = |state: &mut State| !state.has_ended;
        // A disk that hangs keeps the thread, and nobody else.
        drop(self.0.changed.wait_timeout_while(state, LAST_WAIT, goes_on));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be done with the file.
enum Work {
    Append {
        entries: BTreeMap<u64, Arc<[u8]>>,
        done: Vec<u64>,
    },
    Replace {
        live: BTreeMap<u64, Arc<[u8]>>,
    },
    Clear,
    /// Whether it is still there.
    Look,
}

struct Writer {
    shared: Arc<Shared>,
    file: OnDisk,
    /// Dropped after the file, which another process may have then.
    _ended: Ended,
}

/// Tells that the thread has ended, in whichever way.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        self.0.changed.notify_all();
    }
}

impl Writer {
    fn run(mut self) {
        let mut rest = FIRST_REST;
        while let Some((work, to)) = self.next() {
            match self.act(&work) {
                Ok(()) => {
                    rest = FIRST_REST;
                    self.shared.written.send_if_modified(|written| {
                        let is_news = written.to < to || written.failure.is_some();
                        (written.to, written.failure) = (to.max(written.to), None);
                        is_news
                    });
                }
                Err(error) => {
                    self.failed(&error);
                    if !self.pause(rest) {
                        return;
                    }
                    rest = (rest * 2).min(LONGEST_REST);
                }
            }
        }
    }

    /// What is to be done now, and which number has been reached then. `None`: nothing, and nothing will be.
    fn next(&self) -> Option<(Work, u64)> {
        let changed = &self.shared.changed;
        let is_idle = |state: &mut State| !state.has_work() && !state.is_closing;
        let mut state = self.shared.lock();
        while is_idle(&mut state) {
            let waited = changed.wait_timeout_while(state, LOOK, is_idle);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let looks = !state.live.is_empty() && !state.is_damaged;
            if looks && is_idle(&mut state) {
                return Some((Work::Look, state.taken_to));
            }
        }
        let gathers = |state: &mut State| !state.is_closing;
        let gathered = changed.wait_timeout_while(state, GATHER, gathers);
        let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        // What has come may be done by now.
        match state.has_work() {
            false if state.is_closing => None,
            _ => Some(state.take(self.file.bytes())),
        }
    }

    fn act(&mut self, work: &Work) -> io::Result<()> {
        match work {
            Work::Append { entries, done } => self.file.append(entries, done),
            Work::Replace { live } => {
                self.file.replace(live.iter().map(|(number, payload)| (*number, &**payload)))
            }
            Work::Clear => self.file.clear(),
            Work::Look => self.file.is_in_place(),
        }
    }

    /// Nobody knows what the file has now: after a sync that failed, not even the system does.
    fn failed(&self, error: &io::Error) {
        let mut state = self.shared.lock();
        state.is_to_be_replaced = true;
        state.done = Vec::new();
        drop(state);
        self.shared.written.send_modify(|written| {
            written.failure = Some(error.to_string().into());
            written.failures += 1;
        });
    }

    /// False: the journal is closed, and there is no time for another try.
    fn pause(&self, rest: Duration) -> bool {
        let state = self.shared.lock();
        let goes_on = |state: &mut State| !state.is_closing;
        let waited = self.shared.changed.wait_timeout_while(state, rest, goes_on);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_closing
    }
}

impl State {
    fn has_work(&self) -> bool {
        // Also where all that is new is done: who waits for it is to hear of that.
        self.added_to > self.taken_to || !self.done.is_empty() || self.is_to_be_replaced
    }

    fn take(&mut self, file_bytes: u64) -> (Work, u64) {
        let dead_bytes = file_bytes.saturating_sub(self.live_bytes as u64);
        let is_to_be_replaced = self.is_to_be_replaced
            || self.is_damaged
            || dead_bytes > MAX_DEAD_BYTES && dead_bytes > self.live_bytes as u64;
        (self.is_to_be_replaced, self.is_damaged) = (false, false);
        let new = self.live.range(self.taken_to + 1..);
        let entries: BTreeMap<_, _> = new.map(|(number, it)| (*number, Arc::clone(it))).collect();
        self.taken_to = self.added_to;
        let done = std::mem::take(&mut self.done);
        let work = match () {
            () if is_to_be_replaced => Work::Replace { live: self.live.clone() },
            () if self.live.is_empty() => Work::Clear,
            () => Work::Append { entries, done },
        };
        (work, self.taken_to)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::{fs, path::PathBuf};

    use tempfile::TempDir;

    use super::*;

    fn place() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("outbox");
        (folder, path)
    }

    fn open(path: &Path) -> (Journal, Vec<u64>) {
        let (journal, found) = Journal::open(path).expect("a file of its own");
        assert!(!found.is_damaged);
        (journal, found.entries.iter().map(|(number, _)| *number).collect())
    }

    async fn written(journal: &Journal, is_so: impl FnMut(&Written) -> bool) -> Written {
        journal.written().wait_for(is_so).await.expect("it lives as long").clone()
    }

    #[tokio::test]
    async fn who_waits_for_what_was_done_before_it_was_written_hears_of_it() {
        let (_folder, path) = place();
        let (journal, _) = open(&path);
        for number in 1..=50 {
            journal.add(number, vec![1; 100]);
            journal.done(&[number]);
            written(&journal, |written| written.to == number).await;
        }
        // One of several, and the last of them.
        journal.add(51, vec![1; 100]);
        journal.add(52, vec![1; 100]);
        journal.done(&[52]);
        written(&journal, |written| written.to == 52).await;
        drop(journal);
        assert_eq!(open(&path).1, [51]);
    }

    #[tokio::test]
    async fn the_next_who_opens_it_finds_what_was_added_and_not_done_in_order() {
        let (_folder, path) = place();
        let (journal, found) = open(&path);
        assert!(found.is_empty());
        (1..=5).for_each(|number| journal.add(number, vec![number as u8; 100]));
        written(&journal, |written| written.to == 5).await;
        journal.done(&[2, 4]);
        journal.add(6, Vec::new());
        drop(journal);
        let (journal, found) = open(&path);
        assert_eq!(found, [1, 3, 5, 6]);
        journal.done(&[1, 3, 5, 6]);
        drop(journal);
        assert_eq!(open(&path).1, [0; 0]);
        assert_eq!(fs::read(&path).unwrap(), record::HEADER, "nothing in it is of use");
    }

    #[tokio::test]
    async fn one_at_a_time_has_it_and_what_is_something_else_is_left_as_it_is() {
        let (folder, path) = place();
        let (journal, _) = open(&path);
        assert!(matches!(Journal::open(&path), Err(OutboxError::InUse)));
        drop(journal);
        open(&path);
        for (name, bytes) in [("settings", "[shared]\n"), ("later", "larder outbox 2\n")] {
            let other = folder.path().join(name);
            fs::write(&other, bytes).unwrap();
            assert!(matches!(Journal::open(&other), Err(OutboxError::Foreign)), "{name}");
            assert_eq!(fs::read_to_string(&other).unwrap(), bytes);
        }
        assert!(matches!(Journal::open(folder.path()), Err(OutboxError::Foreign)));
        let nowhere = folder.path().join("none/outbox");
        assert!(matches!(Journal::open(&nowhere), Err(OutboxError::Io { .. })));
    }

    #[tokio::test]
    async fn that_it_is_damaged_is_found_again_until_something_stands_for_what_was_lost() {
        let (_folder, path) = place();
        let (journal, _) = open(&path);
        (1..=3).for_each(|number| journal.add(number, vec![0; 8]));
        drop(journal);
        let mut damaged = fs::read(&path).unwrap();
        damaged[record::HEADER.len()] ^= 1;
        fs::write(&path, &damaged).unwrap();
        // Whoever found it first has ended before it could do anything about it.
        for _ in 0..2 {
            let (journal, found) = Journal::open(&path).expect("a file of its own");
            assert!(found.is_damaged);
            assert_eq!(found.entries.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 3]);
            drop(journal);
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
        let (journal, found) = Journal::open(&path).expect("a file of its own");
        journal.add(found.last + 1, b"stands for it".to_vec());
        drop(journal);
        assert_eq!(open(&path).1, [2, 3, 4]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn by_whichever_name_it_is_called_one_at_a_time_has_it() {
        let (folder, path) = place();
        let [link, other] = ["link", "other"].map(|name| folder.path().join(name));
        // One that leads to nothing yet.
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::os::unix::fs::symlink(&path, &other).unwrap();
        let (journal, _) = open(&link);
        for name in [&path, &other] {
            assert!(matches!(Journal::open(name), Err(OutboxError::InUse)), "{name:?}");
        }
        journal.add(1, b"one".to_vec());
        drop(journal);
        assert_eq!(open(&path).1, [1]);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[tokio::test]
    async fn it_stays_small_however_much_goes_through_it() {
        let (_folder, path) = place();
        let (journal, _) = open(&path);
        journal.add(1, b"stays".to_vec());
        for number in 2..200 {
            journal.add(number, vec![0; 64 << 10]);
            written(&journal, |written| written.to == number).await;
            journal.done(&[number]);
        }
        drop(journal);
        let bytes = fs::metadata(&path).unwrap().len();
        assert!(bytes < 2 * MAX_DEAD_BYTES, "{bytes}");
        assert_eq!(open(&path).1, [1]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn one_that_somebody_has_taken_away_is_made_again_and_what_took_its_place_is_left() {
        let (folder, path) = place();
        let (journal, _) = open(&path);
        journal.add(1, b"one".to_vec());
        written(&journal, |written| written.to == 1).await;
        fs::remove_file(&path).unwrap();
        journal.add(2, b"two".to_vec());
        // It is told, and mended.
        written(&journal, |written| written.failures == 1).await;
        written(&journal, |written| written.to == 2 && written.failure.is_none()).await;
        // Nothing comes that would be written.
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        written(&journal, |written| written.failures == 2).await;
        written(&journal, |written| written.failure.is_none()).await;
        // It is cut off where it is.
        fs::File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
        journal.done(&[2]);
        written(&journal, |written| written.failures == 3).await;
        written(&journal, |written| written.failure.is_none()).await;
        // Somebody's own.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "[shared]\n").unwrap();
        journal.add(3, b"three".to_vec());
        let failed = written(&journal, |written| written.failures >= 5).await;
        assert!(failed.failure.is_some_and(|why| why.contains("left as it is")), "{:?}", failed.to);
        assert_eq!(fs::read_to_string(&path).unwrap(), "[shared]\n");
        fs::remove_file(&path).unwrap();
        written(&journal, |written| written.to == 3 && written.failure.is_none()).await;
        drop(journal);
        assert_eq!(open(&path).1, [1, 3]);
    }

    /// Where nothing more can be written beside it.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_on_which_it_has_all_the_room_is_no_end() {
        let (folder, path) = place();
        let (journal, _) = open(&path);
        (1..=3).for_each(|number| journal.add(number, vec![number as u8; 1 << 20]));
        written(&journal, |written| written.to == 3).await;
        let beside = folder.path().join("outbox.new");
        std::os::unix::fs::symlink("/dev/full", &beside).unwrap();
        journal.done(&[1, 2]);
        // What is done is told to nobody who waits for it.
        let is_small = async || (fs::metadata(&path).unwrap().len() < 2 << 20).then_some(());
        larder_test_support::eventually::eventually("the file to be small", is_small).await;
        assert_eq!(journal.written().borrow().failures, 0);
        journal.add(4, b"four".to_vec());
        written(&journal, |written| written.to == 4).await;
        drop(journal);
        assert_eq!(open(&path).1, [3, 4]);
    }

    #[tokio::test]
    async fn that_the_end_is_cut_off_is_said() {
        let (_folder, path) = place();
        let (journal, _) = open(&path);
        (1..=2).for_each(|number| journal.add(number, vec![1; 8]));
        drop(journal);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let (journal, found) = Journal::open(&path).expect("a file of its own");
        assert_eq!((found.entries.len(), found.torn_bytes), (1, record::bytes_of(&[0; 8]) - 3));
        drop(journal);
        let (_journal, found) = Journal::open(&path).expect("a file of its own");
        assert_eq!(found.torn_bytes, 0, "it is said once");
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_when_it_can_be_and_meanwhile_that_is_told() {
        let (folder, path) = place();
        let (journal, _) = open(&path);
        // The file is to be replaced by another one, which cannot be made.
        let in_the_way = folder.path().join("outbox.new");
        fs::create_dir(&in_the_way).unwrap();
        (1..=3).for_each(|number| journal.add(number, vec![0; 1 << 20]));
        written(&journal, |written| written.to == 3).await;
        journal.done(&[1, 2]);
        let failed = written(&journal, |written| written.failure.is_some()).await;
        assert!(failed.to == 3 && failed.failures > 0, "{failed:?}");
        journal.add(4, b"added meanwhile".to_vec());
        // Who waits for it is not kept waiting.
        journal.flush().await;
        fs::remove_dir(&in_the_way).unwrap();
        let again = written(&journal, |written| written.failure.is_none()).await;
        assert!(again.to == 4 && again.failures > 0, "{again:?}");
        drop(journal);
        assert_eq!(open(&path).1, [3, 4]);
    }
}
