//! Refresh against refresh: one token in a hundred hands has one successor.
//!
//! The failures of others that SECURITY.md names have their tests beside the service, in `services/auth/tests/it`: parallel refresh
//! (Keycloak CVE-2026-1035) and refresh against sign-out (51312) in `refresh_races.rs`, replay within a second (50999), replay after a
//! restart (CVE-2026-9802), tokens of a suspended person (ZITADEL CVE-2023-22492) and reuse that ends what was issued (7321) in
//! `refresh.rs`, malformed times (jsonwebtoken CVE-2026-25537) in `tokens.rs`. Here they meet in numbers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use campaign::Extent;
use chrono::TimeDelta;
use futures::future::join_all;
use runtime::Tasks;
use sqlx::PgConnection;
use uuid::Uuid;

use super::service::{Service, code, unless_busy};

/// Chains that have more than one token that may be used.
const FORKS: &str = "select count(*) from (
    select family_id from auth.refresh_tokens where used_at is null and revoked_at is null group by family_id having count(*) > 1) f";
/// Live tokens of a session.
const LEAVES: &str = "select count(*) from auth.refresh_tokens where session_id = $1 and used_at is null and revoked_at is null";
/// Chains of a session, and whether the generations of the only one are without gap: `(chains, links, highest)`.
const LINEAGE: &str = "select count(distinct family_id), count(*), max(generation)::bigint from auth.refresh_tokens where session_id = $1";

/// Looks for a fork all the time, beside the race.
struct Observer {
    looks: Arc<AtomicU64>,
    forks: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    tasks: Tasks,
}

