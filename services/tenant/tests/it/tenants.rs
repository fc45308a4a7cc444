//! Tenants: coming into being, being read, being suspended.

use kernel::{ErrorCode, RequestContext, TenantId};
use proto::tenant::v1 as pb;
use sqlx::Executor as _;
use testkit::{ANN, TENANT_A, TENANT_B};

use crate::harness::{Service, ann, ann_of, request, staff};

fn id_of(tenant: &pb::Tenant) -> TenantId {
    tenant.id.parse().unwrap()
}

fn with_key(key: &'static str) -> RequestContext {
    testkit::context()
        .user(ANN)
        .key(key)
        .method("/tenant.v1.TenantService/CreateTenant")
        .build()
}

fn with_key_of_staff(key: &'static str) -> RequestContext {
    testkit::context()
        .platform(ANN)
        .key(key)
        .method("/tenant.v1.TenantService/CreateTenant")
        .build()
}

fn with_owner(slug: &str) -> pb::CreateTenantRequest {
    let owner = pb::AdminUser {
        email: "olga@example.com".to_owned(),
        name: "Olga".to_owned(),
    };
    pb::CreateTenantRequest {
        admin_user: Some(owner),
        ..request(slug)
    }
}

#[tokio::test]
async fn whoever_creates_a_tenant_becomes_its_owner() {
    let service = Service::start().await;
    let tenant = service
        .create(&ann(), request("pousada-azul"))
        .await
        .unwrap();
    assert_eq!(
        (tenant.status.as_str(), tenant.package_keys.as_slice()),
        ("active", ["starter".to_owned()].as_slice())
    );

    let events = service.db.events().await;
    let types: Vec<&str> = events
        .iter()
        .map(|event| event.event_type.as_str())
        .collect();
    assert_eq!(
        types,
        [
            "tenant.created",
            "tenant.package.assigned",
            "audit.recorded"
        ]
    );
    assert!(
        events
            .iter()
            .all(|event| event.tenantid.to_string() == tenant.id),
        "events belong to the new tenant"
    );
    assert_eq!(events[0].data["ownerUserId"], ANN.to_string());
    let provisioned = service.auth.provisioned.lock().unwrap().clone();
    assert_eq!(
        provisioned[0].owner_user_id.as_deref(),
        Some(ANN.to_string().as_str())
    );
    assert!(
        provisioned[0]
            .access
            .as_ref()
            .unwrap()
            .entitled_actions
            .contains(&"records.create".to_owned())
    );
    assert_eq!(
        service
            .get(&ann_of(id_of(&tenant)), id_of(&tenant))
            .await
            .unwrap(),
        tenant
    );
}

#[tokio::test]
async fn a_command_that_arrives_twice_creates_one_tenant() {
    let service = Service::start().await;
    let first = service
        .create(&with_key("k-1"), request("pousada-azul"))
        .await
        .unwrap();
    let second = service
        .create(&with_key("k-1"), request("pousada-azul"))
        .await
        .unwrap();
    assert_eq!(first, second);
    assert_eq!(
        service
            .event_types()
            .await
            .iter()
            .filter(|t| *t == "tenant.created")
            .count(),
        1
    );
    let other = service
        .create(&with_key("k-1"), request("pousada-verde"))
        .await
        .unwrap_err();
    assert_eq!(other.error_code(), ErrorCode::IdempotencyKeyReused);
}

#[tokio::test]
async fn a_taken_slug_leaves_nothing_behind() {
    let service = Service::start().await;
    service
        .create(&ann(), request("pousada-azul"))
        .await
        .unwrap();
    let before = service.event_types().await;
    let error = service
        .create(&with_key("k-2"), request("pousada-azul"))
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::DuplicateResource);
    assert_eq!(service.event_types().await, before);
    // The key is free again: a failure is not an answer to keep.
    service
        .create(&with_key("k-2"), request("pousada-verde"))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_unknown_package_is_named_with_those_that_exist() {
    let service = Service::start().await;
    let error = service
        .create(
            &ann(),
            pb::CreateTenantRequest {
                package_key: "gold".to_owned(),
                ..request("x-1")
            },
        )
        .await
        .unwrap_err();
    let violation = &error.violations()[0];
    assert_eq!(
        (violation.field.as_str(), violation.rule.as_str()),
        ("package_key", "tenant.package_unknown")
    );
    assert!(
        violation.message.contains("starter"),
        "{}",
        violation.message
    );
}

