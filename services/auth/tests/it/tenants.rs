//! Tenants as the tenant service announces them.

use futures::future::join_all;
use kernel::{TenantId, UserId};
use uuid::Uuid;

use crate::service::{PASSWORD, Service, access, told};

const ANA: &str = "ana@example.com";
const TENANT: TenantId = TenantId(Uuid::from_u128(1));

#[tokio::test]
async fn provisioning_twice_or_in_parallel_gives_one_owner_and_five_groups() {
    let service = Service::start().await;
    let (ana, bob) = (
        service.sign_up(ANA).await,
        service.sign_up("bob@example.com").await,
    );
    let calls = (0..8).map(|_| service.provision(access(TENANT, 1, "active"), Some(ana), None));
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap(), ana.to_string());
    }
    let late = service
        .provision(access(TENANT, 1, "active"), Some(bob), None)
        .await
        .unwrap();
    assert_eq!(late, ana.to_string(), "the first owner stays");
    assert_eq!(service.count("select count(*) from auth.groups").await, 5);
    assert_eq!(
        service.count("select count(*) from auth.memberships").await,
        1
    );
    let created = service
        .events()
        .await
        .iter()
        .filter(|event| *event == "membership.created")
        .count();
    assert_eq!(created, 1);
}

#[tokio::test]
async fn an_owner_by_address_is_invited_and_gets_in_by_signing_up() {
    let service = Service::start().await;
    let id = service
        .provision(access(TENANT, 1, "active"), None, Some("Olga@Example.com"))
        .await
        .unwrap();
    assert_eq!(
        told(service.client().login("olga@example.com", PASSWORD).await).0,
        "INVALID_CREDENTIALS",
        "no password yet"
    );
    service.send_mails().await;
    let mails = service.mails_to("olga@example.com");
    assert!(mails[0].contains("Pousada Azul"), "{mails:?}");
    let olga = service.sign_up("olga@example.com").await;
    assert_eq!(olga.to_string(), id);
    let pair = service
        .client()
        .login("olga@example.com", PASSWORD)
        .await
        .unwrap();
    assert_eq!(pair.tenant_id, Some(TENANT.to_string()));
    let events = service.events().await;
    assert_eq!(
        events
            .iter()
            .filter(|event| *event == "user.created")
            .count(),
        1,
        "{events:?}"
    );
}

#[tokio::test]
async fn an_older_version_changes_nothing() {
    let service = Service::start().await;
    let ana = service.sign_up(ANA).await;
    service.tenant_of(ana, 1).await;
    let token = service
        .client()
        .login(ANA, PASSWORD)
        .await
        .unwrap()
        .access_token;
    service.apply(access(TENANT, 5, "suspended")).await.unwrap();
    for version in [1, 4, 5] {
        service
            .apply(access(TENANT, version, "active"))
            .await
            .unwrap();
        service
            .provision(access(TENANT, version, "active"), Some(ana), None)
            .await
            .unwrap();
        assert_eq!(
            told(service.resolve(&token).await).0,
            "TENANT_SUSPENDED",
            "version {version}"
        );
    }
    service.apply(access(TENANT, 6, "active")).await.unwrap();
    service.resolve(&token).await.unwrap();
}

#[tokio::test]
async fn who_cannot_be_an_owner_is_refused() {
    let service = Service::start().await;
    let process = runtime::Process::new(
        "auth",
        runtime::settings::Profile::Dev,
        service.clock.clone(),
    );
    auth::seed_platform_admin(&service.config, &process)
        .await
        .unwrap();
    let staff = service.user_id("root@example.com").await;
    let nobody = UserId(Uuid::from_u128(99));
    assert_eq!(
        told(
            service
                .provision(access(TENANT, 1, "active"), Some(staff), None)
                .await
        )
        .1,
        "auth.platform_staff_cannot_join"
    );
    assert_eq!(
        told(
            service
                .provision(access(TENANT, 1, "active"), None, Some("root@example.com"))
                .await
        )
        .1,
        "auth.platform_staff_cannot_join"
    );
    assert_eq!(
        told(
            service
                .provision(access(TENANT, 1, "active"), Some(nobody), None)
                .await
        )
        .1,
        "auth.user_not_found"
    );
    assert_eq!(
        told(
            service
                .provision(access(TENANT, 1, "active"), None, None)
                .await
        )
        .0,
        "VALIDATION_ERROR"
    );
    assert_eq!(
        told(
            service
                .provision(access(TenantId::PLATFORM, 1, "active"), Some(nobody), None)
                .await
        )
        .0,
        "VALIDATION_ERROR"
    );
    assert_eq!(
        service.count("select count(*) from auth.tenants").await,
        0,
        "a refused command leaves nothing"
    );
}

#[tokio::test]
async fn a_message_about_another_tenant_than_the_caller_works_in_changes_nothing() {
    let service = Service::start().await;
    let owner = service.sign_up(ANA).await;
    let tenant_id = service.tenant_of(owner, 0xb0b).await;
    let (mut client, peer) = service.access_of("tenant");
    for ctx in [
        crate::service::anyone(),
        testkit::context()
            .internal("tenant")
            .tenant(testkit::TENANT_A)
            .build(),
    ] {
        let message = proto::auth::v1::ApplyTenantAccessRequest {
            access: Some(access(tenant_id, 9, "suspended")),
        };
        let answer = client
            .apply_tenant_access(peer.request(&ctx, message))
            .await;
        let answer = answer.map(drop).map_err(rpc::from_status);
        let refused = (
            "TENANT_MISMATCH".to_owned(),
            "auth.other_tenant_named".to_owned(),
        );
        assert_eq!(told(answer), refused);
    }
    service.apply(access(tenant_id, 2, "active")).await.unwrap();
}