impl Observer {
    async fn start(service: &Service) -> Self {
        let (looks, forks) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (is_over, tasks) = (Arc::new(AtomicBool::new(false)), Tasks::new());
        let mut admin = service.db.admin().await;
        let (seen, found, over) = (Arc::clone(&looks), Arc::clone(&forks), Arc::clone(&is_over));
        tasks.spawn("observer", async move {
            while !over.load(Ordering::SeqCst) {
                let count: i64 = sqlx::query_scalar(FORKS)
                    .fetch_one(&mut admin)
                    .await
                    .unwrap();
                seen.fetch_add(1, Ordering::SeqCst);
                found.fetch_add(u64::try_from(count).unwrap(), Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        });
        Self {
            looks,
            forks,
            is_over,
            tasks,
        }
    }

    /// How often it looked; what it saw is a failure.
    async fn end(self) -> u64 {
        self.is_over.store(true, Ordering::SeqCst);
        self.tasks.drain(std::time::Duration::from_secs(10)).await;
        assert_eq!(
            self.forks.load(Ordering::SeqCst),
            0,
            "two live leaves were seen"
        );
        self.looks.load(Ordering::SeqCst)
    }
}

/// SECURITY: however many present a token at once, all get the same successor; nothing ever has two live leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_in_many_hands_has_one_successor() {
    let extent = Extent::of_this_run();
    let (callers, rounds) = extent.pick((20, 5), (100, 200));
    let service = Service::start().await;
    let people = service.people(1).await;
    let mut admin = service.db.admin().await;
    let (session_id, pair) = service.open_session(&people[0]).await;
    let observer = Observer::start(&service).await;
    let mut tokens = vec![pair.refresh_token.to_string()];
    let mut issued = vec![pair.access_token];
    let mut busy = 0;
    for round in 1..=rounds {
        let token = tokens.last().unwrap().clone();
        let answers = join_all((0..callers).map(|_| service.refresh(&token))).await;
        let pairs: Vec<_> = answers.into_iter().filter_map(unless_busy).collect();
        busy += callers - pairs.len();
        let successors: BTreeSet<&str> = pairs
            .iter()
            .map(|pair| pair.refresh_token.as_str())
            .collect();
        assert_eq!(successors.len(), 1, "round {round}: {successors:?}");
        assert_lineage(&mut admin, session_id.0, round).await;
        service.clock.advance(TimeDelta::milliseconds(9_999));
        let late = service.refresh(&token).await.unwrap();
        assert_eq!(
            late.refresh_token, pairs[0].refresh_token,
            "a lost answer is repeated until the last moment"
        );
        assert_lineage(&mut admin, session_id.0, round).await;
        issued.extend([pairs[0].access_token.clone(), late.access_token]);
        // Access tokens live 15 minutes; those of the last rounds are still good when the family ends.
        issued = issued.split_off(issued.len().saturating_sub(40));
        tokens.push(late.refresh_token);
    }
    for token in &issued {
        service.resolve(token).await.unwrap();
    }
    service.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(
        code(service.refresh(&tokens[rounds - 1]).await),
        "INVALID_TOKEN",
        "ten seconds are over: theft"
    );
    assert_eq!(
        leaves(&mut admin, session_id.0).await,
        0,
        "the family is dead"
    );
    for token in &issued {
        assert_eq!(
            code(service.resolve(token).await),
            "INVALID_TOKEN",
            "and so is every access token of it"
        );
    }
    for token in tokens.iter().rev().take(5) {
        assert_eq!(code(service.refresh(token).await), "INVALID_TOKEN");
    }
    let looks = observer.end().await;
    extent.tell("refreshes", callers * rounds);
    extent.tell("of them told to come back", busy);
    extent.tell("looks of the observer, all without a fork", looks);
    service.stop().await;
}

/// The thief and the owner refresh at once, one of them with a token of the past: whoever comes first, at the end nobody has anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reuse_beside_a_refresh_ends_the_family() {
    let extent = Extent::of_this_run();
    let rounds = extent.pick(5, 500);
    let service = Service::start().await;
    let people = service.people(1).await;
    let mut admin = service.db.admin().await;
    let observer = Observer::start(&service).await;
    for round in 0..rounds {
        let (session_id, first) = service.open_session(&people[0]).await;
        let second = service.refresh(&first.refresh_token).await.unwrap();
        let third = service.refresh(&second.refresh_token).await.unwrap();
        let calls = (0..8).map(async |number| match number % 2 {
            0 => (true, service.refresh(&first.refresh_token).await),
            _ => (false, service.refresh(&third.refresh_token).await),
        });
        let mut minted = Vec::new();
        for (is_reuse, answer) in join_all(calls).await {
            match answer {
                Ok(pair) => {
                    assert!(
                        !is_reuse,
                        "round {round}: a token of two generations ago was taken"
                    );
                    minted.push(pair);
                }
                Err(error) => assert_eq!(
                    error.error_code().as_str(),
                    "INVALID_TOKEN",
                    "round {round}"
                ),
            }
        }
        assert_eq!(leaves(&mut admin, session_id.0).await, 0, "round {round}");
        let earlier = [
            &first.access_token,
            &second.access_token,
            &third.access_token,
        ];
        for token in earlier
            .into_iter()
            .chain(minted.iter().map(|pair| &pair.access_token))
        {
            assert_eq!(
                code(service.resolve(token).await),
                "INVALID_TOKEN",
                "round {round}"
            );
        }
        for pair in &minted {
            assert_eq!(
                code(service.refresh(&pair.refresh_token).await),
                "INVALID_TOKEN",
                "round {round}"
            );
        }
    }
    observer.end().await;
    extent.tell("families ended by reuse", rounds);
    service.stop().await;
}

async fn leaves(admin: &mut PgConnection, session_id: Uuid) -> i64 {
    let revoked: bool =
        sqlx::query_scalar("select revoked_at is not null from auth.sessions where id = $1")
            .bind(session_id)
            .fetch_one(&mut *admin)
            .await
            .unwrap();
    let leaves: i64 = sqlx::query_scalar(LEAVES)
        .bind(session_id)
        .fetch_one(&mut *admin)
        .await
        .unwrap();
    if revoked { 0 } else { leaves }
}

async fn assert_lineage(admin: &mut PgConnection, session_id: Uuid, round: usize) {
    let round = i64::try_from(round).unwrap();
    let lineage: (i64, i64, i64) = sqlx::query_as(LINEAGE)
        .bind(session_id)
        .fetch_one(&mut *admin)
        .await
        .unwrap();
    assert_eq!(
        lineage,
        (1, round + 1, round),
        "one chain, one link a round, no gap"
    );
    assert_eq!(leaves(admin, session_id).await, 1, "round {round}");
}
