//! Guessing passwords gets slow, and never locks the owner out.

use std::time::Duration;

use chrono::TimeDelta;
use futures::future::join_all;

use crate::service::{PASSWORD, Service, told};

const ANA: &str = "ana@example.com";
const WRONG: &str = "not the pass phrase at all";

#[tokio::test]
async fn after_ten_failures_from_one_network_each_next_one_waits_longer() {
    let service = Service::start().await;
    service.sign_up(ANA).await;
    let client = service.client();
    for _ in 0..11 {
        assert_eq!(
            told(client.login(ANA, WRONG).await).0,
            "INVALID_CREDENTIALS"
        );
    }
    let refused = client.login(ANA, PASSWORD).await.unwrap_err();
    assert_eq!(
        refused.error_code().as_str(),
        "RATE_LIMITED",
        "even the right password waits"
    );
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(1)));
    service.clock.advance(TimeDelta::seconds(1));
    assert_eq!(
        told(client.login(ANA, WRONG).await).0,
        "INVALID_CREDENTIALS"
    );
    assert_eq!(
        client.login(ANA, WRONG).await.unwrap_err().retry_after(),
        Some(Duration::from_secs(2))
    );
    service.clock.advance(TimeDelta::seconds(2));
    client
        .login(ANA, PASSWORD)
        .await
        .expect("waiting always helps");
    assert_eq!(
        told(client.login(ANA, WRONG).await).0,
        "INVALID_CREDENTIALS",
        "a success clears the count"
    );
}

#[tokio::test]
async fn unknown_addresses_are_slowed_down_alike() {
    let service = Service::start().await;
    let client = service.client();
    for _ in 0..11 {
        assert_eq!(
            told(client.login("nobody@example.com", WRONG).await).0,
            "INVALID_CREDENTIALS"
        );
    }
    assert_eq!(
        told(client.login("nobody@example.com", WRONG).await).0,
        "RATE_LIMITED"
    );
}

#[tokio::test]
async fn parallel_guesses_count_as_many() {
    let service = Service::start().await;
    service.sign_up(ANA).await;
    let guesses = (0..40).map(|_| {
        let client = service.client();
        async move { told(client.login(ANA, WRONG).await).0 }
    });
    let answers = join_all(guesses).await;
    let tried = answers
        .iter()
        .filter(|code| *code == "INVALID_CREDENTIALS")
        .count();
    assert!(tried <= 11, "{tried} of 40 parallel guesses were looked at");
}

#[tokio::test]
async fn a_guesser_elsewhere_cannot_keep_the_owner_out() {
    let service = Service::start().await;
    service.sign_up(ANA).await;
    let home = service.client();
    home.login(ANA, PASSWORD).await.unwrap();
    // Many networks, so that no single one is slowed down.
    for network in 0..31 {
        let guesser = service.client().from(&format!("198.51.{network}.1"));
        assert_eq!(
            told(guesser.login(ANA, WRONG).await).0,
            "INVALID_CREDENTIALS"
        );
    }
    let new_place = service.client().from("192.0.2.1");
    assert_eq!(
        told(new_place.login(ANA, PASSWORD).await).0,
        "RATE_LIMITED",
        "the account as a whole rests"
    );
    home.login(ANA, PASSWORD)
        .await
        .expect("but not for a network that the person is known from");
}
