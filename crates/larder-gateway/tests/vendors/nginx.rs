//! nginx: one URL a call, for its own host; what was not there is gone as well.

use larder::Mode;

use crate::{
    client::{End, settle},
    double::{Double, Mishap, Reply, Seen, Vendor},
    setups::{host, nginx, prefix, tag, url},
};

struct Nginx {
    method: &'static str,
    absent: u16,
    gone: Vec<String>,
}

impl Vendor for Nginx {
    fn answer(&mut self, seen: &Seen) -> Reply {
        if seen.method != self.method {
            return Reply::of(405, "<html>405</html>");
        }
        let key = format!("{}{}", seen.field("host"), seen.target);
        if self.gone.contains(&key) {
            return Reply::of(self.absent, "<html>nothing there</html>");
        }
        self.gone.push(key);
        Reply::of(200, "<html>Successful purge</html>")
    }

    fn too_many(&self) -> Reply {
        Reply::of(429, "")
    }
}

#[tokio::test]
async fn by_its_method_or_at_a_location_each_url_goes() {
    for (method, more, absent, before) in
        [("PURGE", "absent_status = 404", 404, ""), ("GET", "location = \"/purge\"", 412, "/purge")]
    {
        let vendor = Nginx { method, absent, gone: Vec::new() };
        let double = Double::of(vendor, &[Mishap::Lost, Mishap::None, Mishap::Unwell]).await;
        let driver = nginx(&double.api(), &format!("{more}\nwildcards = true"));
        let wishes = [
            url("https://a.example/b?c=1", Mode::Soft),
            url("https://a.example/b?c=1", Mode::Hard),
            prefix("https://a.example/d"),
            host("b.example"),
        ];
        let told = settle(&driver, &wishes, "purge-1").await;
        assert!(told.ends.iter().all(|end| *end == Some(End::Done)), "{:?}", told.ends);
        let mut gone = double.look(|vendor| vendor.gone.clone());
        gone.sort_unstable();
        let expected = ["a.example{}/b?c=1", "a.example{}/d*", "b.example{}/*"];
        assert_eq!(gone, expected.map(|text| text.replace("{}", before)));
    }
}

#[tokio::test]
async fn what_a_server_without_the_module_says_is_no_purge() {
    let double = Double::of(Nginx { method: "GET", absent: 412, gone: Vec::new() }, &[]).await;
    let driver = nginx(&double.api(), "");
    let wishes = [url("https://a.example/b", Mode::Hard), tag("post.1", Mode::Hard)];
    let told = settle(&driver, &wishes, "purge-1").await;
    assert_eq!(told.ends, [Some(End::Not("405".to_owned())), None], "no tag is in any call");
}
