//! More passwords at once than can be hashed: a few are, a few wait, the rest is told to come back.

use std::time::Duration;

use futures::future::{join, join_all};
use testkit::eventually;

use crate::service::{Answer, PASSWORD, Service};

const ANA: &str = "ana@example.com";
const WRONG: &str = "not the pass phrase at all";
/// The seats and places of one slot.
const ROOM: usize = 2 + 32;

/// Whether a request was refused by the waiting room, in the way that a client can follow.
fn is_refused<T>(answer: Answer<T>) -> bool {
    let Err(error) = answer else { return false };
    if error.error_code().as_str() == "INVALID_CREDENTIALS" {
        return false;
    }
    assert_eq!(error.error_code().as_str(), "SERVICE_UNAVAILABLE");
    assert_eq!(error.reason(), "service.overloaded");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_sign_ins_and_sign_ups_is_refused_at_the_door() {
    let service = Service::start_with(|config| config.hash_slots = 1).await;
    service.sign_up(ANA).await;
    // Everybody comes from another address: this is about the room, not about guessing.
    let sign_ins = join_all((0..3 * ROOM).map(|number| {
        let client = service.client().from(&format!("198.51.{number}.1"));
        let email = if number % 8 == 0 {
            ANA.to_owned()
        } else {
            format!("nobody-{number}@example.com")
        };
        async move { is_refused(client.login(&email, WRONG).await) }
    }));
    let sign_ups = join_all((0..ROOM).map(|number| {
        let client = service.client();
        let email = format!("new-{number}@example.com");
        async move { is_refused(client.register(&email, PASSWORD).await) }
    }));
    let (sign_ins, sign_ups) = join(sign_ins, sign_ups).await;
    let refused = |answers: &[bool]| answers.iter().filter(|refused| **refused).count();
    let all = refused(&sign_ins) + refused(&sign_ups);
    assert!(all > 0 && all < 4 * ROOM, "{all} of {}", 4 * ROOM);
    let text = service.metrics();
    let line = text
        .lines()
        .find(|line| line.starts_with("auth_passwords_refused") && line.contains("\"full\""));
    let full: usize = line
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("nobody was refused at the door: {text}"));
    assert!(full >= ROOM, "{full} of {} were refused at once", 4 * ROOM);
    // Nothing of the flood is left: a sign-in finds its seat, and nobody waits.
    service.client().login(ANA, PASSWORD).await.unwrap();
    eventually("nobody waits", async || {
        let text = service.metrics();
        let mut lines = text.lines();
        lines
            .any(|line| line.starts_with("auth_passwords_waiting{") && line.ends_with(" 0"))
            .then_some(())
    })
    .await;
}
