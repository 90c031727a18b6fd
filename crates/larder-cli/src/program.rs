//! Program: by which path this one was started, so that what lies there later can be started in its place.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

/// The path by which this program was found, with the links in it: a link may lead to another version later. To be asked
/// at the start, while it still leads to this one.
pub(crate) fn path() -> io::Result<PathBuf> {
    let running = env::current_exe()?;
    let named = env::args_os().next().unwrap_or_default();
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(named_path(&named, &env::current_dir()?, &path, &running).unwrap_or(running))
}

/// `None`: what was said leads elsewhere, or nowhere.
fn named_path(named: &OsStr, folder: &Path, path: &OsStr, running: &Path) -> Option<PathBuf> {
    let is_running = |found: &PathBuf| {
        let leads_to = fs::canonicalize(found).ok();
        leads_to.is_some() && leads_to == fs::canonicalize(running).ok()
    };
    if Path::new(named).components().count() > 1 {
        return Some(folder.join(named)).filter(is_running);
    }
    env::split_paths(path).map(|place| folder.join(place).join(named)).find(is_running)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_in_the_path_and_what_is_not_this_program_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let running = folder.path().join("larder-1.2");
        fs::write(&running, "program").unwrap();
        fs::write(folder.path().join("other"), "program").unwrap();
        let link = folder.path().join("larder");
        std::os::unix::fs::symlink(&running, &link).unwrap();
        let found = |named: &str, path: &str| {
            named_path(OsStr::new(named), folder.path(), OsStr::new(path), &running)
        };
        let here = folder.path().to_str().unwrap();
        assert_eq!(found("larder", &format!("/no/such:{here}")), Some(link.clone()));
        assert_eq!(found("./larder", ""), Some(folder.path().join("./larder")));
        assert_eq!(found(link.to_str().unwrap(), ""), Some(link));
        for (named, path) in [("other", here), ("larder", "/no/such"), ("./other", ""), ("", here)]
        {
            assert_eq!(found(named, path), None, "{named:?} {path:?}");
        }
    }
}
