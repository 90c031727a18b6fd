//! Listener: where connections come to: a TCP port, or a Unix socket.

use std::{
    fmt, fs, io, net,
    net::SocketAddr,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net as unix,
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

#[cfg(any(target_os = "android", target_os = "linux"))]
use socket2::SockRef;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::peer::PeerAddress;

/// How many bytes of an answer may wait in the system's buffers beyond what is on its way. Without this bound a
/// reader that takes nothing holds megabytes there, and filling them is what others wait for; with less, a
/// connection on a long way may run dry.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES: u32 = 128 << 10;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket at this path. One that is there already is replaced if nobody listens at it.
    Unix(PathBuf),
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        ListenAddress::Tcp(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A place that is taken and not yet served, so that one in use is found before anything starts. Dropping it frees it.
#[derive(Debug)]
pub struct Bound {
    address: ListenAddress,
    /// The system's own: on which event loop it will be is not known yet.
    socket: BoundSocket,
}

#[derive(Debug)]
enum BoundSocket {
    Tcp(net::TcpListener),
    /// Without a file that is another's to remove.
    Unix(unix::UnixListener, Option<SocketFile>),
}

impl Bound {
    /// Takes a place. `backlog` is how many connections may wait to be accepted, and `mode` who may open a Unix socket.
    ///
    /// # Errors
    ///
    /// What the system says: the place is in use, or not ours to have.
    pub fn take(address: &ListenAddress, backlog: u32, mode: u32) -> io::Result<Bound> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        match address {
            ListenAddress::Tcp(address) => {
                let listener = net::TcpListener::bind(address)?;
                // Again, for a longer backlog than the standard library's.
                rustix::net::listen(&listener, backlog)?;
                Bound::tcp(listener)
            }
            ListenAddress::Unix(path) => {
                let (listener, file) = open_at(path, backlog, mode)?;
                listener.set_nonblocking(true)?;
                let address = ListenAddress::Unix(path.clone());
                Ok(Bound { address, socket: BoundSocket::Unix(listener, Some(file)) })
            }
        }
    }

    /// Takes a TCP listener that is there already.
    ///
    /// # Errors
    ///
    /// If the system does not tell its address, or does not make it non-blocking.
    pub fn tcp(listener: net::TcpListener) -> io::Result<Bound> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.into();
        // Connections have it from the listener.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Err(error) = SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT_BYTES) {
            // A slow reader holds more memory then.
            tracing::debug!("cannot set TCP_NOTSENT_LOWAT: {error}");
        }
        Ok(Bound { address, socket: BoundSocket::Tcp(listener) })
    }

    /// Takes a listening Unix socket that is there already. `is_ours`: its file goes with it, as that of one that was
    /// taken here would.
    ///
    /// # Errors
    ///
    /// If the system does not tell its path, or does not make it non-blocking.
    pub fn unix(listener: unix::UnixListener, is_ours: bool) -> io::Result<Bound> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let path = address.as_pathname().ok_or(io::ErrorKind::AddrNotAvailable)?.to_owned();
        // It may be gone: then nothing is left to be removed.
        let file = is_ours.then(|| SocketFile::at(&path).ok()).flatten();
        let address = ListenAddress::Unix(path);
        Ok(Bound { address, socket: BoundSocket::Unix(listener, file) })
    }

    /// Another handle of the same socket, for another process. As long as any is open, connections wait at it.
    ///
    /// # Errors
    ///
    /// If the system has no more of them.
    pub fn share(&self) -> io::Result<OwnedFd> {
        Ok(match &self.socket {
            BoundSocket::Tcp(listener) => listener.try_clone()?.into(),
            BoundSocket::Unix(listener, _) => listener.try_clone()?.into(),
        })
    }

    /// By which the file of its socket outlives it, if it would be removed with it.
    pub fn file_keeper(&self) -> Option<FileKeeper> {
        match &self.socket {
            BoundSocket::Unix(_, Some(file)) => Some(FileKeeper(Arc::clone(&file.stays))),
            BoundSocket::Unix(_, None) | BoundSocket::Tcp(_) => None,
        }
    }

    /// Where it is; with the port that was chosen, if 0 was asked for.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// On the event loop that calls this.
    pub(super) fn open(self) -> io::Result<Listener> {
        Ok(match self.socket {
            BoundSocket::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            BoundSocket::Unix(listener, file) => {
                Listener::Unix(UnixListener::from_std(listener)?, file)
            }
        })
    }
}

/// Made, given its mode, and only then listened at: nobody gets in before that.
fn open_at(path: &Path, backlog: i32, mode: u32) -> io::Result<(unix::UnixListener, SocketFile)> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    if let Err(error) = socket.bind(&address) {
        let is_stale = error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path);
        if !is_stale {
            return Err(error);
        }
        fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    let file = SocketFile::at(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(backlog)?;
    Ok((OwnedFd::from(socket).into(), file))
}

/// Whether a socket is there at which nobody listens: who made it has ended without a word.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && unix::UnixStream::connect(path).err().is_some_and(refused)
}

/// The file of a Unix socket. Dropping it removes the file, unless another process has put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
    stays: Arc<AtomicBool>,
}

/// Keeps the file of a Unix socket: another process listens at it from then on.
#[derive(Clone, Debug)]
pub struct FileKeeper(Arc<AtomicBool>);

impl FileKeeper {
    /// The file stays where it is.
    pub fn keep(&self) {
        self.0.store(true, Relaxed);
    }
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<SocketFile> {
        let inode = fs::symlink_metadata(path)?.ino();
        Ok(SocketFile { path: path.into(), inode, stays: Arc::default() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.stays.load(Relaxed) {
            return;
        }
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            // The next start finds that nobody listens at it.
            tracing::debug!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// It accepts connections.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "it is there to be dropped")] Option<SocketFile>,
    ),
}

/// A connection that was accepted.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    pub(super) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Stream, PeerAddress)>> {
        match self {
            Listener::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, address)| {
                if let Err(error) = stream.set_nodelay(true) {
                    // Answers still arrive, only up to 40 ms later.
                    tracing::debug!("cannot set TCP_NODELAY: {error}");
                }
                (Stream::Tcp(stream), PeerAddress::Known(address))
            }),
            Listener::Unix(listener, _) => {
                let unix = |(stream, _)| (Stream::Unix(stream), PeerAddress::Unix);
                listener.poll_accept(cx).map_ok(unix)
            }
        }
    }
}

impl Stream {
    /// As the standard library has it. A connected socket is read, written and closed the same way, whatever its
    /// addresses are: so one type does for both, and what serves connections is compiled, and chooses, once.
    pub(super) fn into_std(self) -> io::Result<net::TcpStream> {
        match self {
            Stream::Tcp(stream) => stream.into_std(),
            Stream::Unix(stream) => Ok(OwnedFd::from(stream.into_std()?).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let address = ListenAddress::Unix(path.clone());
        let take = || Bound::take(&address, 8, 0o600);
        let bound = take().unwrap();
        assert_eq!(mode_of(&path), 0o600);
        assert_eq!(take().unwrap_err().kind(), io::ErrorKind::AddrInUse, "it is in use");
        drop(bound);
        assert!(!path.exists(), "it is removed with its end");
        // As a process leaves it that is killed.
        drop(unix::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = take().unwrap();
        // Another one has taken its place.
        fs::remove_file(&path).unwrap();
        let other = unix::UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists(), "it is another's");
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "text").unwrap();
        assert!(take().is_err());
        assert_eq!(fs::read(&path).unwrap(), b"text");
    }
}
