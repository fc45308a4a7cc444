//! Signing in and out, and moving between tenants.

use chrono::TimeDelta;
use kernel::TenantId;
use uuid::Uuid;

use crate::service::{PASSWORD, Service, access, told};

const ANA: &str = "ana@example.com";
const WRONG: &str = "not the pass phrase at all";

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_look_the_same() {
    let service = Service::start().await;
    service.sign_up(ANA).await;
    service
        .client()
        .register("new@example.com", PASSWORD)
        .await
        .unwrap();
    let known = told(service.client().login(ANA, WRONG).await);
    assert_eq!(
        known,
        (
            "INVALID_CREDENTIALS".into(),
            "auth.credentials_invalid".into()
        )
    );
    for email in ["nobody@example.com", "new@example.com"] {
        assert_eq!(
            told(service.client().login(email, WRONG).await),
            known,
            "{email}"
        );
    }
    let failures = service
        .events()
        .await
        .iter()
        .filter(|event| *event == "audit sessions.login-failed")
        .count();
    assert_eq!(failures, 3, "each failure leaves the same trace");
}

#[tokio::test]
async fn only_the_right_password_learns_that_an_account_is_suspended() {
    let service = Service::start().await;
    service.sign_up(ANA).await;
    service
        .arrange("update auth.users set status = 'suspended'")
        .await;
    assert_eq!(
        told(service.client().login(ANA, WRONG).await).0,
        "INVALID_CREDENTIALS"
    );
    assert_eq!(
        told(service.client().login(ANA, PASSWORD).await).0,
        "USER_SUSPENDED"
    );
    assert_eq!(service.count("select count(*) from auth.sessions").await, 0);
}

#[tokio::test]
async fn signing_in_ends_in_the_tenant_named_or_used_last() {
    let service = Service::start().await;
    let ana = service.sign_up(ANA).await;
    let (first, second) = (
        service.tenant_of(ana, 1).await,
        service.tenant_of(ana, 2).await,
    );
    let client = service.client();
    let tenant = async |named| {
        client
            .login_to(ANA, PASSWORD, named)
            .await
            .unwrap()
            .tenant_id
    };
    assert_eq!(
        tenant(None).await,
        Some(first.to_string()),
        "the oldest at first"
    );
    assert_eq!(tenant(Some(second)).await, Some(second.to_string()));
    assert_eq!(
        tenant(None).await,
        Some(second.to_string()),
        "then the one used last"
    );
    service.apply(access(second, 2, "suspended")).await.unwrap();
    assert_eq!(
        tenant(None).await,
        Some(first.to_string()),
        "unless it is suspended"
    );
    assert_eq!(
        told(client.login_to(ANA, PASSWORD, Some(second)).await).0,
        "TENANT_SUSPENDED"
    );
}

#[tokio::test]
async fn a_foreign_tenant_and_one_that_does_not_exist_look_the_same() {
    let service = Service::start().await;
    let (ana, bob) = (
        service.sign_up(ANA).await,
        service.sign_up("bob@example.com").await,
    );
    service.tenant_of(ana, 1).await;
    let foreign = service.tenant_of(bob, 2).await;
    let nowhere = TenantId(Uuid::from_u128(3));
    let client = service.client();
    let pair = client.login(ANA, PASSWORD).await.unwrap();
    let context = service.resolve(&pair.access_token).await.unwrap();
    let expected = (
        "NOT_FOUND".to_owned(),
        "auth.membership_not_found".to_owned(),
    );
    for tenant in [foreign, nowhere] {
        assert_eq!(
            told(client.login_to(ANA, PASSWORD, Some(tenant)).await),
            expected
        );
        assert_eq!(told(client.switch(&context, tenant).await), expected);
    }
    service
        .apply(access(foreign, 2, "suspended"))
        .await
        .unwrap();
    assert_eq!(
        told(client.switch(&context, foreign).await),
        expected,
        "a stranger does not learn that it is suspended"
    );
}

#[tokio::test]
async fn switching_mints_a_pair_for_the_other_tenant_in_the_same_session() {
    let service = Service::start().await;
    let ana = service.sign_up(ANA).await;
    let (first, second) = (
        service.tenant_of(ana, 1).await,
        service.tenant_of(ana, 2).await,
    );
    let client = service.client();
    let old = client.login_to(ANA, PASSWORD, Some(first)).await.unwrap();
    let context = service.resolve(&old.access_token).await.unwrap();
    let new = client.switch(&context, second).await.unwrap();
    let switched = service.resolve(&new.access_token).await.unwrap();
    assert_eq!(switched.tenant_id, Some(second.to_string()));
    assert_eq!(switched.session_id, context.session_id);
    // Each tenant has its own chain; both go on.
    assert_eq!(
        client.refresh(&old.refresh_token).await.unwrap().tenant_id,
        Some(first.to_string())
    );
    assert_eq!(
        client.refresh(&new.refresh_token).await.unwrap().tenant_id,
        Some(second.to_string())
    );
    // Switching to the same tenant again ends the chain that was there, without alarm.
    let before = client.switch(&context, second).await.unwrap();
    let after = client.switch(&context, second).await.unwrap();
    assert_eq!(
        told(client.refresh(&before.refresh_token).await).0,
        "INVALID_TOKEN"
    );
    client.refresh(&after.refresh_token).await.unwrap();
    let me = client.me(&switched).await.unwrap();
    let roles: Vec<_> = me
        .memberships
        .iter()
        .map(|m| (m.tenant_id.clone(), m.roles.clone()))
        .collect();
    assert_eq!(
        roles,
        [
            (first.to_string(), vec!["owner".to_owned()]),
            (second.to_string(), vec!["owner".to_owned()])
        ]
    );
    assert_eq!(
        me.permissions,
        ["records.create", "records.read", "search.query"]
    );
}

