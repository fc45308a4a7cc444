//! Credentials into context tokens.

use kernel::{Code, TenantId};
use rpc::token::{Actor, Verified, Verifier};
use uuid::Uuid;

use crate::service::{PASSWORD, Service, access, anyone, told};

const ANA: &str = "ana@example.com";

#[tokio::test]
async fn a_member_gets_what_the_role_grants_and_the_tenant_is_entitled_to() {
    let service = Service::start().await;
    let ana = service.sign_up(ANA).await;
    let tenant = service.tenant_of(ana, 1).await;
    let pair = service.client().login(ANA, PASSWORD).await.unwrap();
    let context = service.resolve(&pair.access_token).await.unwrap();
    assert_eq!(
        (context.actor_type.as_str(), context.actor_id),
        ("user", ana.to_string())
    );
    assert_eq!(
        context.permissions,
        ["records.create", "records.read", "search.query"]
    );
    let verifier = Verifier::new(
        testkit::keyring("niche").trust,
        "niche",
        service.clock.clone(),
    );
    let Verified::Context(claims, _) = (*verifier.verify(&context.context_token).unwrap()).clone()
    else {
        panic!("a context token")
    };
    assert_eq!(
        (claims.act, claims.sub, claims.tid),
        (Actor::User, ana.0, Some(tenant))
    );
    assert_eq!(claims.perms, context.permissions);
    assert!(claims.exp - claims.iat <= 60);

    service.arrange("update auth.group_members gm set group_id = (select id from auth.groups g where g.tenant_id = gm.tenant_id and g.role = 'viewer')").await;
    assert_eq!(
        service
            .resolve(&pair.access_token)
            .await
            .unwrap()
            .permissions,
        ["records.read", "search.query"]
    );
    let mut less = access(tenant, 2, "active");
    less.entitled_actions = vec!["search.query".to_owned()];
    service.apply(less).await.unwrap();
    assert_eq!(
        service
            .resolve(&pair.access_token)
            .await
            .unwrap()
            .permissions,
        ["search.query"]
    );
}

