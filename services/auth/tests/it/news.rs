//! The stream that tells the gateway which cached contexts are stale.

use std::time::Duration;

use kernel::TenantId;
use proto::auth::v1::{AccessChange, WatchAccessRequest, WatchAccessResponse};
use tonic::Streaming;
use uuid::Uuid;

use crate::service::{PASSWORD, Service, access, anyone};

const ANA: &str = "ana@example.com";

async fn watch(service: &Service, after_sequence: i64) -> Streaming<WatchAccessResponse> {
    let (mut client, peer) = service.access_of("gateway");
    client
        .watch_access(peer.stream_request(&anyone(), WatchAccessRequest { after_sequence }))
        .await
        .unwrap()
        .into_inner()
}

async fn next(stream: &mut Streaming<WatchAccessResponse>) -> WatchAccessResponse {
    tokio::time::timeout(Duration::from_secs(5), stream.message())
        .await
        .expect("something each second")
        .unwrap()
        .unwrap()
}

async fn next_change(stream: &mut Streaming<WatchAccessResponse>) -> (i64, AccessChange) {
    loop {
        let news = next(stream).await;
        if let Some(change) = news.change {
            return (news.sequence, change);
        }
    }
}

#[tokio::test]
async fn a_watcher_hears_at_once_where_it_stands_and_then_a_heartbeat_each_second() {
    let service = Service::start().await;
    let mut stream = watch(&service, 0).await;
    let first = next(&mut stream).await;
    assert_eq!(first.change, None);
    assert!(first.sequence > 0);
    let second = next(&mut stream).await;
    assert_eq!(second, first);
}

#[tokio::test]
async fn sign_out_and_suspension_are_told_while_they_happen() {
    let service = Service::start().await;
    let ana = service.sign_up(ANA).await;
    let tenant = service.tenant_of(ana, 1).await;
    let client = service.client();
    let pair = client.login(ANA, PASSWORD).await.unwrap();
    let context = service.resolve(&pair.access_token).await.unwrap();
    let mut stream = watch(&service, 0).await;
    next(&mut stream).await;
    client.logout(&context, false).await.unwrap();
    let (_, change) = next_change(&mut stream).await;
    assert_eq!(
        change,
        AccessChange {
            session_id: context.session_id.clone(),
            ..AccessChange::default()
        }
    );
    service.apply(access(tenant, 2, "suspended")).await.unwrap();
    let (_, change) = next_change(&mut stream).await;
    assert_eq!(
        change,
        AccessChange {
            tenant_id: Some(tenant.to_string()),
            ..AccessChange::default()
        }
    );
    let pair = client.login(ANA, PASSWORD).await.unwrap();
    let context = service.resolve(&pair.access_token).await.unwrap();
    client.logout(&context, true).await.unwrap();
    let (_, change) = next_change(&mut stream).await;
    assert_eq!(
        change,
        AccessChange {
            actor_id: Some(ana.to_string()),
            ..AccessChange::default()
        }
    );
}

#[tokio::test]
async fn a_watcher_that_comes_back_misses_nothing() {
    let service = Service::start().await;
    let mut stream = watch(&service, 0).await;
    let seen = next(&mut stream).await.sequence;
    drop(stream);
    let tenants: Vec<TenantId> = (1..=3).map(|n| TenantId(Uuid::from_u128(n))).collect();
    for tenant in &tenants {
        service.apply(access(*tenant, 1, "active")).await.unwrap();
    }
    let mut stream = watch(&service, seen).await;
    let mut told = Vec::new();
    let mut last = seen;
    for _ in &tenants {
        let (sequence, change) = next_change(&mut stream).await;
        assert!(sequence > last, "sequences grow");
        last = sequence;
        told.push(change.tenant_id.unwrap());
    }
    assert_eq!(
        told,
        tenants.iter().map(ToString::to_string).collect::<Vec<_>>()
    );
}

/// A reader must not see a later change while an earlier one is still uncommitted: it would never come back for it.
#[tokio::test]
async fn a_change_that_commits_late_is_not_skipped() {
    let service = Service::start().await;
    let mut stream = watch(&service, 0).await;
    next(&mut stream).await;
    let mut slow = service.db.role("auth_app").await;
    let record = "select auth.record_access_change($1, null, null, now())";
    let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
    sqlx::query("begin").execute(&mut slow).await.unwrap();
    sqlx::query(record)
        .bind(first)
        .execute(&mut slow)
        .await
        .unwrap();
    let mut fast = service.db.role("auth_app").await;
    let waiting = sqlx::query(record).bind(second).execute(&mut fast);
    let committing = async {
        // One heartbeat passes in which the second writer could have overtaken the first.
        assert_eq!(next(&mut stream).await.change, None);
        sqlx::query("commit").execute(&mut slow).await.unwrap();
    };
    let (done, ()) = futures::future::join(waiting, committing).await;
    done.unwrap();
    assert_eq!(
        next_change(&mut stream).await.1.tenant_id,
        Some(first.to_string())
    );
    assert_eq!(
        next_change(&mut stream).await.1.tenant_id,
        Some(second.to_string())
    );
}

#[tokio::test]
async fn a_watcher_that_was_away_too_long_is_told_to_forget_everything() {
    let service = Service::start().await;
    let everything = AccessChange::default();
    let mut stream = watch(&service, 4_000_000).await;
    assert_eq!(
        next(&mut stream).await.change,
        Some(everything.clone()),
        "a number from another life of the database"
    );
    let mut stream = watch(&service, 0).await;
    let seen = next(&mut stream).await.sequence;
    for n in 1..=3 {
        service
            .apply(access(TenantId(Uuid::from_u128(n)), 1, "active"))
            .await
            .unwrap();
    }
    service.clock.advance(chrono::TimeDelta::days(400));
    auth::worker::sweep(&service.app).await.unwrap();
    let mut stream = watch(&service, seen).await;
    let back = next(&mut stream).await;
    assert_eq!(back.change, Some(everything));
    assert_eq!(next(&mut stream).await.change, None, "and told once");
}

#[tokio::test]
async fn news_end_when_the_database_is_gone_so_that_the_gateway_stops_trusting() {
    let service = Service::start().await;
    let mut stream = watch(&service, 0).await;
    next(&mut stream).await;
    service.arrange("do $$ begin execute format('revoke connect on database %I from auth_app', current_database()); end $$").await;
    service.arrange("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()").await;
    let ended = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                other => return other.is_err(),
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(8), ended).await;
    assert!(ended.expect("no heartbeat without the database"));
}
