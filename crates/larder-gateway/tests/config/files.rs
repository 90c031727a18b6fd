//! Which files a configuration is made of.

use std::path::PathBuf;

use larder_gateway::config::{self, all_files_of, files_of, read_on};

use crate::header;

#[test]
fn each_key_that_names_a_file_to_be_read_is_known_as_one() {
    // These are written.
    const OTHERS: [&str; 2] = ["journal", "outbox"];
    let mut named_some = 0;
    for key in config::keys() {
        let is_path = key.example.contains(".pem")
            || key.example.contains(".html")
            || key.meaning.contains("A file ")
            || key.meaning.contains(" file with");
        if !is_path || OTHERS.contains(&&*key.name) {
            continue;
        }
        let text = format!("{}\n{}\n", header(&key.table), key.example);
        let (config, places, _) = read_on("larder.toml".as_ref(), &text);
        assert_eq!(all_files_of(&config, &places).len(), 2, "{text}");
        named_some += 1;
    }
    assert!(named_some >= 15, "{named_some}");
}

#[test]
fn what_others_look_after_is_looked_at_only_where_it_may_be_what_is_wrong() {
    let text = "[server]\nexplain_token_file = \"explain\"\n[server.tls]\ncertificate = \"c.pem\"\n\
                [[cdn]]\nfastly = { service = \"a\", token_file = \"fastly\" }\n\
                [upstream.app]\nmaintenance_page = \"down.html\"\n[upstream.app.tls]\nca_file = \"/ca.pem\"\n";
    let (config, places, _) = read_on("etc/larder.toml".as_ref(), text);
    let shown = |files: Vec<PathBuf>| {
        let mut files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        files.sort();
        files.join(" ")
    };
    let in_force = "/ca.pem etc/down.html etc/explain etc/larder.toml";
    assert_eq!(shown(files_of(&config, &places)), in_force);
    let all = "/ca.pem etc/c.pem etc/down.html etc/explain etc/fastly etc/larder.toml";
    assert_eq!(shown(all_files_of(&config, &places)), all);
}
