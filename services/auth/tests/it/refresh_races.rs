//! Refresh against refresh, sign-out and suspension: whatever the order, nothing forks and nothing outlives its end.

use std::collections::BTreeSet;

use futures::future::{join, join_all};
use kernel::TenantId;
use testkit::eventually;

use crate::service::{Answer, PASSWORD, Service, access, told};

const ANA: &str = "ana@example.com";
const ROUNDS: i64 = 6;
const CALLERS: usize = 50;

const FORKS: &str = "select count(*) from (
    select family_id from auth.refresh_tokens where used_at is null and revoked_at is null group by family_id having count(*) > 1) f";

/// Keycloak CVE-2026-1035: fifty clients with one token get one lineage, round after round.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_parallel_refreshes_give_one_successor() {
    let service = Service::start().await;
    service.sign_up(ANA).await;
    let mut token = service
        .client()
        .login(ANA, PASSWORD)
        .await
        .unwrap()
        .refresh_token;
    for round in 1..=ROUNDS {
        let calls = (0..CALLERS).map(|_| {
            let (client, token) = (service.client(), token.clone());
            async move { client.refresh(&token).await }
        });
        let answers: Vec<_> = join_all(calls).await;
        let successors: BTreeSet<String> = answers
            .into_iter()
            .filter_map(busy_or)
            .map(|pair| pair.refresh_token)
            .collect();
        assert_eq!(successors.len(), 1, "round {round}: {successors:?}");
        assert_eq!(service.count(FORKS).await, 0);
        assert_eq!(
            service
                .count("select count(*) from auth.refresh_tokens")
                .await,
            round + 1,
            "one new link a round"
        );
        token = successors.into_iter().next().unwrap();
    }
}

/// Two generations at once: the old token is theft as soon as the new one has been used, and then nothing is left alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_use_of_two_generations_leaves_at_most_one_leaf() {
    let service = Service::start().await;
    service.sign_up(ANA).await;
    for _ in 0..ROUNDS {
        let first = service
            .client()
            .login(ANA, PASSWORD)
            .await
            .unwrap()
            .refresh_token;
        let second = service
            .client()
            .refresh(&first)
            .await
            .unwrap()
            .refresh_token;
        let calls = (0..20).map(|n| {
            let (client, token) = (
                service.client(),
                if n % 2 == 0 {
                    first.clone()
                } else {
                    second.clone()
                },
            );
            async move { client.refresh(&token).await }
        });
        join_all(calls).await;
        assert_eq!(service.count(FORKS).await, 0);
    }
}

/// Keycloak 51312: once the sign-out has returned, no token of the session is good, whatever was under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_never_outlives_a_sign_out() {
    let service = Service::start().await;
    service.sign_up(ANA).await;
    let client = service.client();
    for round in 0..ROUNDS * 2 {
        let pair = client.login(ANA, PASSWORD).await.unwrap();
        let context = service.resolve(&pair.access_token).await.unwrap();
        let refreshes = join_all((0..8).map(|_| client.refresh(&pair.refresh_token)));
        let (minted, ended) = join(refreshes, client.logout(&context, round % 2 == 0)).await;
        ended.unwrap();
        for pair in minted.into_iter().flatten() {
            assert_eq!(
                told(client.refresh(&pair.refresh_token).await).0,
                "INVALID_TOKEN",
                "round {round}"
            );
            assert_eq!(
                told(service.resolve(&pair.access_token).await).0,
                "INVALID_TOKEN",
                "round {round}"
            );
        }
        assert_eq!(service.count("select count(*) from auth.refresh_tokens where used_at is null and revoked_at is null").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_minted_once_a_suspension_has_returned() {
    let service = Service::start().await;
    let ana = service.sign_up(ANA).await;
    let tenant: TenantId = service.tenant_of(ana, 1).await;
    let client = service.client();
    let mut token = client.login(ANA, PASSWORD).await.unwrap().refresh_token;
    for round in 0..ROUNDS {
        let version = 2 + round * 2;
        let refreshes = join_all((0..8).map(|_| client.refresh(&token)));
        let (minted, suspended) = join(
            refreshes,
            service.apply(access(tenant, version, "suspended")),
        )
        .await;
        suspended.unwrap();
        let before = service
            .count("select count(*) from auth.refresh_tokens")
            .await;
        let latest = minted
            .into_iter()
            .flatten()
            .next()
            .map_or(token.clone(), |pair| pair.refresh_token);
        for token in [&token, &latest] {
            assert_eq!(
                told(client.refresh(token).await).0,
                "TENANT_SUSPENDED",
                "round {round}"
            );
        }
        assert_eq!(
            service
                .count("select count(*) from auth.refresh_tokens")
                .await,
            before
        );
        service
            .apply(access(tenant, version + 1, "active"))
            .await
            .unwrap();
        token = client.refresh(&latest).await.unwrap().refresh_token;
    }
}

/// The races above cannot hit every gap. Here each end is under way and uncommitted: a refresh must wait for it, and then refuse.
#[tokio::test]
async fn a_refresh_waits_for_an_end_that_is_under_way() {
    let service = Service::start().await;
    let ana = service.sign_up(ANA).await;
    service.tenant_of(ana, 1).await;
    let client = service.client();
    for (ending, undo, expected) in [
        (
            "update auth.tenants set status = 'suspended'",
            "update auth.tenants set status = 'active'",
            "TENANT_SUSPENDED",
        ),
        (
            "update auth.memberships set status = 'suspended'",
            "update auth.memberships set status = 'active'",
            "USER_SUSPENDED",
        ),
        (
            "update auth.users set status = 'suspended'",
            "update auth.users set status = 'active'",
            "USER_SUSPENDED",
        ),
        (
            "update auth.sessions set revoked_at = now()",
            "select 1",
            "INVALID_TOKEN",
        ),
    ] {
        let pair = client.login(ANA, PASSWORD).await.unwrap();
        let mut ender = service.db.admin().await;
        sqlx::raw_sql("begin").execute(&mut ender).await.unwrap();
        sqlx::raw_sql(ending).execute(&mut ender).await.unwrap();
        let commit_when_awaited = async {
            eventually("the refresh waits", async || {
                let waiting = "select count(*) from pg_locks where not granted";
                (service.count(waiting).await > 0).then_some(())
            })
            .await;
            sqlx::raw_sql("commit").execute(&mut ender).await.unwrap();
        };
        let refreshing = client.refresh(&pair.refresh_token);
        let ((), answer) = join(commit_when_awaited, refreshing).await;
        assert_eq!(told(answer).0, expected, "{ending}");
        service.arrange(undo).await;
    }
}

/// Under fifty callers a few may be told to come back; nobody may be told something else.
fn busy_or<T: std::fmt::Debug>(answer: Answer<T>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(
                matches!(
                    error.error_code().as_str(),
                    "SERVICE_UNAVAILABLE" | "CONFLICT"
                ),
                "{error:?}"
            );
            None
        }
    }
}
