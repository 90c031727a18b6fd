//! Page: `docs/cli.md`, made of what the program says of itself, and of what its JSON has.
//!
//! `LARDER_BLESS=1` writes it anew. A test in `tests/serve/json.rs` holds each command to the fields that stand there.

use std::{env, fmt::Write, fs, path::Path};

use clap::{Arg, Command, CommandFactory};

/// A command, and the fields of what it prints with `--json`.
type Fields = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const FIELDS: &[Fields] = &[
    (
        "larder check",
        "one object, also where there are mistakes; with `--explain`, what is told of the request instead",
        &[
            ("fine", "whether there are no mistakes"),
            (
                "mistakes",
                "each with `what`, and where: `file`, `line`, `column`, or `flag`; `expected` and `example` if known",
            ),
            ("doubts", "what is allowed and perhaps not meant, in the same form"),
        ],
    ),
    (
        "larder import nginx",
        "one object",
        &[
            ("toml", "the larder.toml"),
            (
                "notes",
                "what was not simply carried over: `place` (file and line), `line` (what stands there), `why`",
            ),
        ],
    ),
    (
        "larder health",
        "one object, also where it is not ready",
        &[("is_ready", "whether it is"), ("url", "what was asked")],
    ),
    (
        "larder purge",
        "the answer of `POST /v1/purge`; with `--wait cdn`, that of `GET /v1/purges/{id}` once more",
        &[
            ("id", "by which `larder purges` finds it again"),
            ("what", "what was purged; of much, the first of it"),
            ("purges", "so many purges it was"),
            ("purged", "how many entries; `null` where nobody counts them"),
            ("mode", "`soft` or `hard`"),
            ("at", "when: RFC 3339"),
            ("by", "who asked for it"),
            ("tiers", "how far each tier is: `memory`, `shared`, `cdn`"),
            ("receipts", "of each name, and each cache"),
        ],
    ),
    (
        "larder purges",
        "the answer of `GET /v1/purges`, or for one that of `GET /v1/purges/{id}`",
        &[
            ("purges", "the oldest first, each as `larder purge` has it"),
            ("more", "whether there were more"),
        ],
    ),
    (
        "larder stats",
        "the answer of `GET /v1/stats`",
        &[
            ("uptime_seconds", "since the start"),
            (
                "hit_ratio",
                "of all requests that the cache had a part in, those that cost the service nothing; `null` before the first",
            ),
            ("caches", "the counters of each cache"),
            ("traffic", "all requests by what they were, and all calls of services"),
            ("upstreams", "each service, and its addresses"),
        ],
    ),
    (
        "larder entries",
        "as `GET /v1/entries`, of several pages one",
        &[
            ("snapshot_at", "when the list was made"),
            ("total", "how many entries there are"),
            ("bytes", "what they weigh"),
            ("is_complete", "`false`: not all has been looked at yet"),
            ("entries", "each entry"),
            ("next", "`null`: that was all"),
        ],
    ),
    (
        "larder explain",
        "the answer of `POST /v1/explain`; with `--request`, that of `GET /v1/requests/{id}`",
        &[
            ("at", "when it was looked at"),
            ("request", "what was asked"),
            ("route", "the route, and its rules with their lines"),
            ("key", "the key, and what it was made of"),
            ("tiers", "what each tier holds"),
            ("flight", "what is under way"),
            ("verdict", "what would be done, and why"),
            ("personal", "the cookies that make it one person's"),
            ("next", "what the next request does"),
            ("nearest", "stored responses that nearly fit, and what differs"),
            ("looked", "how far that was looked for"),
            ("gone", "why what was stored is not there any more"),
            ("last", "what became of the last real request for this URL"),
            ("with_policy", "the same by `--policy-file`"),
        ],
    ),
    (
        "larder top",
        "an object in each line",
        &[
            ("uptime_seconds", "since the start of the gateway"),
            ("seconds", "of how long these figures are"),
            ("requests_per_second", "all that were finished"),
            ("hits_per_second", "answered with what was stored and fresh"),
            ("stale_per_second", "answered with what was stored and stale"),
            ("collapsed_per_second", "answered with what another reader's request brought"),
            ("misses_per_second", "sent on"),
            (
                "hit_ratio",
                "as that of `larder stats`, of this time; `null` where nothing was asked",
            ),
            ("origin_calls_per_second", "calls of services, also behind readers' backs"),
            ("origin_failures_per_second", "those without an answer in time, or with 5xx"),
            (
                "saved_seconds_per_second",
                "what fetching what was answered from the cache would have taken",
            ),
            ("evictions_per_second", "entries that went for want of room"),
            ("purges", "in this time"),
            ("entries", "held now"),
            ("bytes", "what they weigh"),
            ("max_bytes", "the bound; `null` without one"),
            (
                "upstreams",
                "each service: `name`, `addresses`, `down`, `requests_per_second`, `failures_per_second`",
            ),
            (
                "routes",
                "the hundred with the most requests: `route`, `requests_per_second`, `hit_ratio`, `origin_calls_per_second`, `origin_failures_per_second`, `origin_seconds_per_second`, `bytes`",
            ),
            ("slowest", "what took longest to fetch: `key`, `cost_seconds`"),
            ("recent_purges", "the last purges: `what`, `mode`, `at`, `tiers`"),
        ],
    ),
    (
        "larder version",
        "one object",
        &[
            ("name", "`larder`"),
            ("version", "its number"),
            ("os", "what it was built for"),
            ("arch", "what it was built for"),
        ],
    ),
];

