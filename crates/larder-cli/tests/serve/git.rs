//! git over HTTP: a clone and a push of more than fits into one piece, with nginx and git's own server behind.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{Process, eventually, larder::Larder, nginx::Nginx, program};

/// Runs git in a folder, whoever the user is.
pub(crate) async fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(folder).args(arguments).env_clear().env("PATH", "/usr/bin:/bin");
    command.env("HOME", folder).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "A")
            .env(format!("GIT_{who}_EMAIL"), "a@example.org");
    }
    String::from_utf8(program::run(&mut command).await.stdout).unwrap()
}

/// git's own server, behind nginx.
pub(crate) struct GitServer {
    _fcgiwrap: Process,
    pub(crate) nginx: Nginx,
}

impl GitServer {
    /// With an empty `site.git` in `root`.
    pub(crate) async fn start(root: &Path) -> GitServer {
        git(root, &["init", "--bare", "--initial-branch=main", "site.git"]).await;
        git(&root.join("site.git"), &["config", "http.receivepack", "true"]).await;
        let socket = root.join("fcgiwrap");
        // Debian keeps it where a user's PATH does not lead.
        let kept = Path::new("/usr/sbin/fcgiwrap");
        let mut command = Command::new(if kept.exists() { kept } else { Path::new("fcgiwrap") });
        command.arg("-s").arg(format!("unix:{}", socket.display()));
        let fcgiwrap = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        eventually("fcgiwrap to listen", async || socket.exists().then_some(())).await;
        let server = format!(
            "client_max_body_size 0;
             location / {{
                 fastcgi_pass unix:{};
                 fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;
                 fastcgi_param GIT_PROJECT_ROOT {};
                 fastcgi_param GIT_HTTP_EXPORT_ALL 1;
                 fastcgi_param PATH_INFO $uri;
                 fastcgi_param QUERY_STRING $query_string;
                 fastcgi_param REQUEST_METHOD $request_method;
                 fastcgi_param CONTENT_TYPE $content_type;
                 fastcgi_param CONTENT_LENGTH $content_length;
                 fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
                 fastcgi_param REMOTE_ADDR $remote_addr;
                 fastcgi_param HOME {};
             }}",
            socket.display(),
            root.display(),
            root.display(),
        );
        let nginx = Nginx::start("", &server).await;
        GitServer { _fcgiwrap: fcgiwrap, nginx }
    }
}

#[tokio::test]
async fn git_clones_and_pushes_and_sees_what_was_pushed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let server = GitServer::start(root).await;
    let larder = Larder::before(server.nginx.address).await;
    let url = larder.url("/site.git");

    git(root, &["clone", &url, "one"]).await;
    let one = root.join("one");
    // Beyond 1 MiB git sends a push in chunks.
    let noise: Vec<u8> = {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(&mut next).take(3 << 20).collect()
    };
    for number in 0..40 {
        std::fs::write(one.join(format!("file{number}")), format!("{number}\n")).unwrap();
        git(&one, &["add", "."]).await;
        git(&one, &["commit", "--quiet", "-m", &format!("commit {number}")]).await;
    }
    std::fs::write(one.join("noise"), &noise).unwrap();
    git(&one, &["add", "."]).await;
    git(&one, &["commit", "--quiet", "-m", "noise"]).await;
    git(&one, &["push", "--quiet", "origin", "HEAD:main"]).await;

    git(root, &["clone", "--quiet", &url, "two"]).await;
    assert!(std::fs::read(root.join("two/noise")).unwrap() == noise);
    // Each sees the other's work at once: no answer of before stands in its way.
    let two = root.join("two");
    for number in 0..2 {
        std::fs::write(two.join("late"), format!("{number}\n")).unwrap();
        git(&two, &["add", "."]).await;
        git(&two, &["commit", "--quiet", "-m", "late"]).await;
        git(&two, &["push", "--quiet", "origin", "HEAD:main"]).await;
        // With many commits in common the request is long, and zipped.
        git(&one, &["pull", "--quiet", "--no-rebase", "origin", "main"]).await;
        assert_eq!(std::fs::read_to_string(one.join("late")).unwrap(), format!("{number}\n"));
    }
}
