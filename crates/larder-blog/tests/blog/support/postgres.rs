//! Postgres: a real server with its data in a temporary folder.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use super::{blog::Setup, eventually, free_port};

/// In every URL here, and never in a message.
pub(crate) const PASSWORD: &str = "vErY-sEcReT";

/// Runs the server until standard input ends, however that comes about: a test process that is
/// killed leaves no server behind. The word `keep` keeps the folder.
const KEEPER: &str = r#"
    trap '' INT
    "$@" >server.log 2>&1 & server=$!
    echo $server
    read -r word
    kill -QUIT $server 2>/dev/null
    wait $server
    [ "$word" = keep ] || rm -rf "$PWD"
"#;

/// All parts, on an empty database of the shared server.
pub(crate) async fn with_new_database() -> Setup {
    Setup::run().set("DATABASE_URL", Postgres::shared().await.new_database().await)
}

/// A running server. Dropping it ends it and removes its data.
pub(crate) struct Postgres {
    installed: Installed,
    folder: PathBuf,
    port: u16,
    keeper: Child,
    server: Pid,
}

impl Postgres {
    /// The server that all tests use which do not harm it. It ends with the test process.
    pub(crate) async fn shared() -> &'static Postgres {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(Postgres::start).await
    }

    pub(crate) async fn start() -> Postgres {
        let installed = Installed::find();
        let folder = tempfile::Builder::new().prefix("blog-postgres-").tempdir();
        let folder = folder.expect("a temporary folder").keep();
        if let Some((user, group)) = installed.user {
            chown(&folder, Some(user), Some(group)).expect("root may give a folder away");
        }
        let initdb = installed
            .command("initdb", &folder)
            .args(["--pgdata=data", "--auth=trust", "--username=blog", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync"])
            .output()
            .expect("initdb was found");
        let said = String::from_utf8_lossy(&initdb.stderr);
        assert!(initdb.status.success(), "initdb does not make a database: {said}");
        let port = free_port();
        let (keeper, server) = launch(&installed, &folder, port);
        let postgres = Postgres { installed, folder, port, keeper, server };
        postgres.until_it_accepts().await;
        postgres
    }

    /// Makes an empty database.
    pub(crate) async fn new_database(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("blog_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut connection =
            PgConnection::connect(&self.url("postgres")).await.expect("a server that accepts");
        let made = sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")));
        made.execute(&mut connection).await.expect("a superuser may make a database");
        connection.close().await.expect("an open connection");
        self.url(&name)
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://blog:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Ends it in the middle of whatever it does, as a power cut would.
    pub(crate) async fn kill(&mut self) {
        kill_process(self.server, Signal::KILL).expect("a server that runs");
        // Its connections are other processes, which see that it is gone a moment later.
        eventually("the end of PostgreSQL", async || {
            PgConnection::connect(&self.url("postgres")).await.is_err().then_some(())
        })
        .await;
    }

    /// Makes it stand still, connections and all, as a machine without memory would.
    pub(crate) fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    /// The server first, so that it starts no more processes meanwhile.
    fn signal_all(&self, signal: Signal) {
        kill_process(self.server, signal).expect("a server that runs");
        let server = self.server.as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
        let children = children.expect("the system lists the processes of a server that runs");
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            // One that ends at this moment is as good as frozen.
            let _gone = kill_process(Pid::from_raw(child).expect("not the kernel"), signal);
        }
    }

    /// Starts it again on its old data and port, after [`Postgres::kill`].
    pub(crate) async fn restart(&mut self) {
        self.end_keeper("keep\n");
        // Refused as long as a process of the old server holds its shared memory.
        eventually("PostgreSQL to start again", async || {
            let (keeper, server) = launch(&self.installed, &self.folder, self.port);
            (self.keeper, self.server) = (keeper, server);
            let accepts = eventually("PostgreSQL to accept, or to end", async || {
                let is_up = PgConnection::connect(&self.url("postgres")).await.is_ok();
                (is_up || has_ended(server)).then_some(is_up)
            });
            let accepts = accepts.await;
            if !accepts {
                self.end_keeper("keep\n");
            }
            accepts.then_some(())
        })
        .await;
    }

    async fn until_it_accepts(&self) {
        eventually("PostgreSQL to accept", async || {
            if has_ended(self.server) {
                panic!("PostgreSQL does not start: {}", self.log());
            }
            PgConnection::connect(&self.url("postgres")).await.ok()
        })
        .await;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }

    fn end_keeper(&mut self, word: &str) {
        let mut words = self.keeper.stdin.take().expect("taken once, here");
        words.write_all(word.as_bytes()).expect("a keeper that reads");
        drop(words);
        self.keeper.wait().expect("a child of this process");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end_keeper("");
    }
}

fn launch(installed: &Installed, folder: &Path, port: u16) -> (Child, Pid) {
    let mut keeper = installed
        .as_user(Command::new("sh"), folder)
        .args(["-c", KEEPER, "keeper"])
        .arg(installed.programs.join("postgres"))
        .args(["-D", "data", "-F", "-p"])
        .arg(port.to_string())
        .args(["-c", "listen_addresses=127.0.0.1"])
        .arg("-c")
        .arg(format!("unix_socket_directories={}", folder.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut line = String::new();
    let said = keeper.stdout.take().expect("a pipe, as asked for");
    BufReader::new(said).read_line(&mut line).expect("a keeper that speaks");
    let server = line.trim().parse().ok().and_then(Pid::from_raw);
    (keeper, server.expect("the process id of the server"))
}

/// It is a child of its keeper, which reads nothing of it before its own end, so it stays a zombie.
fn has_ended(server: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.as_raw_nonzero()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

/// PostgreSQL's programs, and who may run them.
struct Installed {
    programs: PathBuf,
    /// User and group to become first: PostgreSQL does not run as root.
    user: Option<(u32, u32)>,
}

const MISSING: &str = "these tests need PostgreSQL's server: apt-get install postgresql";

impl Installed {
    fn find() -> Installed {
        let versions = std::fs::read_dir("/usr/lib/postgresql").expect(MISSING);
        let programs = versions.flatten().map(|version| version.path().join("bin"));
        let programs = programs.filter(|programs| programs.join("initdb").exists());
        let programs = programs.max().expect(MISSING);
        let user = geteuid().is_root().then(|| postgres_user().expect(MISSING));
        Installed { programs, user }
    }

    fn command(&self, program: &str, folder: &Path) -> Command {
        self.as_user(Command::new(self.programs.join(program)), folder)
    }

    fn as_user(&self, mut command: Command, folder: &Path) -> Command {
        command.current_dir(folder);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

fn postgres_user() -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let user = fields.into_iter().find(|fields| fields.first() == Some(&"postgres"))?;
    Some((user.get(2)?.parse().ok()?, user.get(3)?.parse().ok()?))
}
