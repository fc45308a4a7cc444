//! Refresh tokens: rotation, lost answers, and theft.

use chrono::TimeDelta;
use kernel::UserId;
use proto::auth::v1::TokenPair;

use crate::service::{PASSWORD, Service, access, told};

const ANA: &str = "ana@example.com";

async fn signed_in(service: &Service) -> (UserId, TokenPair) {
    let ana = service.sign_up(ANA).await;
    service.tenant_of(ana, 1).await;
    (ana, service.client().login(ANA, PASSWORD).await.unwrap())
}

const LIVE_LEAVES: &str =
    "select count(*) from auth.refresh_tokens where used_at is null and revoked_at is null";

#[tokio::test]
async fn each_refresh_gives_a_new_pair_and_uses_the_old_token_up() {
    let service = Service::start().await;
    let (_, first) = signed_in(&service).await;
    let client = service.client();
    let second = client.refresh(&first.refresh_token).await.unwrap();
    let third = client.refresh(&second.refresh_token).await.unwrap();
    assert_ne!(first.refresh_token, second.refresh_token);
    assert_ne!(second.refresh_token, third.refresh_token);
    assert_eq!(third.tenant_id, first.tenant_id);
    service.resolve(&third.access_token).await.unwrap();
    assert_eq!(service.count(LIVE_LEAVES).await, 1);
    assert_eq!(
        service
            .count("select count(*) from auth.refresh_tokens")
            .await,
        3
    );
}

#[tokio::test]
async fn a_client_whose_answer_got_lost_gets_the_same_successor() {
    let service = Service::start().await;
    let (_, first) = signed_in(&service).await;
    let client = service.client();
    let lost = client.refresh(&first.refresh_token).await.unwrap();
    service.clock.advance(TimeDelta::milliseconds(9_999));
    let again = client.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(lost.refresh_token, again.refresh_token);
    assert_eq!(service.count(LIVE_LEAVES).await, 1);
    client.refresh(&again.refresh_token).await.unwrap();
}

/// ZITADEL 7321: reuse must also end the access tokens that were issued already.
#[tokio::test]
async fn a_used_token_that_comes_back_later_ends_the_session_and_its_access_tokens() {
    let service = Service::start().await;
    let (_, first) = signed_in(&service).await;
    let client = service.client();
    let other_session = client.login(ANA, PASSWORD).await.unwrap();
    let second = client.refresh(&first.refresh_token).await.unwrap();
    service.clock.advance(TimeDelta::seconds(10));
    assert_eq!(
        told(client.refresh(&first.refresh_token).await),
        ("INVALID_TOKEN".into(), "auth.token_invalid".into())
    );
    assert_eq!(
        told(client.refresh(&second.refresh_token).await).0,
        "INVALID_TOKEN",
        "the thief's or the owner's: both end"
    );
    for token in [&first.access_token, &second.access_token] {
        assert_eq!(told(service.resolve(token).await).0, "INVALID_TOKEN");
    }
    service
        .resolve(&other_session.access_token)
        .await
        .expect("other sessions go on");
    let events = service.events().await;
    assert!(
        events.contains(&"session.reuse_detected".to_owned())
            && events.contains(&"audit sessions.refresh-reuse".to_owned()),
        "{events:?}"
    );
    assert_eq!(
        service
            .count("select count(*) from auth.access_changes where about_session is not null")
            .await,
        1
    );
}

/// Keycloak 50999: whether two uses are in the same second must not matter.
#[tokio::test]
async fn a_replay_in_the_same_instant_is_theft_once_the_successor_was_used() {
    let service = Service::start().await;
    let (_, first) = signed_in(&service).await;
    let client = service.client();
    let second = client.refresh(&first.refresh_token).await.unwrap();
    let third = client.refresh(&second.refresh_token).await.unwrap();
    assert_eq!(
        told(client.refresh(&first.refresh_token).await).0,
        "INVALID_TOKEN"
    );
    assert_eq!(
        told(client.refresh(&third.refresh_token).await).0,
        "INVALID_TOKEN"
    );
    assert_eq!(service.count(LIVE_LEAVES).await, 0);
}

