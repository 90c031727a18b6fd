//! Worklists: one of all who share works, and whoever was the one before is not heard.

use std::time::Duration;

use larder::redis::worklist::{Hold, Worklist};
use larder_test_support::redis::Redis as Server;
use tokio::time::sleep;

use crate::control::{tell, tier};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

fn list(server: &Server) -> Worklist {
    tier(server).worklist("test")
}

fn hold(token: u64, length: Duration) -> Hold {
    Hold { token, length, most: 10, ..Hold::default() }
}

fn says(token: u64, value: &str) -> Hold {
    Hold { says: vec![("done".into(), value.into())], ..hold(token, LONG) }
}

#[tokio::test]
async fn what_was_added_is_read_in_its_order_by_who_has_the_right_and_by_nobody_else() {
    let server = Server::start().await;
    let (one, other) = (list(&server), list(&server));
    let first = one.add(&[b"a".to_vec(), b"b".to_vec()]).await.unwrap();
    let second = other.add(&[b"\0c\xff".to_vec()]).await.unwrap();
    assert_eq!(first.generation, second.generation);
    let numbers = [&first.numbers[..], &second.numbers].concat();
    assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
    let held = one.hold(&hold(0, LONG)).await.unwrap();
    let read: Vec<_> = held.pieces.iter().map(|piece| (piece.number, &piece.bytes[..])).collect();
    assert_eq!(read, [(numbers[0], &b"a"[..]), (numbers[1], b"b"), (numbers[2], b"\0c\xff")]);
    let before: Vec<_> = held.pieces.iter().map(|piece| piece.before).collect();
    assert_eq!(before, [0, numbers[0], numbers[1]]);
    assert_eq!((held.token, held.last), (Some(1), numbers[2]));
    let others = other.hold(&hold(0, LONG)).await.unwrap();
    assert_eq!((others.token, others.pieces.len()), (None, 0));
    // It goes on behind what it has read.
    let on = Hold { after: numbers[1], ..hold(1, LONG) };
    assert_eq!(one.hold(&on).await.unwrap().pieces.len(), 1);
    // Given back, the right is another's at once.
    one.hold(&hold(1, Duration::ZERO)).await.unwrap();
    assert_eq!(other.hold(&hold(0, LONG)).await.unwrap().token, Some(2));
}

#[tokio::test]
async fn who_was_paused_while_another_took_over_can_say_nothing() {
    let server = Server::start().await;
    let (one, other) = (list(&server), list(&server));
    assert_eq!(one.hold(&hold(0, SHORT)).await.unwrap().token, Some(1));
    one.hold(&Hold { length: SHORT, ..says(1, "7") }).await.unwrap();
    sleep(2 * SHORT).await;
    let held = other.hold(&hold(0, LONG)).await.unwrap();
    assert_eq!((held.token, held.said["done"].as_str()), (Some(2), "7"));
    other.hold(&says(2, "8")).await.unwrap();
    let late = one.hold(&says(1, "3")).await.unwrap();
    assert_eq!((late.token, late.said["done"].as_str()), (None, "8"));
    // Nor may who has guessed a token, but is somebody else.
    assert_eq!(one.hold(&says(2, "3")).await.unwrap().token, None);
    let held = other.hold(&hold(2, LONG)).await.unwrap();
    assert_eq!(held.said["done"], "8");
}

#[tokio::test]
async fn a_list_that_was_cut_or_lost_is_found_out() {
    let server = Server::start().await;
    let list = list(&server);
    let pieces: Vec<_> = (0..5).map(|piece: u8| vec![piece]).collect();
    let added = list.add(&pieces).await.unwrap();
    let () = tell(&server, &["XTRIM", "{larder:larder}:worklist:test", "MAXLEN", "2"]).await;
    let held = list.hold(&hold(0, LONG)).await.unwrap();
    assert_eq!(held.pieces.len(), 2);
    assert_eq!(held.pieces[0].before, added.numbers[2], "three are missing before it");
    let () = tell(&server, &["DEL", "{larder:larder}:work:test"]).await;
    let again = list.add(&pieces).await.unwrap();
    assert_ne!(again.generation, added.generation);
    let held = list.hold(&hold(1, LONG)).await.unwrap();
    assert_eq!(
        (held.token, held.pieces.len()),
        (Some(1), 5),
        "what is left of the old one is gone"
    );
}
