//! The units for systemd, as systemd reads them.

use std::{fs, path::PathBuf, process::Command};

/// Whether it is fine, and what is said of it.
fn analyze(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("systemd-analyze").args(arguments).output();
    let output = output.expect("systemd-analyze (Debian: systemd), which looks and runs nothing");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn units() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../deploy/systemd"].iter().collect()
}

#[test]
fn they_can_be_read_and_leave_little_open() {
    // With the program where it is here: systemd looks whether it is there.
    let folder = tempfile::tempdir().unwrap();
    for name in ["larder.service", "larder.socket"] {
        let text = fs::read_to_string(units().join(name)).unwrap();
        let text = text.replace("/usr/bin/larder", env!("CARGO_BIN_EXE_larder"));
        fs::write(folder.path().join(name), text).unwrap();
    }
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (service, socket) = (at("larder.service"), at("larder.socket"));
    let (is_fine, said) = analyze(&["verify", "--man=no", &service, &socket]);
    assert!(is_fine && !said.contains("larder."), "{said}");
    // 0 leaves nothing open, 100 everything; a unit without a word about it has 96.
    let (is_fine, said) =
        analyze(&["security", "--offline=true", "--no-pager", "--threshold=20", &service]);
    assert!(is_fine, "{said}");
}