const BEGINNING: &str = "\
# The command line

Exit codes: 0 success, 1 failure at run time, 2 wrong usage or configuration. What is printed for people may change; what
`--json` prints gains fields, and loses none within a major version. With `--json` an error is one line of JSON on standard error:
`{\"error\":\"…\",\"because\":[\"…\"],\"exit_code\":1}`. Wrong usage is told in words. Objects of the admin API are described in
`crates/larder-admin/openapi.json`.

This page is made of what the program says of itself.
";

fn page() -> String {
    let mut page = BEGINNING.to_owned();
    let mut command = super::Command::command().disable_help_subcommand(true);
    command.build();
    describe(&command, &mut page);
    page
}

fn describe(command: &Command, page: &mut String) {
    let mut line = |line: &str| writeln!(page, "{line}").expect("a text takes what is written");
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    line(&format!("\n## `{name}`\n"));
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    line(&format!("{}\n", about.trim_end_matches('.')));
    let usage = command.clone().render_usage().to_string();
    line(&format!("```sh\n{}\n```", usage.trim_start_matches("Usage: ")));
    let arguments: Vec<_> = command.get_arguments().filter(|argument| is_told(argument)).collect();
    if !arguments.is_empty() {
        line("\n| | |\n| --- | --- |");
        for argument in arguments {
            line(&row(argument));
        }
    }
    if let Some(more) = command.get_after_help() {
        line(&format!("\n```text\n{}\n```", more.to_string().trim_end()));
    }
    if let Some((_, form, fields)) = FIELDS.iter().find(|(known, ..)| *known == name) {
        line(&format!("\n`--json` prints {form}.\n\n| field | what it is |\n| --- | --- |"));
        for (field, meaning) in *fields {
            line(&format!("| `{field}` | {meaning} |"));
        }
    }
    for command in command.get_subcommands() {
        describe(command, page);
    }
}

fn is_told(argument: &Arg) -> bool {
    !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
}

fn row(argument: &Arg) -> String {
    let short = argument.get_short().map(|letter| format!("-{letter}"));
    let long = argument.get_long().map(|name| format!("--{name}"));
    let names = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    let takes_value = argument.get_action().takes_values();
    let value = argument.get_value_names().filter(|_| takes_value).map(|names| names.join(" "));
    let value = value.map(|value| format!("<{value}>")).unwrap_or_default();
    let mut help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let words: Vec<_> = argument
        .get_possible_values()
        .iter()
        .filter(|_| takes_value)
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !words.is_empty() {
        help += &format!(": {}", words.join(", "));
    }
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_value && !defaults.is_empty() {
        help += &format!(". Default `{}`", defaults.join(" "));
    }
    if let Some(variable) = argument.get_env() {
        help += &format!(". Or the variable `{}`", variable.to_string_lossy());
    }
    let what = format!("{names} {value}");
    format!("| `{}` | {} |", what.trim(), help.replace('|', "\\|").replace('\n', " "))
}

#[test]
fn the_page_of_commands_is_what_the_program_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let now = page();
    if env::var_os("LARDER_BLESS").is_some() {
        fs::write(file, now).expect("docs/cli.md can be written");
        return;
    }
    let stands = fs::read_to_string(file).unwrap_or_default();
    assert!(stands == now, "docs/cli.md is written anew with LARDER_BLESS=1");
}

#[test]
fn every_command_has_an_example_and_each_with_json_its_fields() {
    fn look(command: &Command) {
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
        let more = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        if command.get_subcommands().next().is_none() || name == "larder" {
            assert!(more.contains("Example"), "{name} has no example");
        }
        let has_json = command.get_arguments().any(|argument| argument.get_id() == "json");
        let is_told = FIELDS.iter().any(|(known, ..)| *known == name);
        assert_eq!(has_json, is_told, "{name}: the fields of its JSON");
        command.get_subcommands().for_each(look);
    }
    let mut command = super::Command::command().disable_help_subcommand(true);
    command.build();
    look(&command);
}
