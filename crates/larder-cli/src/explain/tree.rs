//! Tree: an explanation on one screen: what is decided first, and what it rests on below.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::Value;

/// Whether colours are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colours(bool);

impl Colours {
    pub(super) fn on(on: bool) -> Colours {
        Colours(on)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// A verdict in the colour of what it costs.
    fn verdict(self, verdict: &str) -> String {
        let code = match verdict {
            "hit" => "1;32",
            "stale" | "collapsed" => "1;33",
            _ => "1;31",
        };
        self.paint(code, verdict)
    }
}

/// A line, and what it rests on.
struct Node {
    name: &'static str,
    text: String,
    below: Vec<Node>,
}

fn leaf(name: &'static str, text: impl Into<String>) -> Node {
    Node { name, text: text.into(), below: Vec::new() }
}

/// What would become of a request.
pub(super) fn tree(said: &Value, colours: Colours) -> String {
    let request = &said["request"];
    let mut text = format!("{} {}\n", word(&request["method"]), word(&request["url"]));
    let mut all = nodes(said, colours);
    let last = &said["last"];
    if !last.is_null() {
        let text = format!("{} at {}", outcome(last, colours), word(&last["at"]));
        all.insert(2, leaf("last", text));
    }
    draw(&all, "", colours, &mut text);
    text
}

/// What would become of it by another file, and what that changes.
pub(super) fn comparison(said: &Value, file: &str, colours: Colours) -> String {
    let other = &said["with_policy"];
    let mut text = format!("\nby {file}\n");
    let rows = [
        ("verdict", "/verdict/verdict"),
        ("because", "/verdict/reason"),
        ("route", "/route/route"),
        ("service", "/route/upstream"),
        ("key", "/key/key"),
    ];
    let mut changes = Vec::new();
    for (name, pointer) in rows {
        let [now, then] = [said, other].map(|told| shown(told.pointer(pointer)));
        if now != then {
            changes.push(leaf(name, format!("{now} → {then}")));
        }
    }
    changes.extend(changed_rules(said, other));
    let changes = match changes.is_empty() {
        true => leaf("changes", "nothing for this request"),
        false => Node { name: "changes", text: String::new(), below: changes },
    };
    let all: Vec<_> = [changes].into_iter().chain(nodes(other, colours)).collect();
    draw(&all, "", colours, &mut text);
    text
}

fn changed_rules(said: &Value, other: &Value) -> Vec<Node> {
    let rules = |told: &Value| {
        let rules = told["route"]["rules"].as_array().cloned().unwrap_or_default();
        let pair = |rule: &Value| (word(&rule["rule"]).to_owned(), word(&rule["value"]).to_owned());
        rules.iter().map(pair).collect::<BTreeMap<_, _>>()
    };
    let [now, then] = [said, other].map(rules);
    let mut names: Vec<_> = now.keys().chain(then.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let changed = names.into_iter().filter(|name| now.get(*name) != then.get(*name));
    let line = |name: &String| {
        let [now, then] =
            [&now, &then].map(|rules| rules.get(name).map_or("not said", |value| value));
        leaf("rule", format!("{name}: {now} → {then}"))
    };
    changed.map(line).collect()
}

/// What has become of a request.
pub(super) fn past(said: &Value, colours: Colours) -> String {
    let mut text = format!("{} {}\n", word(&said["method"]), word(&said["url"]));
    let mut nodes = vec![
        leaf("verdict", outcome(said, colours)),
        leaf(
            "answer",
            format!(
                "{} from {}, in {}",
                said["status"],
                word(&said["tier"]),
                millis(&said["seconds"])
            ),
        ),
    ];
    if !said["origin_seconds"].is_null() {
        nodes.push(leaf("origin", format!("took {}", millis(&said["origin_seconds"]))));
    }
    nodes.push(leaf("route", word(&said["route"])));
    nodes.push(leaf("at", word(&said["at"])));
    draw(&nodes, "", colours, &mut text);
    text
}

fn outcome(said: &Value, colours: Colours) -> String {
    let verdict = colours.verdict(word(&said["verdict"]));
    format!("{verdict} ({}): {}", word(&said["reason"]), word(&said["says"]))
}

fn nodes(told: &Value, colours: Colours) -> Vec<Node> {
    let verdict = outcome(&told["verdict"], colours);
    let mut nodes = vec![leaf("verdict", verdict), leaf("next", word(&told["next"]["says"]))];
    let personal = &told["personal"];
    if !personal.is_null() {
        let remedy = personal["remedy"].as_str();
        let remedy =
            remedy.map(|line| leaf("", format!("if the answer does not depend on them: {line}")));
        let below = remedy.into_iter().collect();
        nodes.push(Node { name: "cookies", text: word(&personal["says"]).to_owned(), below });
    }
    if !told["flight"].is_null() {
        nodes.push(leaf("flight", word(&told["flight"]["says"])));
    }
    let route = &told["route"];
    if !route.is_null() {
        let line = route["line"].as_str().map(|line| format!("  {}", colours.faint(line)));
        let service = route["upstream"].as_str().map(|name| format!(" → {name}"));
        let cached = if route["is_cached"] == false { ", nothing is stored" } else { "" };
        let text = format!(
            "{}{}{cached}{}",
            word(&route["route"]),
            service.unwrap_or_default(),
            line.unwrap_or_default()
        );
        let rules = each(&route["rules"]).map(|rule| {
            let line = colours.faint(word(&rule["line"]));
            leaf("", format!("{} = {}  {line}", word(&rule["rule"]), word(&rule["value"])))
        });
        nodes.push(Node { name: "route", text, below: rules.collect() });
    }
    let key = &told["key"];
    match key.is_null() {
        true => nodes.push(leaf("key", "none: it passes")),
        false => {
            // What stands in the URL can be read in the key.
            let is_beside = |part: &&Value| {
                !matches!(word(&part["part"]), "scheme" | "host" | "path" | "query")
            };
            let beside = each(&key["parts"]).filter(is_beside).map(|part| {
                let name = part["name"].as_str().map(|name| format!(" {name}")).unwrap_or_default();
                let value = part["value"].as_str().unwrap_or("(not there)");
                leaf("", format!("and {}{name}: {value}", word(&part["part"])))
            });
            let left_out = each(&key["left_out"]).map(|left| {
                leaf("", format!("without {} ({})", word(&left["name"]), word(&left["why"])))
            });
            let below = beside.chain(left_out).collect();
            nodes.push(Node { name: "key", text: word(&key["key"]).to_owned(), below });
        }
    }
    for tier in each(&told["tiers"]) {
        let name = if tier["tier"] == "shared" { "shared" } else { "memory" };
        let variants = each(&tier["variants"]).map(|variant| leaf("", stored(variant, colours)));
        nodes.push(Node { name, text: word(&tier["says"]).to_owned(), below: variants.collect() });
    }
    for near in each(&told["nearest"]) {
        let text = format!("{}: {}", word(&near["key"]), word(&near["says"]));
        nodes.push(leaf("nearest", text));
    }
    let looked = &told["looked"];
    if looked["all"] == false {
        let text = format!("looked at {} stored keys: there may be nearer ones", looked["keys"]);
        nodes.push(leaf("nearest", text));
    }
    if !told["gone"].is_null() {
        nodes.push(leaf("gone", word(&told["gone"]["says"])));
    }
    nodes
}

fn stored(variant: &Value, colours: Colours) -> String {
    let mut text = variant["status"].as_u64().map_or(String::new(), |status| format!("{status} "));
    let age = variant["age_seconds"].as_f64().unwrap_or_default();
    let state = word(&variant["state"]);
    write!(text, "{state}, {age:.0} s old").expect("a text takes what is written");
    for differs in each(&variant["differs_by"]) {
        let value = differs[1].as_str().unwrap_or("(not there)");
        write!(text, ", for {}: {value}", word(&differs[0])).expect("a text takes what is written");
    }
    match variant["is_chosen"] == true {
        true => colours.paint("1", &format!("{text}  ← this answers")),
        false => text,
    }
}

/// Draws lines, each with what it rests on.
fn draw(nodes: &[Node], before: &str, colours: Colours, text: &mut String) {
    for (index, node) in nodes.iter().enumerate() {
        let is_last = index + 1 == nodes.len();
        let (branch, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let name = match node.name {
            "" => String::new(),
            name => format!("{} ", colours.faint(&format!("{name:<8}"))),
        };
        let line = format!("{}{name}{}", colours.faint(&format!("{before}{branch}")), node.text);
        text.push_str(line.trim_end());
        text.push('\n');
        draw(&node.below, &format!("{before}{below}"), colours, text);
    }
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn shown(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or("none").to_owned()
}

fn millis(seconds: &Value) -> String {
    format!("{:.1} ms", seconds.as_f64().unwrap_or_default() * 1e3)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_says_first_what_is_decided_and_then_what_it_rests_on() {
        let told = json!({
            "request": { "method": "GET", "url": "https://a.example/p?utm_source=x" },
            "route": { "route": "/p", "line": "larder.toml:3", "upstream": "blog", "is_cached": true,
                "rules": [{ "rule": "ttl", "value": "\"5m\"", "line": "larder.toml:4" }] },
            "key": { "key": "https://a.example/p", "parts": [{ "part": "path", "value": "/p" }, { "part": "cookie", "name": "lang", "value": null }],
                "left_out": [{ "part": "query", "name": "utm_source", "why": "tracking parameter" }] },
            "tiers": [{ "tier": "memory", "says": "One response is stored.", "variants": [
                { "status": 200, "state": "fresh", "age_seconds": 12.3, "differs_by": [["accept-encoding", "br"]], "is_chosen": false }] }],
            "flight": null,
            "verdict": { "verdict": "miss", "reason": "vary-miss", "says": "Why." },
            "next": { "says": "It asks blog." },
            "nearest": [], "looked": { "keys": 5, "all": true }, "gone": null, "with_policy": null,
        });
        let expected = "\
GET https://a.example/p?utm_source=x
├─ verdict  miss (vary-miss): Why.
├─ next     It asks blog.
├─ route    /p → blog  larder.toml:3
│  └─ ttl = \"5m\"  larder.toml:4
├─ key      https://a.example/p
│  ├─ and cookie lang: (not there)
│  └─ without utm_source (tracking parameter)
└─ memory   One response is stored.
   └─ 200 fresh, 12 s old, for accept-encoding: br
";
        assert_eq!(tree(&told, Colours::on(false)), expected);
        assert!(tree(&told, Colours::on(true)).contains("\u{1b}[1;31mmiss\u{1b}[0m"));
        let mut of_one = told.clone();
        of_one["personal"] = json!({ "cookies": ["sid"], "says": "The cookie sid.", "remedy": "ignore_cookies = [\"sid\"]" });
        let expected = "\
├─ cookies  The cookie sid.
│  └─ if the answer does not depend on them: ignore_cookies = [\"sid\"]
";
        assert!(tree(&of_one, Colours::on(false)).contains(expected));
        let mut both = told.clone();
        both["with_policy"] = told.clone();
        assert!(
            comparison(&both, "new.toml", Colours::on(false)).contains("nothing for this request")
        );
        both["with_policy"]["verdict"]["verdict"] = "pass".into();
        both["with_policy"]["route"]["rules"] = json!([]);
        let text = comparison(&both, "new.toml", Colours::on(false));
        assert!(
            text.contains("verdict  miss → pass") && text.contains("ttl: \"5m\" → not said"),
            "{text}"
        );
    }
}
