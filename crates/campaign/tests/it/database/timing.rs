//! A foreign record and a missing one: the same answer, byte for byte, and in the same time.

use std::time::Duration;

use kernel::Clock;
use reqwest::{Method, StatusCode};
use uuid::Uuid;

use campaign::Extent;

use super::dice::Dice;
use super::two_houses::{RECORDS, two_houses};

/// Foreign records to ask for.
const RECORDS_OF_BOB: usize = 40;
/// The share of pairs that a guess by time alone may get right, of which half is luck.
const AUC_MAX: f64 = 0.52;

#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_missing_records_cannot_be_told_apart() {
    let extent = Extent::of_this_run();
    let pairs = extent.pick(100, 20_000);
    let mut dice = Dice::of_this_run("timing");
    let (platform, [ana, bob]) = two_houses().await;
    let mut foreign = Vec::new();
    for n in 0..RECORDS_OF_BOB {
        foreign.push(bob.create(&format!("package-{n}")).await);
        ana.create(&format!("package-{n}")).await;
    }
    let http = reqwest::Client::builder().build().unwrap();
    let clock = Clock::system();
    for method in [Method::GET, Method::DELETE] {
        let (mut of_foreign, mut of_missing) = (Vec::new(), Vec::new());
        for _ in 0..pairs {
            let pick = usize::try_from(dice.below(foreign.len() as u64)).unwrap();
            let there = &foreign[pick];
            let missing = neighbour(there, dice.roll());
            // In random order, so that the second of a pair has no advantage.
            let foreign_first = dice.below(2) == 0;
            let ids = if foreign_first {
                [there, &missing]
            } else {
                [&missing, there]
            };
            let mut answers = Vec::new();
            for id in ids {
                let path = format!("{RECORDS}/{id}");
                let began = clock.instant();
                let answer = ana
                    .ask(&http, &platform.base_url, (method.clone(), &path))
                    .await;
                let took = clock.instant() - began;
                let (status, body) = answer;
                assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
                answers.push(body.replace(id.as_str(), "<id>"));
                let is_foreign = id == there;
                if is_foreign {
                    &mut of_foreign
                } else {
                    &mut of_missing
                }
                .push(took);
            }
            assert_eq!(masked(&answers[0]), masked(&answers[1]));
        }
        let auc = auc(&of_foreign, &of_missing);
        extent.tell(&format!("timing: {method} pairs"), pairs);
        extent.tell(&format!("timing: {method} AUC"), format!("{auc:.4}"));
        if extent == Extent::Long {
            assert!(auc.max(1.0 - auc) <= AUC_MAX, "{method}: {auc}");
        }
    }
    for id in &foreign {
        let path = format!("{RECORDS}/{id}");
        assert_eq!(bob.client.status(&path).await.unwrap(), StatusCode::OK);
    }
    platform.stop().await;
}

/// An id that nobody has, beside one that somebody has: an index finds its place in the same pages.
fn neighbour(id: &str, noise: u64) -> String {
    let mut bytes = *Uuid::parse_str(id).unwrap().as_bytes();
    bytes[10..].copy_from_slice(&noise.to_be_bytes()[2..]);
    Uuid::from_bytes(bytes).to_string()
}

/// Without what differs from request to request by design.
fn masked(body: &str) -> serde_json::Value {
    let mut body: serde_json::Value = serde_json::from_str(body).unwrap();
    for place in ["", "/error"] {
        let fields = body.pointer_mut(place).unwrap().as_object_mut().unwrap();
        for name in ["requestId", "traceId", "timestamp"] {
            fields.remove(name);
        }
    }
    body
}

/// The probability that a random answer of the first kind took longer than a random one of the second (Mann and Whitney).
fn auc(first: &[Duration], second: &[Duration]) -> f64 {
    let mut all: Vec<(Duration, bool)> = first.iter().map(|took| (*took, true)).collect();
    all.extend(second.iter().map(|took| (*took, false)));
    all.sort_unstable();
    let (mut wins, mut below) = (0.0, 0.0);
    for (_, is_first) in all {
        if is_first {
            wins += below;
        } else {
            below += 1.0;
        }
    }
    wins / (first.len() as f64 * second.len() as f64)
}