#[tokio::test]
async fn signing_out_ends_this_session_at_once() {
    let service = Service::start().await;
    service.sign_up(ANA).await;
    let client = service.client();
    let (here, there) = (
        client.login(ANA, PASSWORD).await.unwrap(),
        client.login(ANA, PASSWORD).await.unwrap(),
    );
    let context = service.resolve(&here.access_token).await.unwrap();
    client.logout(&context, false).await.unwrap();
    assert_eq!(
        told(service.resolve(&here.access_token).await).0,
        "INVALID_TOKEN"
    );
    assert_eq!(
        told(client.refresh(&here.refresh_token).await).0,
        "INVALID_TOKEN"
    );
    service.resolve(&there.access_token).await.unwrap();
    client.refresh(&there.refresh_token).await.unwrap();
    client
        .logout(&context, false)
        .await
        .expect("a second time changes nothing");
}

#[tokio::test]
async fn signing_out_everywhere_ends_all_sessions_of_the_person_and_nobody_elses() {
    let service = Service::start().await;
    service.sign_up(ANA).await;
    service.sign_up("bob@example.com").await;
    let client = service.client();
    let mine = [
        client.login(ANA, PASSWORD).await.unwrap(),
        client.login(ANA, PASSWORD).await.unwrap(),
    ];
    let bobs = client.login("bob@example.com", PASSWORD).await.unwrap();
    let context = service.resolve(&mine[0].access_token).await.unwrap();
    client.logout(&context, true).await.unwrap();
    for pair in &mine {
        assert_eq!(
            told(service.resolve(&pair.access_token).await).0,
            "INVALID_TOKEN"
        );
        assert_eq!(
            told(client.refresh(&pair.refresh_token).await).0,
            "INVALID_TOKEN"
        );
    }
    service.resolve(&bobs.access_token).await.unwrap();
}

#[tokio::test]
async fn a_session_ends_however_often_it_is_refreshed() {
    let service = Service::start().await;
    service.sign_up(ANA).await;
    let client = service.client();
    let mut pair = client.login(ANA, PASSWORD).await.unwrap();
    for _ in 0..4 {
        service.clock.advance(TimeDelta::days(20));
        pair = client.refresh(&pair.refresh_token).await.unwrap();
    }
    service.clock.advance(TimeDelta::days(10));
    assert_eq!(
        told(client.refresh(&pair.refresh_token).await).0,
        "INVALID_TOKEN"
    );
}

#[tokio::test]
async fn the_first_platform_admin_is_seeded_once() {
    let service = Service::start().await;
    let process = runtime::Process::new(
        "auth",
        runtime::settings::Profile::Dev,
        service.clock.clone(),
    );
    assert!(
        auth::seed_platform_admin(&service.config, &process)
            .await
            .unwrap()
    );
    assert!(
        !auth::seed_platform_admin(&service.config, &process)
            .await
            .unwrap()
    );
    let mut other = service.config.clone();
    other.seed_admin_password = Some("a different pass phrase".into());
    assert!(
        !auth::seed_platform_admin(&other, &process).await.unwrap(),
        "not even the password changes"
    );
    let pair = service
        .client()
        .login("root@example.com", PASSWORD)
        .await
        .unwrap();
    let context = service.resolve(&pair.access_token).await.unwrap();
    assert_eq!(
        (context.actor_type.as_str(), context.tenant_id.as_deref()),
        ("platform", None)
    );
    assert!(
        context.permissions.contains(&"tenants.suspend".to_owned()),
        "{:?}",
        context.permissions
    );
    assert_eq!(
        service.client().me(&context).await.unwrap().r#type,
        "platform"
    );

    other.seed_admin_password = Some("too short".into());
    assert!(auth::seed_platform_admin(&other, &process).await.is_err());
    service.sign_up(ANA).await;
    other = service.config.clone();
    other.seed_admin_email = Some(ANA.to_owned());
    assert!(
        auth::seed_platform_admin(&other, &process).await.is_err(),
        "a customer does not become staff by a setting"
    );
}

#[tokio::test]
async fn platform_staff_cannot_sign_in_with_a_password_alone_outside_development() {
    let service = Service::start_with(|config| config.platform_login_without_mfa = false).await;
    let process = runtime::Process::new(
        "auth",
        runtime::settings::Profile::Dev,
        service.clock.clone(),
    );
    auth::seed_platform_admin(&service.config, &process)
        .await
        .unwrap();
    let answer = told(service.client().login("root@example.com", PASSWORD).await);
    assert_eq!(
        answer,
        (
            "FORBIDDEN_ACTION".into(),
            "auth.platform_login_requires_mfa".into()
        )
    );
    assert_eq!(
        told(service.client().login("root@example.com", WRONG).await).0,
        "INVALID_CREDENTIALS"
    );
    assert_eq!(service.count("select count(*) from auth.sessions").await, 0);
}
