//! Many records at once, as an import writes them.

use std::sync::Arc;

use kernel::RequestContext;
use niche::forms::EntityForm;
use niche::records::{BatchOutcome, Target, write_batch};
use serde_json::{Value, json};
use testkit::{ANN, TENANT_A};

use crate::harness::{CATALOG, Service};

async fn write(service: &Service, rows: Vec<Value>) -> BatchOutcome {
    let ctx: RequestContext = testkit::context().user(ANN).tenant(TENANT_A).build();
    let mut tx = service.app.db.tenant(&ctx).await.unwrap();
    let form: Arc<EntityForm> = niche::niches::form(&service.app, &mut tx, CATALOG, "packages")
        .await
        .unwrap();
    let target = Target {
        niche: CATALOG,
        entity: "packages",
        form: &form,
    };
    let outcome = write_batch(&service.app, &mut tx, target, rows)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    outcome
}

fn counts(outcome: &BatchOutcome) -> (u64, u64, u64) {
    (outcome.created, outcome.updated, outcome.unchanged)
}

#[tokio::test]
async fn a_second_run_of_a_file_changes_only_what_differs() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let kept = ann
        .package(json!({"name": "curl", "section": "web"}))
        .await
        .unwrap();
    let rows = |section: &str| {
        vec![
            json!({"name": "redis", "section": section, "maintainer_role": "team"}),
            json!({"name": "nginx", "section": "web"}),
            json!({"name": "curl", "section": "web"}),
        ]
    };
    let first = write(&service, rows("database")).await;
    assert_eq!((counts(&first), first.changed_ids.len()), ((2, 0, 1), 2));
    assert_eq!(counts(&write(&service, rows("database")).await), (0, 0, 3));
    let third = write(&service, rows("libs")).await;
    assert_eq!((counts(&third), third.changed_ids.len()), ((0, 1, 2), 1));
    assert_eq!(
        ann.names(&["section:libs", "maintainer_role:team"])
            .await
            .unwrap(),
        ["redis"]
    );
    assert_eq!(
        ann.names(&["section:database"]).await.unwrap(),
        [""; 0],
        "the old facet value is gone"
    );
    let redis = ann
        .get(crate::harness::PACKAGES, &third.changed_ids[0].to_string())
        .await
        .unwrap();
    assert_eq!(redis.version, 2);
    assert_eq!(
        ann.get(crate::harness::PACKAGES, &kept.id).await.unwrap(),
        kept
    );
}

#[tokio::test]
async fn of_rows_with_one_key_the_last_wins() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let rows = vec![
        json!({"name": "redis", "section": "web"}),
        json!({"name": "redis", "section": "database"}),
        json!({"name": "redis", "section": "database"}),
    ];
    assert_eq!(counts(&write(&service, rows).await), (1, 1, 1));
    assert_eq!(ann.names(&["section:database"]).await.unwrap(), ["redis"]);
    assert_eq!(ann.names(&["section:web"]).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn an_empty_batch_writes_nothing() {
    let service = Service::start().await;
    service.ann().await;
    assert_eq!(write(&service, Vec::new()).await, BatchOutcome::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_imports_of_the_same_records_wait_for_each_other() {
    let service = Service::start().await;
    service.ann().await;
    for round in 0..5 {
        let forth: Vec<Value> = (0..400)
            .map(|i| json!({"name": format!("package-{i}"), "summary": format!("forth {round}")}))
            .collect();
        let back: Vec<Value> = (0..400)
            .rev()
            .map(|i| json!({"name": format!("package-{i}"), "summary": format!("back {round}")}))
            .collect();
        let (one, other) = tokio::join!(write(&service, forth), write(&service, back));
        assert_eq!(
            one.created + other.created,
            if round == 0 { 400 } else { 0 }
        );
        assert_eq!(
            one.updated + other.updated,
            if round == 0 { 400 } else { 800 }
        );
    }
}