#[tokio::test]
async fn only_platform_staff_names_an_owner_and_must() {
    let service = Service::start().await;
    let error = service
        .create(&ann(), with_owner("casa-1"))
        .await
        .unwrap_err();
    assert_eq!(error.violations()[0].rule, "tenant.admin_user_not_allowed");
    let error = service
        .create(&staff(), request("casa-1"))
        .await
        .unwrap_err();
    assert_eq!(error.violations()[0].rule, "required");
    service
        .create(&staff(), with_owner("casa-1"))
        .await
        .unwrap();
    let provisioned = service.auth.provisioned.lock().unwrap().clone();
    assert_eq!(
        provisioned[0].owner_email.as_deref(),
        Some("olga@example.com")
    );
    let created = &service.db.events().await[0];
    assert_eq!(
        created.data["ownerUserId"], "",
        "an address must not travel in an event"
    );
}

/// Fails whatever is committed, after everything else has gone well.
const FAIL_COMMITS: &str = "
    create function public.fail() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
    create constraint trigger fail after insert on tenant.tenants deferrable initially deferred
        for each row execute function public.fail()";

#[tokio::test]
async fn a_creation_that_failed_after_its_owner_was_told_makes_that_very_tenant_when_it_is_repeated()
 {
    let service = Service::start().await;
    let mut admin = service.db.admin().await;
    let staff = with_key_of_staff("k-1");
    admin.execute(sqlx::raw_sql(FAIL_COMMITS)).await.unwrap();
    service
        .create(&staff, with_owner("casa-1"))
        .await
        .unwrap_err();
    admin
        .execute("drop trigger fail on tenant.tenants")
        .await
        .unwrap();
    let tenant = service.create(&staff, with_owner("casa-1")).await.unwrap();
    let provisioned = service.auth.provisioned.lock().unwrap().clone();
    let told: Vec<_> = provisioned
        .iter()
        .map(|told| told.access.as_ref().unwrap().tenant_id.clone())
        .collect();
    assert_eq!(told, [tenant.id.clone(), tenant.id]);
}

#[tokio::test]
async fn without_auth_the_caller_still_gets_a_tenant_and_a_named_owner_does_not() {
    let service = Service::start().await.without_auth().await;
    service
        .create(&ann(), request("pousada-azul"))
        .await
        .unwrap();
    assert!(
        service
            .event_types()
            .await
            .contains(&"tenant.created".to_owned()),
        "the event will provision the owner"
    );
    let before = service.event_types().await.len();
    let error = service
        .create(&staff(), with_owner("casa-1"))
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::ServiceUnavailable);
    assert_eq!(service.event_types().await.len(), before);
}

#[tokio::test]
async fn another_tenant_and_none_at_all_look_the_same() {
    let service = Service::start().await;
    let ours = id_of(
        &service
            .create(&ann(), request("pousada-azul"))
            .await
            .unwrap(),
    );
    let theirs = id_of(
        &service
            .create(&ann(), request("pousada-verde"))
            .await
            .unwrap(),
    );
    let foreign = service.get(&ann_of(ours), theirs).await.unwrap_err();
    let missing = service.get(&ann_of(ours), TENANT_B).await.unwrap_err();
    assert_eq!(format!("{foreign:?}"), format!("{missing:?}"));
    assert_eq!(foreign.error_code(), ErrorCode::NotFound);
    assert_eq!(
        service.get(&staff(), theirs).await.unwrap().slug,
        "pousada-verde"
    );
}

