//! Socket activation: sockets that somebody else has opened, handed over as systemd does.

use std::{
    io,
    net::{TcpListener, UdpSocket},
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::Path,
    process::Command,
};

use command_fds::{CommandFdExt, FdMapping};
use larder_test_support::process::Process;
use rustix::process::Signal;

use crate::{
    site::{exists, service},
    support::{Wire, larder::Larder},
};

/// With its own process number in the environment, as systemd says it.
fn command(folder: &Path, sockets: Vec<OwnedFd>, names: &str) -> Command {
    let count = sockets.len().to_string();
    let script = "LISTEN_PID=$$ exec \"$0\" serve";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_larder")]).env_clear().current_dir(folder);
    command.env("LISTEN_FDS", count).env("LISTEN_FDNAMES", names);
    let mappings = sockets.into_iter().zip(3..);
    let mappings = mappings.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.collect()).unwrap();
    command
}

fn tcp() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn fd(socket: impl Into<OwnedFd>) -> OwnedFd {
    socket.into()
}

#[tokio::test]
async fn each_listener_takes_the_socket_that_is_its_own() {
    let origin = service().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("larder.sock");
    let ((server, server_at), (admin, admin_at), (named, named_at)) = (tcp(), tcp(), tcp());
    let unix = UnixListener::bind(&path).unwrap();
    let text = format!(
        "[upstream.app]\nurl = \"http://{}\"\n[server]\nlisten = \"{server_at}\"\n\
         [admin]\nlisten = \"{admin_at}\"\n[[listener]]\nname = \"web\"\nlisten = \"127.0.0.1:1\"\n\
         [[listener]]\nlisten = \"unix:{}\"\n",
        origin.address,
        path.display()
    );
    std::fs::write(folder.path().join("larder.toml"), text).unwrap();
    // Who connects before it has started waits, and is served.
    let mut early = Wire::connect(server_at.parse().unwrap()).await;
    early.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let sockets = [fd(unix), fd(admin), fd(server), fd(named)].into();
    let mut command = command(folder.path(), sockets, "larder.socket:larder.socket::web");
    let larder = Larder::by(&mut command).await;
    drop(command);
    assert_eq!(early.answer().await.status(), 200);
    assert_eq!(larder.address.to_string(), server_at);
    assert_eq!(larder.get("/").await.status(), 200);
    assert_eq!(larder.get_from_admin("/readyz").await.text(), "ready");
    let mut web = Wire::connect(named_at.parse().unwrap()).await;
    web.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert_eq!(web.answer().await.status(), 200);
    let mut local = Wire::new(tokio::net::UnixStream::connect(&path).await.unwrap());
    local.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert_eq!(local.answer().await.status(), 200);
    larder.signal(Signal::TERM);
    assert_eq!(larder.exit().await, Some(0));
    assert!(exists(&path), "its file is its supervisor's");
}

#[tokio::test]
async fn what_is_of_no_use_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[upstream.app]\nurl = 1\n[server]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(folder.path().join("larder.toml"), text).unwrap();
    let (spare, spare_at) = tcp();
    let (deaf, accepted) = {
        let (listener, at) = tcp();
        let client = std::net::TcpStream::connect(at).unwrap();
        (client, listener.accept().unwrap().0)
    };
    let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for (socket, name, words) in [
        (
            fd(spare),
            "spare",
            format!("{spare_at} (file descriptor 3, \"spare\"); have a listener listen there"),
        ),
        (
            fd(datagram),
            "dns",
            "file descriptor 3 (dns) will not do: it is a datagram socket".into(),
        ),
        (fd(accepted), "", "it is a connection, or a socket that nobody listens at".into()),
        (fd(file), "null", "file descriptor 3 (null) will not do: it is no such socket".into()),
    ] {
        let said = Process::read(&mut command(folder.path(), vec![socket], name)).exit().await;
        assert_eq!(said.code, Some(2), "{}", said.log);
        assert!(said.log.contains(&words), "{words}: {}", said.log);
    }
    drop(deaf);
    for (count, is_fine) in [("-1", false), ("many", false), ("4000000000", false), ("", true)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.arg("serve").env_clear().env("LISTEN_FDS", count).current_dir(folder.path());
        if is_fine {
            let mut process = Process::read(&mut command);
            process.until("a start", |it| it.log.text().contains("caching").then_some(())).await;
            continue;
        }
        let said = Process::read(&mut command).exit().await;
        assert_eq!(said.code, Some(2), "{count}");
        assert!(said.log.contains(&format!("LISTEN_FDS={count} is no number")), "{}", said.log);
    }
}

#[tokio::test]
async fn what_is_for_another_process_is_left_alone() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let text = "[upstream.app]\nurl = 1\n[server]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(folder.path().join("larder.toml"), text)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("serve").env_clear().current_dir(folder.path());
    command.env("LISTEN_FDS", "7").env("LISTEN_PID", "1");
    let mut process = Process::read(&mut command);
    process.until("a start", |it| it.log.text().contains("caching").then_some(())).await;
    process.signal(Signal::TERM);
    assert_eq!(process.exit().await.code, Some(0));
    Ok(())
}
