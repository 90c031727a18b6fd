//! Files: the text of `nginx.conf` with all that it includes, within bounds.

use std::{
    fs, io,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::syntax::{Directive, Place, Wrong, parse};

/// Files that include each other end here.
const DEEPEST: usize = 16;
/// All files together.
const MOST_FILES: usize = 1024;
/// All files together: generated configurations of thousands of hosts stay below.
const MOST_BYTES: u64 = 16 << 20;

/// Includes that could not be read, by their numbers, each with why.
pub(super) type Missing = Vec<(usize, String)>;

/// A file with all that it includes, in one tree; and the includes that could not be read, each with why.
pub(super) fn read(main: &Path) -> Result<(Vec<Directive>, Missing), Wrong> {
    let folder = main.parent().unwrap_or(Path::new("")).to_owned();
    let mut files = Files { folder, count: 0, bytes: 0, missing: Vec::new(), next_number: 0 };
    let text =
        files.text(main).map_err(|what| Wrong { place: main.display().to_string(), what })?;
    let directives = parse(&Rc::from(main), &text)?;
    let directives = files.expanded(directives, 0)?;
    Ok((directives, files.missing))
}

struct Files {
    folder: PathBuf,
    count: usize,
    bytes: u64,
    missing: Missing,
    next_number: usize,
}

impl Files {
    fn text(&mut self, file: &Path) -> Result<String, String> {
        let cannot = |error: io::Error| format!("cannot be read: {error}");
        let found = fs::metadata(file).map_err(cannot)?;
        if !found.is_file() {
            return Err("this is no file".to_owned());
        }
        self.count += 1;
        self.bytes += found.len();
        if self.count > MOST_FILES || self.bytes > MOST_BYTES {
            return Err(format!("more than {MOST_FILES} files, or {} MiB", MOST_BYTES >> 20));
        }
        // Some have comments in other encodings.
        fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(cannot)
    }

    /// With the contents of files in the places of their includes, and all numbered in their order.
    fn expanded(
        &mut self,
        directives: Vec<Directive>,
        depth: usize,
    ) -> Result<Vec<Directive>, Wrong> {
        let mut all = Vec::new();
        for mut directive in directives {
            directive.number = self.next_number;
            self.next_number += 1;
            if directive.name != "include" {
                let block = directive.block.take().map(|block| self.expanded(block, depth));
                directive.block = block.transpose()?;
                all.push(directive);
                continue;
            }
            if depth >= DEEPEST {
                return Err(wrong(&directive.place, "files include each other without end"));
            }
            let (place, number) = (directive.place.clone(), directive.number);
            let files = self.files(directive.word());
            // It stays, so that it can be told what became of it.
            all.push(directive);
            if files.is_empty() {
                self.missing.push((
                    number,
                    "there is no such file here: what stands in it is missing".to_owned(),
                ));
            }
            for file in files {
                match self.text(&file) {
                    Ok(text) => {
                        let included = parse(&Rc::from(file), &text)?;
                        all.extend(self.expanded(included, depth + 1)?);
                    }
                    Err(what) if self.count > MOST_FILES || self.bytes > MOST_BYTES => {
                        return Err(wrong(&place, &what));
                    }
                    Err(what) => self.missing.push((number, format!("{} {what}", file.display()))),
                }
            }
        }
        Ok(all)
    }

    /// The files that are meant, in the order of their names. They count from the folder of nginx.conf, and a file of
    /// sites-enabled lies below that.
    fn files(&self, pattern: &str) -> Vec<PathBuf> {
        let parent = self.folder.parent().unwrap_or(Path::new(""));
        let found = [self.folder.as_path(), parent].map(|folder| globbed(&folder.join(pattern)));
        found.into_iter().find(|files| !files.is_empty()).unwrap_or_default()
    }
}

fn wrong(place: &Place, what: &str) -> Wrong {
    Wrong { place: place.to_string(), what: what.to_owned() }
}

/// `*` and `?` stand for characters in one part of the path.
fn globbed(pattern: &Path) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            paths.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut fitting = Vec::new();
        for folder in paths {
            let folder_to_read =
                if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            for entry in
                fs::read_dir(folder_to_read).into_iter().flatten().flatten().take(MOST_FILES)
            {
                let found = entry.file_name();
                let found_name = found.to_string_lossy();
                // As a shell, which does not take hidden files either.
                if !found_name.starts_with('.') && fits(name.as_bytes(), found_name.as_bytes()) {
                    fitting.push(folder.join(&found));
                }
            }
        }
        fitting.sort();
        fitting.truncate(MOST_FILES + 1);
        paths = fitting;
    }
    paths.retain(|path| path.exists());
    paths
}

fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) if fits(rest, text) => true,
        (Some((b'*', _)), Some((_, left))) => fits(pattern, left),
        (Some((b'?', rest)), Some((_, left))) => fits(rest, left),
        (Some((one, rest)), Some((other, left))) => one == other && fits(rest, left),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_included_in_the_order_of_their_names_and_missing_ones_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        write("nginx.conf", "include conf.d/*.conf; include none.conf; last 1;");
        write("conf.d/b.conf", "b 1;");
        write("conf.d/a.conf", "a 1;");
        write("conf.d/.hidden.conf", "hidden 1;");
        write("conf.d/c.txt", "c 1;");
        let (directives, missing) = read(&folder.path().join("nginx.conf")).unwrap();
        let names: Vec<_> = directives.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["include", "a", "b", "include", "last"]);
        let numbers: Vec<_> = directives.iter().map(|one| one.number).collect();
        assert_eq!((numbers, missing.len(), missing[0].0), (vec![0, 1, 2, 3, 4], 1, 3));
    }

    #[test]
    fn files_that_include_themselves_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nginx.conf");
        fs::write(&file, "a 1;\ninclude nginx.conf;").unwrap();
        let told = read(&file).unwrap_err().to_string();
        assert!(told.ends_with("nginx.conf:2: files include each other without end"), "{told}");
        fs::write(&file, "include *.conf; include *.conf;").unwrap();
        assert!(read(&file).is_err(), "it would be 2^16 files");
        assert!(read(&folder.path().join("none")).is_err() && read(folder.path()).is_err());
    }
}