#[tokio::test]
async fn staff_turns_the_pages_of_all_tenants_and_others_see_their_own() {
    let service = Service::start().await;
    for n in 1..=5 {
        service
            .create(&ann(), request(&format!("casa-{n}")))
            .await
            .unwrap();
        service.clock.advance(chrono::TimeDelta::seconds(1));
    }
    let page = |cursor: String| pb::ListTenantsRequest {
        limit: 2,
        cursor,
        ..Default::default()
    };
    let mut slugs = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = service.list(&staff(), page(cursor)).await.unwrap();
        slugs.extend(answer.data.iter().map(|tenant| tenant.slug.clone()));
        let meta = answer.meta.unwrap();
        assert_eq!(meta.has_more, meta.next_cursor.is_some());
        let Some(next) = meta.next_cursor else { break };
        cursor = next;
    }
    assert_eq!(slugs, ["casa-5", "casa-4", "casa-3", "casa-2", "casa-1"]);
    let found = service
        .list(
            &staff(),
            pb::ListTenantsRequest {
                q: "CASA-3".to_owned(),
                ..Default::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(found.data.len(), 1);

    let ours = id_of(&found.data[0]);
    let own = service
        .list(&ann_of(ours), pb::ListTenantsRequest::default())
        .await
        .unwrap();
    assert_eq!(
        own.data
            .iter()
            .map(|tenant| tenant.id.clone())
            .collect::<Vec<_>>(),
        [ours.to_string()]
    );
    assert!(
        service
            .list(&ann(), pb::ListTenantsRequest::default())
            .await
            .unwrap()
            .data
            .is_empty()
    );
}

#[tokio::test]
async fn a_cursor_of_other_filters_is_refused() {
    let service = Service::start().await;
    for n in 1..=3 {
        service
            .create(&ann(), request(&format!("casa-{n}")))
            .await
            .unwrap();
    }
    let first = service
        .list(
            &staff(),
            pb::ListTenantsRequest {
                limit: 1,
                ..Default::default()
            },
        )
        .await
        .unwrap();
    let cursor = first.meta.unwrap().next_cursor.unwrap();
    let other = pb::ListTenantsRequest {
        limit: 1,
        cursor,
        status: "active".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        service
            .list(&staff(), other)
            .await
            .unwrap_err()
            .error_code(),
        ErrorCode::ValidationError
    );
}

#[tokio::test]
async fn a_suspension_is_told_once_and_can_be_lifted() {
    let service = Service::start().await;
    let tenant = service
        .create(&ann(), request("pousada-azul"))
        .await
        .unwrap();
    let suspended = service.suspend(&staff(), &tenant.id).await.unwrap();
    assert_eq!(
        (
            suspended.status.as_str(),
            suspended.suspended_reason.as_deref()
        ),
        ("suspended", Some("unpaid since May"))
    );
    let events = service.event_types().await.len();
    assert_eq!(
        service.suspend(&staff(), &tenant.id).await.unwrap(),
        suspended,
        "again changes nothing"
    );
    assert_eq!(service.event_types().await.len(), events);
    let active = service.reactivate(&staff(), &tenant.id).await.unwrap();
    assert_eq!(
        (active.status.as_str(), active.suspended_reason),
        ("active", None)
    );

    let applied = service.auth.applied.lock().unwrap().clone();
    let told: Vec<(i64, &str)> = applied
        .iter()
        .map(|access| (access.version, access.status.as_str()))
        .collect();
    assert_eq!(told, [(2, "suspended"), (3, "active")]);
    let missing = service
        .suspend(&staff(), &TENANT_A.to_string())
        .await
        .unwrap_err();
    assert_eq!(missing.error_code(), ErrorCode::NotFound);
    let forbidden = service
        .suspend(&ann_of(id_of(&tenant)), &tenant.id)
        .await
        .unwrap_err();
    assert_eq!(forbidden.error_code(), ErrorCode::ForbiddenAction);
}