#[tokio::test]
async fn a_custom_group_adds_its_permissions_and_one_with_limits_grants_nothing_yet() {
    let service = Service::start().await;
    let ana = service.sign_up(ANA).await;
    service.tenant_of(ana, 1).await;
    service
        .arrange(
            "delete from auth.group_members;
             insert into auth.groups (tenant_id, id, name, created_at, updated_at) select tenant_id, gen_random_uuid(), 'Custom', now(), now() from auth.tenants;
             insert into auth.group_members (tenant_id, group_id, user_id, created_at)
                 select g.tenant_id, g.id, m.user_id, now() from auth.groups g join auth.memberships m using (tenant_id) where g.name = 'Custom';
             insert into auth.group_permissions (tenant_id, group_id, action, constraints, created_at)
                 select tenant_id, id, 'records.create', null, now() from auth.groups where name = 'Custom';
             insert into auth.group_permissions (tenant_id, group_id, action, constraints, created_at)
                 select tenant_id, id, 'records.read', '{\"own\": true}', now() from auth.groups where name = 'Custom';
             insert into auth.group_permissions (tenant_id, group_id, action, constraints, created_at)
                 select tenant_id, id, 'billing.read', null, now() from auth.groups where name = 'Custom'",
        )
        .await;
    let pair = service.client().login(ANA, PASSWORD).await.unwrap();
    assert_eq!(
        service
            .resolve(&pair.access_token)
            .await
            .unwrap()
            .permissions,
        ["records.create"]
    );
    service
        .arrange("update auth.groups set status = 'suspended' where name = 'Custom'")
        .await;
    assert_eq!(
        service
            .resolve(&pair.access_token)
            .await
            .unwrap()
            .permissions,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_person_cannot_choose_a_tenant_by_header() {
    let service = Service::start().await;
    let ana = service.sign_up(ANA).await;
    let unbound = service.client().login(ANA, PASSWORD).await.unwrap();
    let (first, second) = (
        service.tenant_of(ana, 1).await,
        service.tenant_of(ana, 2).await,
    );
    let bound = service
        .client()
        .login_to(ANA, PASSWORD, Some(first))
        .await
        .unwrap();
    let with = async |token: &str, header: &str| {
        service.resolve_with(token, Some(header.to_owned())).await
    };
    with(&bound.access_token, &first.to_string())
        .await
        .expect("repeating the token's own tenant is harmless");
    with(&bound.access_token, &first.to_string().to_uppercase())
        .await
        .unwrap();
    let mismatch = (
        "TENANT_MISMATCH".to_owned(),
        "auth.tenant_mismatch".to_owned(),
    );
    for header in [
        second.to_string(),
        TenantId::PLATFORM.to_string(),
        "nonsense".to_owned(),
        String::new(),
    ] {
        assert_eq!(
            told(with(&bound.access_token, &header).await),
            mismatch,
            "{header:?}"
        );
    }
    assert_eq!(
        told(with(&unbound.access_token, &first.to_string()).await),
        mismatch,
        "not even where they are a member"
    );
    assert_eq!(
        service
            .resolve(&unbound.access_token)
            .await
            .unwrap()
            .permissions,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn suspension_and_removal_take_effect_with_the_next_resolve() {
    let service = Service::start().await;
    let ana = service.sign_up(ANA).await;
    let tenant = service.tenant_of(ana, 1).await;
    let token = service
        .client()
        .login(ANA, PASSWORD)
        .await
        .unwrap()
        .access_token;
    service.apply(access(tenant, 2, "suspended")).await.unwrap();
    assert_eq!(
        told(service.resolve(&token).await),
        ("TENANT_SUSPENDED".into(), "auth.tenant_suspended".into())
    );
    service.apply(access(tenant, 3, "active")).await.unwrap();
    service.resolve(&token).await.unwrap();
    service
        .arrange("update auth.memberships set status = 'suspended'")
        .await;
    assert_eq!(told(service.resolve(&token).await).0, "TENANT_NOT_FOUND");
    service.arrange("update auth.memberships set status = 'active'; update auth.users set status = 'suspended'").await;
    assert_eq!(told(service.resolve(&token).await).0, "INVALID_TOKEN");
    service
        .arrange("update auth.users set status = 'active'; delete from auth.memberships")
        .await;
    assert_eq!(
        told(service.resolve(&token).await),
        ("TENANT_NOT_FOUND".into(), "auth.tenant_not_found".into())
    );
}

#[tokio::test]
async fn platform_staff_enter_one_tenant_at_a_time_and_the_tenant_sees_it() {
    let service = Service::start().await;
    let ana = service.sign_up(ANA).await;
    let (first, second) = (
        service.tenant_of(ana, 1).await,
        service.tenant_of(ana, 2).await,
    );
    let process = runtime::Process::new(
        "auth",
        runtime::settings::Profile::Dev,
        service.clock.clone(),
    );
    auth::seed_platform_admin(&service.config, &process)
        .await
        .unwrap();
    let token = service
        .client()
        .login("root@example.com", PASSWORD)
        .await
        .unwrap()
        .access_token;
    let enter =
        async |tenant: TenantId| service.resolve_with(&token, Some(tenant.to_string())).await;
    let context = enter(first).await.unwrap();
    assert_eq!(
        (context.actor_type.as_str(), context.tenant_id),
        ("platform", Some(first.to_string()))
    );
    enter(first).await.unwrap();
    enter(second).await.unwrap();
    service.apply(access(first, 2, "suspended")).await.unwrap();
    enter(first)
        .await
        .expect("somebody must be able to look into a suspended tenant");
    let entries = service.db.events().await;
    let entries = entries.iter().filter(|event| {
        event
            .data
            .get("action")
            .is_some_and(|action| action == "platform.enter-tenant")
    });
    let told_to: Vec<(Uuid, String)> = entries
        .map(|e| (e.tenantid, e.data["actorType"].as_str().unwrap().to_owned()))
        .collect();
    let by_platform = |tenant: TenantId| (tenant.0, "platform".to_owned());
    assert_eq!(
        told_to,
        [by_platform(first), by_platform(second), by_platform(first)],
        "once each time they come from elsewhere"
    );
    assert_eq!(
        told(enter(TenantId(Uuid::from_u128(9))).await).0,
        "TENANT_NOT_FOUND"
    );
}

#[tokio::test]
async fn only_the_gateway_may_resolve_and_only_tenant_may_provision() {
    let service = Service::start().await;
    let (mut client, peer) = service.access_of("niche");
    let message = proto::auth::v1::ResolveContextRequest {
        credential: "x".to_owned(),
        tenant_header: None,
    };
    let error = client
        .resolve_context(peer.request(&anyone(), message.clone()))
        .await
        .map_err(rpc::from_status)
        .unwrap_err();
    assert_eq!(error.code(), Code::Forbidden);
    let error = client
        .resolve_context(tonic::Request::new(message))
        .await
        .map_err(rpc::from_status)
        .unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    let (mut client, peer) = service.access_of("gateway");
    let message = proto::auth::v1::ApplyTenantAccessRequest {
        access: Some(access(testkit::TENANT_A, 1, "active")),
    };
    let error = client
        .apply_tenant_access(peer.request(&anyone(), message))
        .await
        .map_err(rpc::from_status)
        .unwrap_err();
    assert_eq!(error.code(), Code::Forbidden);
}
