//! The audit log.

use kernel::{ErrorCode, RequestContext, TenantId};
use proto::tenant::v1 as pb;
use proto::tenantry::api::v1::AuditRecorded;
use testkit::{ANN, BOB, TENANT_A, TENANT_B};
use uuid::Uuid;

use crate::harness::{Service, ann_of, staff};

/// Records an entry as the worker does.
async fn record(service: &Service, tenant_id: TenantId, id: u128, entry: AuditRecorded) {
    let ctx = RequestContext::system("tenant", tenant_id).build();
    service.clock.advance(chrono::TimeDelta::seconds(1));
    tenant::audit_logs::record(
        &service.app,
        &ctx,
        Uuid::from_u128(id),
        service.clock.now(),
        entry,
    )
    .await
    .unwrap();
}

fn entry(action: &str) -> AuditRecorded {
    AuditRecorded {
        actor_type: "user".to_owned(),
        actor_id: ANN.to_string(),
        action: action.to_owned(),
        entity_type: "record".to_owned(),
        request_id: "req-1".to_owned(),
        ..Default::default()
    }
}

fn actions(answer: &pb::ListAuditLogsResponse) -> Vec<&str> {
    answer
        .data
        .iter()
        .map(|entry| entry.action.as_str())
        .collect()
}

#[tokio::test]
async fn an_event_that_comes_twice_is_one_entry() {
    let service = Service::start().await;
    record(&service, TENANT_A, 1, entry("records.create")).await;
    record(&service, TENANT_A, 1, entry("records.create")).await;
    let answer = service
        .audit(&ann_of(TENANT_A), Default::default())
        .await
        .unwrap();
    assert_eq!(actions(&answer), ["records.create"]);
    assert_eq!(
        (
            answer.data[0].request_id.as_str(),
            answer.data[0].actor_id.as_deref()
        ),
        ("req-1", Some(ANN.to_string().as_str()))
    );
}

/// Two entries of Ann and one of Bob.
async fn three_entries() -> Service {
    let service = Service::start().await;
    record(&service, TENANT_A, 1, entry("records.create")).await;
    record(&service, TENANT_A, 2, entry("records.delete")).await;
    let of_bob = AuditRecorded {
        actor_id: BOB.to_string(),
        ..entry("records.create")
    };
    record(&service, TENANT_A, 3, of_bob).await;
    service
}

#[tokio::test]
async fn the_log_is_filtered_newest_first() {
    let service = three_entries().await;
    let all = service
        .audit(&ann_of(TENANT_A), Default::default())
        .await
        .unwrap();
    assert_eq!(
        actions(&all),
        ["records.create", "records.delete", "records.create"]
    );
    let of_ann = pb::ListAuditLogsRequest {
        actor: ANN.to_string(),
        action: "records.create".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        service
            .audit(&ann_of(TENANT_A), of_ann)
            .await
            .unwrap()
            .data
            .len(),
        1
    );
    let until = pb::ListAuditLogsRequest {
        created_at_to: all.data[1].created_at,
        ..Default::default()
    };
    assert_eq!(
        actions(&service.audit(&ann_of(TENANT_A), until).await.unwrap()),
        ["records.create"]
    );
}

#[tokio::test]
async fn pages_are_turned_by_a_cursor_that_is_bound_to_its_tenant() {
    let service = three_entries().await;
    let first = pb::ListAuditLogsRequest {
        limit: 2,
        ..Default::default()
    };
    let first = service.audit(&ann_of(TENANT_A), first).await.unwrap();
    let cursor = first.meta.unwrap().next_cursor.unwrap();
    let rest = pb::ListAuditLogsRequest {
        limit: 2,
        cursor,
        ..Default::default()
    };
    let last = service
        .audit(&ann_of(TENANT_A), rest.clone())
        .await
        .unwrap();
    assert_eq!(last.data[0].id, uuid::Uuid::from_u128(1).to_string());
    let stolen = service.audit(&ann_of(TENANT_B), rest).await.unwrap_err();
    assert_eq!(stolen.error_code(), ErrorCode::ValidationError);
}

#[tokio::test]
async fn a_tenant_sees_its_own_log_and_staff_the_platforms() {
    let service = Service::start().await;
    record(&service, TENANT_A, 1, entry("records.create")).await;
    record(&service, TenantId::PLATFORM, 2, entry("auth.login")).await;
    assert!(
        service
            .audit(&ann_of(TENANT_B), Default::default())
            .await
            .unwrap()
            .data
            .is_empty()
    );
    assert_eq!(
        actions(&service.audit(&staff(), Default::default()).await.unwrap()),
        ["auth.login"]
    );
    let within = testkit::context().platform(BOB).tenant(TENANT_A).build();
    assert_eq!(
        actions(&service.audit(&within, Default::default()).await.unwrap()),
        ["records.create"]
    );
}

#[tokio::test]
async fn an_actor_that_is_no_id_is_a_violation() {
    let service = Service::start().await;
    let request = pb::ListAuditLogsRequest {
        actor: "ana".to_owned(),
        ..Default::default()
    };
    let error = service.audit(&ann_of(TENANT_A), request).await.unwrap_err();
    assert_eq!(error.violations()[0].field, "actor");
}
