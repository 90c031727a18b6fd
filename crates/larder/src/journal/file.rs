//! File: a journal on disk, which one process at a time has.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::record::{self, HEADER, Read};

/// None that was written here is longer.
const MAX_BYTES: u64 = 256 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// Two who write would lose each other's purges.
    #[error("another process uses it")]
    InUse,
    /// It would be overwritten.
    #[error("it is no outbox of this version of Larder, and is left as it is")]
    Foreign,
    /// It cannot be read, or not be written.
    #[error("{what}")]
    Io {
        /// What could not be done.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A journal that is open for writing.
pub(super) struct OnDisk {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Nobody else writes while this is open. A file of its own, which stays when the journal is replaced.
    _lock: File,
}

fn io(what: &'static str) -> impl Fn(io::Error) -> OutboxError {
    move |source| OutboxError::Io { what, source }
}

impl OnDisk {
    /// Opens it, or makes it, and says what is in it. One that is damaged is left as it is: it is to be
    /// [replaced](OnDisk::replace) before anything is written at its end.
    pub(super) fn open(path: &Path) -> Result<(Self, Read), OutboxError> {
        match fs::metadata(path) {
            // A pipe would be waited for, and a device has no end.
            Ok(found) if !found.is_file() || found.len() > MAX_BYTES => {
                return Err(OutboxError::Foreign);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io("it cannot be looked at")(error));
            }
            Ok(_) | Err(_) => {}
        }
        // By one name, whichever links lead to it, or two would have it. It has one when it is there.
        let opened = options().read(true).truncate(false).open(path);
        opened.map_err(io("it cannot be opened for writing"))?;
        let path = &path.canonicalize().map_err(io("it cannot be looked at"))?;
        let lock = lock(&beside(path, ".lock"))?;
        // One that was not finished. Where there is none, or none that can be removed, nothing is lost.
        fs::remove_file(beside(path, ".new")).ok();
        // Another one may have put a new one in its place before it gave it up.
        let opened = options().read(true).truncate(false).open(path);
        let mut file = opened.map_err(io("it cannot be opened for writing"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io("it cannot be read"))?;
        let read = record::read(&bytes).ok_or(OutboxError::Foreign)?;
        let mut on_disk =
            OnDisk { path: path.to_owned(), file, bytes: read.sound_bytes as u64, _lock: lock };
        let is_torn = read.sound_bytes < bytes.len() || read.sound_bytes == 0;
        if is_torn && !read.is_damaged {
            let live = read.live.iter().map(|(number, payload)| (*number, payload.as_slice()));
            on_disk.replace(live).map_err(io("it cannot be written"))?;
        }
        Ok((on_disk, read))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes these at the end. They are on disk once it has returned, where they must be.
    pub(super) fn append(
        &mut self,
        entries: &BTreeMap<u64, Arc<[u8]>>,
        done: &[u64],
    ) -> io::Result<()> {
        self.is_in_place()?;
        let mut bytes = Vec::new();
        if entries.is_empty() && done.is_empty() {
            return Ok(());
        }
        // In this order: what takes the place of others is there before they go.
        entries.iter().for_each(|(number, payload)| {
            record::put_entry(&mut bytes, *number, payload);
        });
        if !done.is_empty() {
            record::put_done(&mut bytes, done);
        }
        self.file.seek(SeekFrom::Start(self.bytes))?;
        self.file.write_all(&bytes)?;
        // Something that was done and is not known to be costs a purge that is made twice.
        if !entries.is_empty() {
            self.file.sync_data()?;
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Whether the next who opens the file finds this one as it was written. Otherwise somebody has removed it, or moved it away,
    /// or cut it off, and whatever is written is written for nobody.
    pub(super) fn is_in_place(&self) -> io::Result<()> {
        let is_gone = match fs::metadata(&self.path) {
            Ok(found) => found.len() != self.bytes || !is_same(&found, &self.file.metadata()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        match is_gone {
            true => Err(io::Error::other("somebody has removed the file, or written to it")),
            false => Ok(()),
        }
    }

    /// Nothing in it is of use any more.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        if self.bytes == HEADER.len() as u64 {
            return Ok(());
        }
        self.file.set_len(HEADER.len() as u64)?;
        self.bytes = HEADER.len() as u64;
        Ok(())
    }

    /// Where there is no room for another file beside it, what is of no use in this one may be all the room there is. A crash in
    /// between leaves records behind bytes that are none, which stand for everything; to wait for room would cost all that comes,
    /// until somebody makes some.
    fn replace_in_place(&mut self, bytes: &[u8], error: io::Error) -> io::Result<()> {
        let is_full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        let found = fs::metadata(&self.path)?;
        if !is_full || !is_same(&found, &self.file.metadata()?) || found.len() < bytes.len() as u64
        {
            return Err(error);
        }
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(bytes)?;
        self.file.set_len(bytes.len() as u64)?;
        self.file.sync_all()?;
        self.bytes = bytes.len() as u64;
        Ok(())
    }

    /// What stands in its place now may be somebody else's, who would lose it.
    fn is_ours(&self) -> io::Result<()> {
        let mut begins = Vec::new();
        match File::open(&self.path) {
            Ok(found) => found.take(HEADER.len() as u64).read_to_end(&mut begins)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        match HEADER.starts_with(&begins) {
            true => Ok(()),
            false => Err(io::Error::other(
                "somebody has put another file in its place, which is left as it is",
            )),
        }
    }

    /// Makes another one with these alone, and puts it in the place of this one.
    pub(super) fn replace<'a>(
        &mut self,
        live: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> io::Result<()> {
        self.is_ours()?;
        let new = beside(&self.path, ".new");
        let mut bytes = HEADER.to_vec();
        live.for_each(|(number, payload)| record::put_entry(&mut bytes, number, payload));
        let file = match write_anew(&new, &bytes) {
            Ok(file) => file,
            Err(error) => {
                fs::remove_file(&new).ok();
                return self.replace_in_place(&bytes, error);
            }
        };
        fs::rename(&new, &self.path)?;
        // The name is on disk when its folder is.
        if let Some(folder) = self.path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder)?.sync_all()?;
        }
        (self.file, self.bytes) = (file, bytes.len() as u64);
        Ok(())
    }
}

#[cfg(unix)]
fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Nobody moves a file away that is open.
#[cfg(not(unix))]
fn is_same(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

fn write_anew(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = options().read(true).truncate(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

fn lock(path: &Path) -> Result<File, OutboxError> {
    let file = options().truncate(false).open(path);
    let file = file.map_err(io("a file beside it, by which it is locked, cannot be opened"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutboxError::InUse),
        Err(TryLockError::Error(error)) => Err(io("it cannot be locked")(error)),
    }
}

/// What is purged may be nobody else's business.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
