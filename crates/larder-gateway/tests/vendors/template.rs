//! Template: any API, by what the configuration says.

use larder::Mode;
use larder_gateway::cdn::{
    driver::Driver,
    drivers::{Secrets, template::Config},
};

use crate::{
    client::{End, settle},
    double::{Double, Reply, Seen, Vendor},
    setups::{Known, everything, tag, tags, template, url},
};

#[derive(Default)]
struct Any(Vec<Seen>);

impl Vendor for Any {
    fn answer(&mut self, seen: &Seen) -> Reply {
        self.0.push(seen.clone());
        Reply::of(202, "")
    }

    fn too_many(&self) -> Reply {
        Reply::of(429, "")
    }
}

/// Without what tells the calls of a batch from each other.
fn without_name(target: &str) -> &str {
    target.find("p%201-").map_or(target, |at| &target[..at + "p%201-".len()])
}

#[tokio::test]
async fn what_stands_in_a_template_is_written_as_its_place_needs() {
    let double = Double::of(Any::default(), &[]).await;
    let api = double.api();
    let driver = template(&format!(
        r#"
        secret_env = "A"
        [tag]
        url = "{api}/tags?id={{id}}"
        headers = {{ authorization = "Token {{secret}}", x-mode = "{{mode}}" }}
        body = '{{"purge":[{{items}}]}}'
        most = 2
        soft = true
        [url]
        method = "GET"
        url = "{api}/one?of={{items}}"
        "#
    ));
    let wishes = [
        tag("a{secret}", Mode::Soft),
        tag("b\\c", Mode::Soft),
        tag("d", Mode::Soft),
        url("https://a.example/b c".replace(' ', "%20").as_str(), Mode::Soft),
    ];
    let told = settle(&driver, &wishes, "p 1").await;
    assert!(told.ends.iter().all(|end| *end == Some(End::Done)), "{:?}", told.ends);
    let seen = double.look(|vendor| vendor.0.clone());
    let ids: Vec<&str> = seen.iter().filter_map(|seen| seen.target.query()).collect();
    assert_ne!(ids[0], ids[1], "no two calls have the same name");
    let fresh = driver.calls(&wishes[2..3], "p 1", std::time::SystemTime::now());
    assert_eq!(fresh[0].head.uri.query(), Some(ids[1]), "and each has it again");
    let told: Vec<String> = seen
        .iter()
        .map(|seen| {
            let body = String::from_utf8_lossy(&seen.body);
            format!(
                "{} {} {} {} {body}",
                seen.method,
                without_name(&seen.target.to_string()),
                seen.field("authorization"),
                seen.field("x-mode")
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "POST /tags?id=p%201- Token s3cret-secret soft {\"purge\":[\"a{secret}\",\"b\\\\c\"]}",
            "POST /tags?id=p%201- Token s3cret-secret soft {\"purge\":[\"d\"]}",
            "GET /one?of=https%3A%2F%2Fa.example%2Fb%2520c   ",
        ]
    );
}

#[tokio::test]
async fn what_counts_as_done_is_as_said() {
    let double = Double::of(Any::default(), &[]).await;
    let text = format!("[everything]\nurl = \"{}/all\"\ndone = [200]", double.api());
    let told = settle(&template(&text), &[everything(Mode::Hard)], "p").await;
    assert_eq!(told.ends, [Some(End::Not("202, which \"done\" does not name".to_owned()))]);
    let text = text.replace("200", "202");
    let told = settle(&template(&text), &tags(3, Mode::Hard), "p").await;
    assert_eq!(told.ends, vec![Some(End::Done); 3], "tags are a part of everything");
    assert_eq!(double.calls(), 2);
}

#[test]
fn a_template_that_could_not_be_sent_is_refused_where_it_is_written() {
    for (text, words) in [
        ("", "say how something is purged"),
        ("[tag]\nurl = \"ftp://a/\"", "http or https"),
        ("[tag]\nurl = \"https://{items}/a\"", "whose host is the same for all"),
        ("[tag]\nurl = \"https://a.{items}\"", "whose host is the same for all"),
        ("[tag]\nurl = \"https://me@a/\"", "http or https"),
        ("[tag]\nurl = \"https://a/{secret}\"", "a secret stands in a field"),
        ("[tag]\nurl = \"https://a/\"\nbody = \"{secret}\"", "a secret stands in a field"),
        ("[tag]\nurl = \"https://a/\"\nheaders = { a = \"{secret}\" }", "say secret_file"),
        ("[tag]\nurl = \"https://a/\"\nheaders = { \"a b\" = \"c\" }", "is no field"),
        ("[tag]\nurl = \"https://a/\"\nmost = 0", "most is 1 to"),
        ("[tag]\nurl = \"https://a/\"\nmost = 2\nbetween = \"\"", "run into each other"),
        ("[tag]\nurl = \"https://a/\"\nmethod = \"A B\"", "is no method"),
    ] {
        let config: Config = toml::from_str(text).unwrap();
        let secrets: &dyn Secrets = &Known;
        let wrong = config.driver(secrets).unwrap_err().to_string();
        assert!(wrong.contains(words), "{text}: {wrong}");
    }
}

#[test]
fn an_answer_is_read_by_the_table_of_its_call() {
    use larder_gateway::cdn::driver::{Answer, Said};
    // One address begins as the other.
    let driver = template(
        "[tag]\nurl = \"https://a.example/purge\"\ndone = [200]\n\
         [everything]\nurl = \"https://a.example/purge/all\"\ndone = [202]",
    );
    let now = std::time::SystemTime::now();
    let answer = |status: u16| {
        let (head, ()) = http::Response::builder().status(status).body(()).unwrap().into_parts();
        Answer { head, body: bytes::Bytes::new() }
    };
    for (wish, done, not) in [(tag("a", Mode::Hard), 200, 202), (everything(Mode::Hard), 202, 200)]
    {
        let call = driver.calls(&[wish], "p", now).remove(0);
        assert!(matches!(driver.said(&call, &answer(done), now), Said::Done { .. }), "{done}");
        for refused in [not, 302, 400, 404] {
            let said = driver.said(&call, &answer(refused), now);
            assert!(matches!(said, Said::Refused { .. }), "{refused}");
        }
    }
}
