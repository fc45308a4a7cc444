//! The catalogue's seed.

use tenant::catalog::{self, Seeded};

use crate::harness::{Service, ann, request};

#[tokio::test]
async fn a_second_seed_changes_nothing() {
    let service = Service::start().await;
    assert_eq!(
        catalog::seed(&service.app).await.unwrap(),
        Seeded::Unchanged
    );
}

#[tokio::test]
async fn a_changed_catalogue_is_told_to_every_tenant() {
    let service = Service::start().await;
    for n in 1..=3 {
        service
            .create(&ann(), request(&format!("casa-{n}")))
            .await
            .unwrap();
    }
    // The stored digest belongs to an older catalogue, in which `starter` had one action more and one less.
    let mut admin = service.db.admin().await;
    let older = "update tenant.seed_history set digest = 'older';
                 delete from tenant.package_actions where package_key = 'starter' and action_key = 'records.create'";
    sqlx::raw_sql(older).execute(&mut admin).await.unwrap();
    assert_eq!(
        catalog::seed(&service.app).await.unwrap(),
        Seeded::Written { tenants: 3 }
    );
    let told: Vec<_> = service
        .db
        .events()
        .await
        .into_iter()
        .filter(|event| event.event_type == "tenant.status.changed")
        .collect();
    assert_eq!(told.len(), 3);
    let actions = told[0].data["entitledActions"].as_array().unwrap();
    assert!(
        actions.iter().any(|action| action == "records.create"),
        "the action is back: {actions:?}"
    );
}
