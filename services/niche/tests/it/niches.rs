//! Kits on offer, activation and effective configuration.

use kernel::ErrorCode;
use serde_json::json;
use testkit::{TENANT_A, TENANT_B};

use crate::harness::{CATALOG, PACKAGES, Service, rules};

#[tokio::test]
async fn kits_are_listed_with_names_in_both_languages() {
    let service = Service::start().await;
    let ann = service.of(TENANT_A);
    let kits = ann.kits().await.unwrap();
    let keys: Vec<_> = kits
        .iter()
        .map(|kit| (kit.key.as_str(), kit.version.as_str()))
        .collect();
    assert_eq!(keys, [("people", "1.0.0"), ("software-catalog", "1.0.0")]);
    let name = kits[0].name.clone().unwrap();
    assert_eq!(
        (name.pt_br.as_str(), name.en.as_str()),
        ("Pessoas", "People")
    );
}

#[tokio::test]
async fn a_kit_shows_its_form_facets_and_mappings() {
    let service = Service::start().await;
    let ann = service.of(TENANT_A);
    let kit = ann.kit(CATALOG, "").await.unwrap();
    assert_eq!(kit, ann.kit(CATALOG, "1.0.0").await.unwrap());
    let packages = &kit.entities[0];
    let form = packages.schema.as_ref().unwrap().to_value();
    assert_eq!(form["additionalProperties"], json!(false));
    assert_eq!(
        form["properties"]["priority"]["enum"],
        json!(["required", "important", "standard", "optional", "extra"])
    );
    assert_eq!(
        form["properties"]["section"]["x-label"],
        json!({"en": "Section", "pt-BR": "Seção"})
    );
    let facets: Vec<&str> = packages.facets.iter().map(|f| f.key.as_str()).collect();
    assert_eq!(facets, ["section", "maintainer_role", "priority"]);
    assert_eq!(
        (
            packages.natural_key.as_str(),
            packages.import_mappings[0].key.as_str()
        ),
        ("name", "debian-packages")
    );
    for (key, version) in [("nothing", ""), (CATALOG, "9.0.0"), (CATALOG, "x")] {
        let error = ann.kit(key, version).await.unwrap_err();
        assert_eq!(
            (error.error_code(), error.reason()),
            (ErrorCode::NotFound, "niche.kit_not_found")
        );
    }
}

#[tokio::test]
async fn activating_twice_is_activating_once() {
    let service = Service::start().await;
    let ann = service.of(TENANT_A);
    let first = ann.activate(CATALOG).await.unwrap();
    service.clock.advance(chrono::TimeDelta::seconds(9));
    assert_eq!(ann.activate(CATALOG).await.unwrap(), first);
    assert_eq!(ann.activate_version(CATALOG, "1.0.0").await.unwrap(), first);
    assert_eq!(
        (first.status.as_str(), first.kit_version.as_str()),
        ("active", "1.0.0")
    );
    assert_eq!(
        service.event_types().await,
        ["niche.activated", "audit.recorded"]
    );
    assert_eq!(
        ann.activate("nothing").await.unwrap_err().error_code(),
        ErrorCode::NotFound
    );
    assert_eq!(
        ann.may(&["niches.read"])
            .activate("people")
            .await
            .unwrap_err()
            .error_code(),
        ErrorCode::ForbiddenAction
    );
}

#[tokio::test]
async fn twenty_activations_at_once_make_one_niche() {
    let service = Service::start().await;
    let ann = service.of(TENANT_A);
    let answers = futures::future::join_all((0..20).map(|_| ann.activate(CATALOG))).await;
    let niches: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(niches.iter().all(|niche| *niche == niches[0]));
    assert_eq!(
        service.event_types().await,
        ["niche.activated", "audit.recorded"]
    );
}

#[tokio::test]
async fn another_version_than_the_active_one_is_an_upgrade() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let mut admin = service.db.admin().await;
    sqlx::raw_sql(
        "insert into niche.kits select key, '0.9.0', manifest, checksum, synced_at from niche.kits where key = 'software-catalog';
         update niche.niches set kit_version = '0.9.0'",
    )
    .execute(&mut admin)
    .await
    .unwrap();
    let error = ann.activate_version(CATALOG, "1.0.0").await.unwrap_err();
    assert_eq!(
        (error.error_code(), error.reason()),
        (ErrorCode::StateConflict, "niche.version_differs")
    );
    assert_eq!(ann.activate(CATALOG).await.unwrap().kit_version, "0.9.0");
    ann.package(json!({"name": "redis"}))
        .await
        .expect("a version that this build does not ship any more still works");
}

#[tokio::test]
async fn a_tenant_sees_only_its_own_niches_page_by_page() {
    let service = Service::start().await;
    let ann = service.ann().await;
    ann.activate("people").await.unwrap();
    let first = ann.list_niches(1, "").await.unwrap();
    let cursor = first.meta.unwrap().next_cursor.unwrap();
    let second = ann.list_niches(1, &cursor).await.unwrap();
    assert_eq!(
        (
            first.data[0].key.as_str(),
            second.data[0].key.as_str(),
            second.meta.unwrap().has_more
        ),
        ("people", CATALOG, false)
    );
    let bob = service.of(TENANT_B);
    assert!(bob.list_niches(0, "").await.unwrap().data.is_empty());
    assert_eq!(
        rules(&bob.list_niches(1, &cursor).await.unwrap_err()),
        ["cursor cursor.invalid"]
    );
    let error = bob.niche_config(CATALOG).await.unwrap_err();
    assert_eq!(
        (error.error_code(), error.reason()),
        (ErrorCode::NotFound, "niche.niche_not_found")
    );
}

#[tokio::test]
async fn the_effective_configuration_is_the_kit_with_the_tenants_edits() {
    let service = Service::start().await;
    let (ann, bob) = (service.ann().await, service.bob().await);
    let origin =
        |config: &proto::niche::v1::NicheConfig| config.entities[0].provenance.clone().unwrap();
    let plain = ann.niche_config(CATALOG).await.unwrap();
    assert_eq!(
        (
            origin(&plain).origin.as_str(),
            origin(&plain).version.as_str(),
            plain.taxonomies.len()
        ),
        ("kit", "1.0.0", 2)
    );
    let mut admin = service.db.admin().await;
    sqlx::raw_sql(
        r#"insert into niche.niche_overlays (tenant_id, niche, object_kind, object_key, patch, updated_at)
           select tenant_id, key, 'entity', 'packages',
                  '{"schema": {"properties": {"licence": {"type": "string", "maxLength": 40, "x-label": {"pt-BR": "Licença", "en": "Licence"}}}}}', now()
           from niche.niches where tenant_id = 'aaaaaaaa-0000-7000-8000-00000000000a';
           update niche.niches set overlay_revision = 1 where tenant_id = 'aaaaaaaa-0000-7000-8000-00000000000a'"#,
    )
    .execute(&mut admin)
    .await
    .unwrap();
    let edited = ann.niche_config(CATALOG).await.unwrap();
    assert_eq!(origin(&edited).origin, "tenant");
    let record = json!({"name": "redis", "licence": "BSD-3-Clause"});
    ann.create(PACKAGES, record.clone())
        .await
        .expect("the tenant's own field");
    assert_eq!(
        rules(&bob.create(PACKAGES, record).await.unwrap_err()),
        ["data.licence form.unknown_field"]
    );
    assert_eq!(
        bob.niche_config(CATALOG).await.unwrap(),
        plain,
        "nobody else sees it"
    );
}