/// Keycloak CVE-2026-9802: a restart must not make rotated tokens good again.
#[tokio::test]
async fn a_restart_forgets_no_rotation() {
    let service = Service::start().await;
    let (_, first) = signed_in(&service).await;
    let second = service
        .client()
        .refresh(&first.refresh_token)
        .await
        .unwrap();
    let service = service.restart().await;
    let again = service
        .client()
        .refresh(&first.refresh_token)
        .await
        .unwrap();
    assert_eq!(
        second.refresh_token, again.refresh_token,
        "a lost answer survives the restart too"
    );
    service.clock.advance(TimeDelta::seconds(10));
    let service = service.restart().await;
    assert_eq!(
        told(service.client().refresh(&first.refresh_token).await).0,
        "INVALID_TOKEN"
    );
    assert_eq!(service.count(LIVE_LEAVES).await, 0);
}

#[tokio::test]
async fn in_strict_mode_any_second_use_is_theft() {
    let service =
        Service::start_with(|config| config.refresh_retry = std::time::Duration::ZERO).await;
    let (_, first) = signed_in(&service).await;
    let client = service.client();
    client.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(
        told(client.refresh(&first.refresh_token).await).0,
        "INVALID_TOKEN"
    );
    assert_eq!(service.count(LIVE_LEAVES).await, 0);
}

#[tokio::test]
async fn a_token_that_nobody_used_in_thirty_days_has_expired() {
    let service = Service::start().await;
    let (_, first) = signed_in(&service).await;
    service.clock.advance(TimeDelta::days(30));
    let answer = told(service.client().refresh(&first.refresh_token).await);
    assert_eq!(
        answer,
        ("TOKEN_EXPIRED".into(), "auth.refresh_token_expired".into())
    );
}

#[tokio::test]
async fn what_was_never_a_token_is_refused() {
    let service = Service::start().await;
    let answer = told(
        service
            .client()
            .refresh("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
            .await,
    );
    assert_eq!(answer.0, "INVALID_TOKEN");
}

/// ZITADEL CVE-2023-22492: a locked person's refresh tokens must be dead.
#[tokio::test]
async fn nothing_is_refreshed_for_a_suspended_person_tenant_or_membership() {
    let service = Service::start().await;
    let (_, pair) = signed_in(&service).await;
    let tenant = pair.tenant_id.clone().unwrap().parse().unwrap();
    let client = service.client();
    service
        .arrange("update auth.users set status = 'suspended'")
        .await;
    assert_eq!(
        told(client.refresh(&pair.refresh_token).await).0,
        "USER_SUSPENDED"
    );
    service.arrange("update auth.users set status = 'active'; update auth.memberships set status = 'suspended'").await;
    assert_eq!(
        told(client.refresh(&pair.refresh_token).await).0,
        "USER_SUSPENDED"
    );
    service
        .arrange("update auth.memberships set status = 'active'")
        .await;
    service.apply(access(tenant, 2, "suspended")).await.unwrap();
    assert_eq!(
        told(client.refresh(&pair.refresh_token).await).0,
        "TENANT_SUSPENDED"
    );
    service.apply(access(tenant, 3, "active")).await.unwrap();
    client
        .refresh(&pair.refresh_token)
        .await
        .expect("a suspension that is lifted has used nothing up");
}

#[tokio::test]
async fn a_removed_member_refreshes_nothing() {
    let service = Service::start().await;
    let (_, pair) = signed_in(&service).await;
    service.arrange("delete from auth.memberships").await;
    assert_eq!(
        told(service.client().refresh(&pair.refresh_token).await).0,
        "NOT_FOUND"
    );
    assert_eq!(
        told(service.resolve(&pair.access_token).await).0,
        "TENANT_NOT_FOUND"
    );
}

#[tokio::test]
async fn the_database_itself_refuses_a_fork() {
    let service = Service::start().await;
    signed_in(&service).await;
    let mut role = service.db.role("auth_app").await;
    let fork = async |role: &mut sqlx::PgConnection, generation: i32, used: bool| {
        let sql = "insert into auth.refresh_tokens (id, hash, family_id, generation, session_id, bound_tenant, created_at, expires_at, used_at)
             select gen_random_uuid(), sha256(gen_random_uuid()::text::bytea), family_id, $1, session_id, bound_tenant, created_at, expires_at,
                 case when $2 then created_at end
             from auth.refresh_tokens limit 1";
        let error = sqlx::query(sql)
            .bind(generation)
            .bind(used)
            .execute(role)
            .await
            .unwrap_err();
        error
            .as_database_error()
            .and_then(|e| e.constraint())
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(fork(&mut role, 1, false).await, "refresh_tokens_live_leaf");
    assert_eq!(
        fork(&mut role, 0, true).await,
        "refresh_tokens_generation_key"
    );
}
