//! What happens beside requests.

use auth::events_used::tenants_queue;
use chrono::TimeDelta;
use events::Drained;
use kernel::TenantId;
use proto::tenant::v1::{TenantCreated, TenantStatusChanged};
use uuid::Uuid;

use crate::service::{PASSWORD, Service, told};

const ANA: &str = "ana@example.com";
const TENANT: TenantId = TenantId(Uuid::from_u128(7));

fn created(owner: &str) -> TenantCreated {
    TenantCreated {
        tenant_id: TENANT.to_string(),
        version: 1,
        slug: "azul".to_owned(),
        name: "Azul".to_owned(),
        entitled_actions: vec!["records.read".to_owned()],
        owner_user_id: owner.to_owned(),
    }
}

fn changed(version: i64, status: &str) -> TenantStatusChanged {
    TenantStatusChanged {
        tenant_id: TENANT.to_string(),
        version,
        slug: "azul".to_owned(),
        name: "Azul".to_owned(),
        status: status.to_owned(),
        entitled_actions: vec!["records.read".to_owned()],
    }
}

/// Publishes events through this service's own outbox, as the tenant service would through its own, and lets the worker handle them.
async fn deliver(
    service: &Service,
    broker: &events::Broker,
    write: impl FnOnce(&mut db::Tx),
) -> Drained {
    let ctx = testkit::context().internal("tenant").tenant(TENANT).build();
    events::declare(broker, &tenants_queue()).await.unwrap();
    let mut tx = service.app.db.tenant(&ctx).await.unwrap();
    write(&mut tx);
    tx.commit().await.unwrap();
    let outbox = db::Outbox::connect(&service.db.config()).unwrap();
    events::flush(&outbox, broker).await.unwrap();
    let app = service.app.clone();
    events::drain(broker, &tenants_queue(), move |delivery| {
        auth::worker::tenant_changed(app.clone(), delivery)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn events_of_tenants_do_what_the_commands_do_in_any_order_and_number() {
    // The service's own relay would compete for the outbox, so this one runs without its port.
    let service = Service::start_without_relay().await;
    let broker = events::Broker::connect(testkit::amqp(), service.clock.clone()).unwrap();
    let ana = service.sign_up_directly(ANA).await;
    let owner = ana.to_string();
    let done = deliver(&service, &broker, |tx| {
        tx.emit(TENANT, &changed(3, "suspended")).unwrap();
        tx.emit(TENANT, &created(&owner)).unwrap();
        tx.emit(TENANT, &created(&owner)).unwrap();
        tx.emit(TENANT, &changed(2, "active")).unwrap();
    })
    .await;
    assert_eq!((done.done, done.retried, done.dead), (4, 0, 0));
    assert_eq!(
        service.count("select count(*) from auth.memberships").await,
        1
    );
    assert_eq!(
        service
            .count("select count(*) from auth.tenants where status = 'suspended' and version = 3")
            .await,
        1
    );
    let done = deliver(&service, &broker, |tx| {
        tx.emit(TENANT, &changed(4, "active")).unwrap();
        tx.emit(TENANT, &created(&Uuid::from_u128(1).to_string()))
            .unwrap();
    })
    .await;
    assert_eq!(
        (done.done, done.dead),
        (2, 0),
        "an owner that is there already is not looked for"
    );
    assert_eq!(
        service
            .count("select count(*) from auth.tenants where status = 'active'")
            .await,
        1
    );
}

#[tokio::test]
async fn an_event_about_a_person_who_does_not_exist_ends_among_the_dead_letters() {
    let service = Service::start_without_relay().await;
    let broker = events::Broker::connect(testkit::amqp(), service.clock.clone()).unwrap();
    let done = deliver(&service, &broker, |tx| {
        tx.emit(TENANT, &created(&Uuid::from_u128(1).to_string()))
            .unwrap()
    })
    .await;
    assert_eq!((done.done, done.retried, done.dead), (0, 0, 1));
    assert_eq!(service.count("select count(*) from auth.tenants").await, 0);
}

#[tokio::test]
async fn a_sweep_removes_what_ended_a_week_ago_and_nothing_that_is_alive() {
    let service = Service::start().await;
    service.sign_up(ANA).await;
    let client = service.client();
    let old = client.login(ANA, PASSWORD).await.unwrap();
    client.register("new@example.com", PASSWORD).await.unwrap();
    assert_eq!(
        told(client.login(ANA, "not the pass phrase at all").await).0,
        "INVALID_CREDENTIALS"
    );
    assert_eq!(auth::worker::sweep(&service.app).await.unwrap(), 0);
    client.refresh(&old.refresh_token).await.unwrap();
    service.clock.advance(TimeDelta::days(98));
    let fresh = client.login(ANA, PASSWORD).await.unwrap();
    assert!(auth::worker::sweep(&service.app).await.unwrap() > 0);
    assert_eq!(service.count("select count(*) from auth.sessions").await, 1);
    assert_eq!(
        service
            .count("select count(*) from auth.refresh_tokens")
            .await,
        1
    );
    assert_eq!(
        service
            .count("select count(*) from auth.email_verifications")
            .await,
        0
    );
    assert_eq!(
        service
            .count("select count(*) from auth.login_attempts")
            .await,
        0
    );
    client.refresh(&fresh.refresh_token).await.unwrap();
}
