//! Vary: several answers under one key.

use larder::http::{Policy, Settings};

use crate::support::{Answer, Shape, Site, get_with, ok, over_each_shape, read, secs, settle};

fn asks(lang: &str) -> http::Request<larder::http::Body> {
    get_with("/a", &[("x-lang", lang)])
}

fn in_lang(body: String) -> http::Response<larder::http::Body> {
    ok(&[("cache-control", "max-age=60"), ("vary", "X-Lang")], body)
}

over_each_shape!(variants_lie_under_one_entry_and_each_reader_gets_its_own);
async fn variants_lie_under_one_entry_and_each_reader_gets_its_own(shape: Shape) {
    let site = Site::new(shape);
    for lang in ["de", "fr", "it"] {
        let miss = site.answered(asks(lang), in_lang(lang.to_owned())).await;
        let why = if lang == "de" { "uri-miss" } else { "vary-miss" };
        assert!(miss.said().starts_with(&format!("Larder;fwd={why};")), "{miss:?}");
    }
    for lang in ["it", "de", "fr"] {
        let hit = site.send(asks(lang)).await;
        assert_eq!((hit.text(), hit.is_hit()), (lang, true));
    }
    assert_eq!(site.store().stats().entries, 1);
    site.store().remove("http://example.org/a");
    assert_eq!(site.store().stats().entries, 0);
}

over_each_shape!(there_are_so_many_variants_and_no_more);
async fn there_are_so_many_variants_and_no_more(shape: Shape) {
    let policy = Policy::standard().max_variants(3);
    let site = Site::with(shape, policy, Settings::default(), |builder| builder);
    for number in 0..10 {
        let lang = number.to_string();
        site.answered(asks(&lang), in_lang(lang.clone())).await;
        site.clock.advance(secs(1));
    }
    for number in 7..10 {
        assert_eq!(site.send(asks(&number.to_string())).await.text(), number.to_string());
    }
    assert_eq!(site.origin.calls(), 10);
    let reading = site.ask(asks("6"));
    settle().await;
    assert_eq!(site.origin.waiting(), 1);
    reading.abort();
}

/// Which of these variants are stored.
async fn left_of(site: &Site, langs: &[&str]) -> String {
    let mut left = Vec::new();
    for lang in langs {
        let reading = site.ask(asks(lang));
        settle().await;
        if reading.is_finished() {
            assert!(read(reading).await.is_hit());
            left.push(*lang);
        } else {
            site.origin.refuse();
            assert!(reading.await.unwrap().is_err());
        }
    }
    left.join(" ")
}

over_each_shape!(where_all_variants_are_too_much_for_one_entry_the_oldest_go);
async fn where_all_variants_are_too_much_for_one_entry_the_oldest_go(shape: Shape) {
    let site =
        Site::with(shape.holding(200_000), Policy::standard(), Settings::default(), |builder| {
            builder.max_entry_bytes(100_000)
        });
    for (lang, length) in [("de", 30_000), ("fr", 30_000), ("it", 60_000), ("rm", 3_000)] {
        let body = lang.repeat(length / 2);
        assert_eq!(site.answered(asks(lang), in_lang(body.clone())).await.text(), body);
        site.clock.advance(secs(1));
    }
    let memory_or_below = |in_memory, all| if shape.has_lower_tier() { all } else { in_memory };
    let left = memory_or_below("fr it rm", "de fr it rm");
    assert_eq!(left_of(&site, &["de", "fr", "it", "rm"]).await, left);
    let whole = "en".repeat(45_000);
    site.answered(asks("en"), in_lang(whole.clone())).await;
    assert_eq!(site.send(asks("en")).await.text(), whole);
    let left = memory_or_below("rm en", "de fr it rm en");
    assert_eq!(left_of(&site, &["de", "fr", "it", "rm", "en"]).await, left);
    assert_eq!((site.store().stats().entries, site.store().stats().too_large), (1, 0));
}

over_each_shape!(where_all_variants_have_more_tags_than_one_entry_may_the_oldest_go);
async fn where_all_variants_have_more_tags_than_one_entry_may_the_oldest_go(shape: Shape) {
    let site = Site::new(shape.holding(8 << 10));
    for lang in ["de", "fr", "it"] {
        let tags: Vec<_> = (0..120).map(|number| format!("{lang}-{number}")).collect();
        let tags = tags.join(" ");
        let fields =
            [("cache-control", "max-age=60"), ("vary", "X-Lang"), ("surrogate-key", &*tags)];
        site.answered(asks(lang), ok(&fields, lang.to_owned())).await;
        site.clock.advance(secs(1));
    }
    let left = if shape.has_lower_tier() { "de fr it" } else { "fr it" };
    assert_eq!(left_of(&site, &["de", "fr", "it"]).await, left);
    site.store().purge_tag("it-119");
    // Below memory each has a record, and tags, of its own.
    let left = if shape.has_lower_tier() { "fr" } else { "" };
    assert_eq!(left_of(&site, &["fr", "it"]).await, left, "a purge of one takes its key along");
}

over_each_shape!(an_answer_that_depends_on_everything_answers_only_its_own_reader);
async fn an_answer_that_depends_on_everything_answers_only_its_own_reader(shape: Shape) {
    let site = Site::new(shape);
    let star = || ok(&[("cache-control", "max-age=60"), ("vary", "*")], "body");
    for _ in 0..2 {
        let miss = site.answered(asks("de"), star()).await;
        assert!(miss.said().ends_with("detail=vary-star"), "{miss:?}");
    }
}

over_each_shape!(those_who_waited_for_another_variant_fly_together);
async fn those_who_waited_for_another_variant_fly_together(shape: Shape) {
    let site = Site::new(shape);
    let first = site.ask(asks("de"));
    settle().await;
    let others: Vec<_> =
        (0..50).map(|number| (number, site.ask(asks(["de", "fr"][number % 2])))).collect();
    settle().await;
    assert_eq!(site.origin.calls(), 1, "nobody knows yet that it varies");
    site.origin.answer(in_lang("de".to_owned()));
    settle().await;
    assert_eq!((site.origin.calls(), site.origin.waiting()), (2, 1), "all of them one flight");
    assert_eq!(site.origin.last().field("x-lang"), "fr");
    site.origin.answer(in_lang("fr".to_owned()));
    assert_eq!(read(first).await.text(), "de");
    for (number, other) in others {
        assert_eq!(read(other).await.text(), ["de", "fr"][number % 2]);
    }
}

over_each_shape!(variants_of_a_known_answer_do_not_wait_for_each_other);
async fn variants_of_a_known_answer_do_not_wait_for_each_other(shape: Shape) {
    let site = Site::new(shape);
    site.answered(asks("de"), in_lang("de".to_owned())).await;
    let fr = site.ask(asks("fr"));
    let it = site.ask(asks("it"));
    settle().await;
    assert_eq!(site.origin.waiting(), 2);
    let slow = site.origin.take();
    site.origin.answer(in_lang("it".to_owned()));
    assert_eq!(read(it).await.text(), "it");
    assert!(slow.send(Ok(in_lang("fr".to_owned()))).is_ok());
    assert_eq!(Answer::read(fr.await.unwrap().unwrap()).await.text(), "fr");
    settle().await;
    for lang in ["de", "fr", "it"] {
        assert_eq!(site.send(asks(lang)).await.text(), lang);
    }
}
