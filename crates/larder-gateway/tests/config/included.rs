//! Files that are included: what may stand in them, where their mistakes are, and from where what they name counts.

use std::fs;

use larder_gateway::config::{self, Mistakes, Secrets, Settings};
use tempfile::TempDir;

use crate::header;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder
}

/// All that is said of its `larder.toml`, without the folder's name; nothing if it is fine.
fn said_of(folder: &TempDir) -> String {
    let file = folder.path().join("larder.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (config, places, mut mistakes) = config::read_with_included(&file, &text);
    if let Err(more) = Settings::of(&config, &places, Secrets::default()) {
        config::add_new(&mut mistakes, more);
    }
    let said = Mistakes::of(mistakes).map(|mistakes| mistakes.to_string()).unwrap_or_default();
    said.replace(&format!("{}/", folder.path().display()), "")
}

const MAIN: &str = "include = [\"more.toml\"]\n[upstream.app]\nurl = 1\n";

#[test]
fn whatever_belongs_into_the_file_itself_is_a_mistake_in_one_that_it_includes() {
    let folder = folder(&[("larder.toml", MAIN)]);
    let mut refused = 0;
    for key in config::keys() {
        let table = header(&key.table).replace("upstream.blog", "upstream.other");
        let text = format!("{table}\n{}\n", key.example);
        fs::write(folder.path().join("more.toml"), &text).unwrap();
        let said = said_of(&folder);
        let is_there =
            ["[upstream", "[[upstream", "[[route"].iter().any(|at| table.starts_with(at));
        let is_refused = said.contains(" is said in ") && said.contains("more.toml:");
        assert_eq!(is_refused, !is_there, "{text}\n{said}");
        refused += usize::from(is_refused);
    }
    assert!(refused > 100, "{refused}");
    // However it is written.
    for text in ["purge.allow = [\"127.0.0.1\"]\n", "access_log = { to = \"stdout\" }\n", "[log]\n"]
    {
        fs::write(folder.path().join("more.toml"), text).unwrap();
        let said = said_of(&folder);
        assert!(said.starts_with("more.toml:1:") && said.contains(" is said in "), "{said}");
    }
    fs::write(folder.path().join("more.toml"), "[[listener]]\nlisten = 1\n").unwrap();
    assert!(said_of(&folder).contains("[[listener]] is said in larder.toml itself"));
}

#[test]
fn a_mistake_in_one_file_hides_none_in_another() {
    let main = format!("{MAIN}[[route]]\npath = \"nope\"\n");
    let more = "[[route]]\npathh = \"/x\"\n[[route]]\npath = \"nor this\"\n";
    let said = said_of(&folder(&[("larder.toml", &main), ("more.toml", more)]));
    for words in [
        "larder.toml:5:1: ",
        "more.toml:2:1: there is no key \"pathh\"",
        "more.toml:4:1: ",
        "3 mistakes",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    // One that is no TOML may have had the service, and is no reason to be silent about the rest.
    let main =
        "include = [\"more.toml\"]\n[server]\nthreads = 100000\n[[route]]\nupstream = \"other\"\n";
    let said = said_of(&folder(&[("larder.toml", main), ("more.toml", "[upstream.other\n")]));
    assert!(said.contains("larder.toml:3:1: the most is 1024"), "{said}");
    assert!(said.contains("more.toml:1:") && said.contains("2 mistakes"), "{said}");
}

#[test]
fn files_that_an_included_one_names_count_from_its_own_folder() {
    let main = "include = [\"routes/*.toml\"]\n[upstream.app]\nurl = 1\nmaintenance_page = \"down.html\"\n";
    let more = "[upstream.other]\nurl = 2\nmaintenance_page = \"down.html\"\n[[route]]\nupstream = \"other\"\n";
    let more = format!("{more}[upstream.third]\nurl = 3\n[upstream.third.tls]\n");
    let page = "<p>soon";
    let files = [
        ("larder.toml", &*format!("{main}[defaults]\nupstream = \"app\"\n")),
        ("routes/a.toml", &*more),
    ];
    let beside_one = folder(&[&files[..], &[("down.html", page)]].concat());
    let said = said_of(&beside_one);
    assert!(said.starts_with("routes/a.toml:3:1: ") && said.contains("routes/down.html"), "{said}");
    let beside_both =
        folder(&[&files[..], &[("down.html", page), ("routes/down.html", page)]].concat());
    assert_eq!(said_of(&beside_both), "");
}
