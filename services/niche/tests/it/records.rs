//! Creating, reading, changing and deleting records.

use kernel::{ErrorCode, Locale};
use serde_json::{Value, json};

use crate::harness::{PACKAGES, PEOPLE, Service, data, rules};

const NOBODY: &str = "01990000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_record_reads_back_as_it_was_written() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let sent = json!({"name": "redis", "section": "database", "installed_size": 57, "tags": ["role::program"], "homepage": "https://redis.io/"});
    let created = ann.package(sent.clone()).await.unwrap();
    let read = ann.get(PACKAGES, &created.id).await.unwrap();
    assert_eq!(read, created);
    assert_eq!(
        (
            data(&read),
            read.version,
            read.niche.as_str(),
            read.entity.as_str()
        ),
        (sent, 1, "software-catalog", "packages")
    );
    assert_eq!(read.created_at, read.updated_at);
}

#[tokio::test]
async fn every_write_leaves_an_event_and_an_audit_entry_without_personal_data() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let record = ann
        .package(json!({"name": "redis", "maintainer": "Jane Roe <jane@example.org>"}))
        .await
        .unwrap();
    ann.update(
        PACKAGES,
        &record.id,
        (Some(1), json!({"maintainer": "Joe Doe <joe@example.org>"})),
    )
    .await
    .unwrap();
    ann.delete(PACKAGES, &record.id).await.unwrap();
    let events = service.db.events().await;
    let types: Vec<&str> = events.iter().map(|e| e.event_type.as_str()).collect();
    let audit = "audit.recorded";
    assert_eq!(
        types,
        [
            "niche.activated",
            audit,
            "record.created",
            audit,
            "record.updated",
            audit,
            "record.deleted",
            audit
        ]
    );
    let text = serde_json::to_string(&events).unwrap();
    assert!(
        !text.contains("example.org") && !text.contains("Jane"),
        "{text}"
    );
    assert!(
        text.contains("\"fields\":[\"maintainer\"]"),
        "the audit entry names the changed fields: {text}"
    );
}

#[tokio::test]
async fn every_broken_rule_is_told_at_once_in_the_callers_language() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let broken = json!({
        "name": "two words", "priority": "urgent", "homepage": "nowhere", "installed_size": "12", "version": 3,
        "colour": "red", "section": "x".repeat(61), "tags": ["a", "", "a"],
    });
    let expected = [
        "data.name form.pattern",
        "data.version form.type",
        "data.section form.max_length",
        "data.priority form.one_of",
        "data.installed_size form.type",
        "data.homepage form.url",
        "data.tags form.unique",
        "data.tags[1] form.min_length",
        "data.colour form.unknown_field",
    ];
    let english = ann.package(broken.clone()).await.unwrap_err();
    let portuguese = ann
        .speaking(Locale::PtBr)
        .package(broken)
        .await
        .unwrap_err();
    assert_eq!(english.error_code(), ErrorCode::ValidationError);
    assert_eq!(rules(&english), expected);
    assert_eq!(rules(&portuguese), expected);
    let message = |error: &kernel::Error, i: usize| error.violations()[i].message.clone();
    assert_eq!(
        message(&english, 0),
        "Name does not have the expected form. Letters, digits and + . _ : -, without spaces."
    );
    assert_eq!(
        message(&portuguese, 0),
        "Nome não está no formato esperado. Letras, dígitos e + . _ : -, sem espaços."
    );
    assert_eq!(
        message(&english, 3),
        "Priority must be one of: required, important, standard, optional, extra"
    );
    assert_eq!(
        message(&portuguese, 4),
        "Tamanho instalado (KiB) deve ser um número inteiro"
    );
    assert_eq!(
        message(&english, 2),
        "Section may have at most 60 characters: shorten it"
    );
    assert_eq!(english.violations()[2].params["max"], "60");
    assert!(message(&portuguese, 8).starts_with(
        "colour não é um campo deste formulário: remova-o; os campos são name, version"
    ));
    assert_eq!(
        service.event_types().await.len(),
        2,
        "a refused record leaves no event"
    );
}

#[tokio::test]
async fn a_missing_required_field_is_named_by_its_label() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let error = ann
        .speaking(Locale::PtBr)
        .package(json!({"name": null}))
        .await
        .unwrap_err();
    assert_eq!(rules(&error), ["data.name form.required"]);
    assert_eq!(
        error.violations()[0].message,
        "Nome é obrigatório: preencha o campo"
    );
}

#[tokio::test]
async fn a_person_is_checked_by_the_brazilian_rules() {
    let service = Service::start().await;
    let ann = service.ann().await;
    ann.activate("people").await.unwrap();
    let good = json!({"full_name": "Ana Souza", "cpf": "529.982.247-25", "identity_uf": "SP", "gender": "female", "phone": "(11) 98765-4321"});
    ann.create(PEOPLE, good).await.unwrap();
    let check = async |record: Value, expected: &[&str]| {
        let error = ann.create(PEOPLE, record).await.unwrap_err();
        assert_eq!(rules(&error), expected);
    };
    check(
        json!({"full_name": "B", "cpf": "529.982.247-24", "identity_uf": "XX"}),
        &[
            "data.full_name form.min_length",
            "data.cpf form.cpf",
            "data.identity_uf form.one_of",
        ],
    )
    .await;
    check(json!({"full_name": "Bia", "cep": "123", "phone": "123", "birth_date": "1990-02-30", "email": "no"}), &[
        "data.birth_date form.date",
        "data.email form.email",
        "data.phone form.phone-br",
        "data.cep form.cep",
    ])
    .await;
    let twice = ann
        .create(PEOPLE, json!({"full_name": "Ana S.", "cpf": "52998224725"}))
        .await
        .unwrap_err();
    assert_eq!(
        twice.error_code(),
        ErrorCode::DuplicateResource,
        "two spellings of one CPF are one person"
    );
}

#[tokio::test]
async fn the_size_of_a_record_and_its_texts_is_bounded() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let error = ann
        .package(json!({"name": "a", "description": "x".repeat(10_001)}))
        .await
        .unwrap_err();
    assert_eq!(rules(&error), ["data.description form.max_length"]);
    let wide: Vec<String> = (0..100)
        .map(|i| format!("{i:03}{}", "é".repeat(97)))
        .collect();
    let many = json!({"name": "a", "description": "漢".repeat(10_000), "tags": wide, "summary": "漢".repeat(500), "maintainer": "漢".repeat(300), "version": "漢".repeat(100)});
    assert!(
        serde_json::to_vec(&many).unwrap().len() < 64 * 1024,
        "this one is long, and allowed"
    );
    ann.package(many).await.unwrap();
    let tags: Vec<String> = (0..100)
        .map(|i| format!("{i:03}{}", "漢".repeat(97)))
        .collect();
    let error = ann
        .package(json!({"name": "b", "description": "\u{1f600}".repeat(10_000), "tags": tags}))
        .await
        .unwrap_err();
    assert_eq!(rules(&error), ["data form.size"]);
}

#[tokio::test]
async fn a_natural_key_is_unique_within_its_entity() {
    let service = Service::start().await;
    let ann = service.ann().await;
    ann.package(json!({"name": "redis"})).await.unwrap();
    let other = ann.package(json!({"name": "valkey"})).await.unwrap();
    let check = |error: kernel::Error| {
        assert_eq!(
            (error.error_code(), error.reason()),
            (ErrorCode::DuplicateResource, "niche.record_exists")
        )
    };
    check(ann.package(json!({"name": "redis"})).await.unwrap_err());
    check(
        ann.update(PACKAGES, &other.id, (None, json!({"name": "redis"})))
            .await
            .unwrap_err(),
    );
    service
        .bob()
        .await
        .package(json!({"name": "redis"}))
        .await
        .expect("another tenant has its own names");
}

#[tokio::test]
async fn a_merge_patch_sets_keeps_and_removes() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let record = ann
        .package(json!({"name": "redis", "section": "database", "summary": "a store"}))
        .await
        .unwrap();
    service.clock.advance(chrono::TimeDelta::seconds(5));
    let changed = ann
        .update(
            PACKAGES,
            &record.id,
            (None, json!({"section": "web", "summary": null})),
        )
        .await
        .unwrap();
    assert_eq!(data(&changed), json!({"name": "redis", "section": "web"}));
    assert_eq!(changed.version, 2);
    assert!(
        changed.updated_at.unwrap().seconds == record.updated_at.unwrap().seconds + 5
            && changed.created_at == record.created_at
    );
    assert_eq!(ann.names(&["section:web"]).await.unwrap(), ["redis"]);
    assert_eq!(ann.names(&["section:database"]).await.unwrap(), [""; 0]);
    let error = ann
        .update(
            PACKAGES,
            &record.id,
            (None, json!({"name": null, "colour": "red"})),
        )
        .await
        .unwrap_err();
    assert_eq!(
        rules(&error),
        ["data.name form.required", "data.colour form.unknown_field"]
    );
}

#[tokio::test]
async fn a_patch_that_changes_nothing_leaves_no_trace() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let record = ann
        .package(json!({"name": "redis", "section": "database"}))
        .await
        .unwrap();
    let before = service.event_types().await;
    service.clock.advance(chrono::TimeDelta::seconds(5));
    let same = ann
        .update(
            PACKAGES,
            &record.id,
            (Some(1), json!({"section": "database", "summary": null})),
        )
        .await
        .unwrap();
    assert_eq!(same, record);
    assert_eq!(service.event_types().await, before);
}

#[tokio::test]
async fn of_fifty_changes_on_one_version_exactly_one_wins() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let record = ann.package(json!({"name": "redis"})).await.unwrap();
    let changes = (0..50).map(|i| {
        let (ann, id) = (ann.clone(), record.id.clone());
        async move {
            ann.update(
                PACKAGES,
                &id,
                (Some(1), json!({"summary": format!("number {i}")})),
            )
            .await
        }
    });
    let answers = futures::future::join_all(changes).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for error in lost.into_iter().map(Result::unwrap_err) {
        assert!(
            matches!(
                error.error_code(),
                ErrorCode::Conflict | ErrorCode::ServiceUnavailable
            ),
            "{error:?}"
        );
    }
    let now = ann.get(PACKAGES, &record.id).await.unwrap();
    assert_eq!(&now, won[0].as_ref().unwrap());
    assert_eq!(now.version, 2);
}

#[tokio::test]
async fn a_repeated_command_has_one_effect() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let first = ann
        .with_key("k-1")
        .package(json!({"name": "redis"}))
        .await
        .unwrap();
    let again = ann
        .with_key("k-1")
        .package(json!({"name": "redis"}))
        .await
        .unwrap();
    assert_eq!(first, again);
    let reused = ann
        .with_key("k-1")
        .package(json!({"name": "valkey"}))
        .await
        .unwrap_err();
    assert_eq!(reused.error_code(), ErrorCode::IdempotencyKeyReused);
    let patch = || (Some(1), json!({"summary": "a store"}));
    let first = ann
        .with_key("k-2")
        .update(PACKAGES, &first.id, patch())
        .await
        .unwrap();
    let again = ann
        .with_key("k-2")
        .update(PACKAGES, &first.id, patch())
        .await
        .unwrap();
    assert_eq!((first.version, &first), (2, &again));
    assert_eq!(ann.names(&[]).await.unwrap(), ["redis"]);
}

#[tokio::test]
async fn a_deleted_record_is_gone_with_its_facets() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let record = ann
        .package(json!({"name": "redis", "section": "database"}))
        .await
        .unwrap();
    ann.delete(PACKAGES, &record.id).await.unwrap();
    for error in [
        ann.get(PACKAGES, &record.id).await.map(drop).unwrap_err(),
        ann.delete(PACKAGES, &record.id).await.unwrap_err(),
    ] {
        assert_eq!(
            (error.error_code(), error.reason()),
            (ErrorCode::NotFound, "niche.record_not_found")
        );
    }
    let mut admin = service.db.admin().await;
    let left: i64 = sqlx::query_scalar("select count(*) from niche.record_facets")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(left, 0);
    ann.package(json!({"name": "redis"}))
        .await
        .expect("the name is free again");
}

#[tokio::test]
async fn what_is_not_there_answers_the_same_whatever_the_reason() {
    let service = Service::start().await;
    let (ann, bob) = (service.ann().await, service.bob().await);
    ann.activate("people").await.unwrap();
    let record = ann.package(json!({"name": "redis"})).await.unwrap();
    let story = |error: kernel::Error| {
        (
            error.error_code(),
            error.reason().to_owned(),
            error.message().to_owned(),
            error.details().clone(),
        )
    };
    let never = story(ann.get(PACKAGES, NOBODY).await.unwrap_err());
    assert_eq!(never.0, ErrorCode::NotFound);
    assert_eq!(
        story(bob.get(PACKAGES, &record.id).await.unwrap_err()),
        never,
        "another tenant's id"
    );
    assert_eq!(
        story(ann.get(PEOPLE, &record.id).await.unwrap_err()),
        never,
        "another niche's id"
    );
    assert_eq!(
        story(
            ann.get("software-catalog/nothing", &record.id)
                .await
                .unwrap_err()
        ),
        never,
        "no such entity"
    );
    let patch = || (None, json!({"summary": "mine now"}));
    assert_eq!(
        story(bob.update(PACKAGES, &record.id, patch()).await.unwrap_err()),
        never
    );
    assert_eq!(
        story(bob.update(PACKAGES, NOBODY, patch()).await.unwrap_err()),
        never
    );
    assert_eq!(
        story(bob.delete(PACKAGES, &record.id).await.unwrap_err()),
        never
    );
    assert_eq!(ann.get(PACKAGES, &record.id).await.unwrap(), record);
}

#[tokio::test]
async fn a_record_needs_an_active_niche_and_a_permission() {
    let service = Service::start().await;
    let ann = service.of(testkit::TENANT_A);
    let error = ann.package(json!({"name": "redis"})).await.unwrap_err();
    assert_eq!(
        (error.error_code(), error.reason()),
        (ErrorCode::NotFound, "niche.entity_not_found")
    );
    ann.activate("software-catalog").await.unwrap();
    let error = ann
        .create("software-catalog/nothing", json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "niche.entity_not_found");
    let error = ann
        .may(&["records.read"])
        .package(json!({"name": "redis"}))
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::ForbiddenAction);
}

/// The form of a later record is in memory, and what it was compiled from may be gone.
#[tokio::test]
async fn a_niche_that_changes_between_two_records_is_looked_at_again() {
    let service = Service::start().await;
    let ann = service.ann().await;
    for name in ["first", "second"] {
        ann.package(json!({"name": name})).await.unwrap();
    }
    let mut admin = service.db.admin().await;
    let patch = json!({"schema": {"properties": {
        "homepage": null,
        "licence": {"type": "string", "maxLength": 40, "x-label": {"pt-BR": "Licença", "en": "Licence"}},
    }}});
    let overlay = "with edit as (insert into niche.niche_overlays (tenant_id, niche, object_kind, object_key, patch, updated_at)
                     select tenant_id, key, 'entity', 'packages', $1, now() from niche.niches)
                   update niche.niches set overlay_revision = 1";
    sqlx::query(overlay)
        .bind(&patch)
        .execute(&mut admin)
        .await
        .unwrap();
    let refused = ann
        .package(json!({"name": "third", "homepage": "https://example.org/"}))
        .await
        .unwrap_err();
    assert_eq!(rules(&refused), ["data.homepage form.unknown_field"]);
    for name in ["fourth", "fifth"] {
        let record = ann.package(json!({"name": name, "licence": "MIT"})).await;
        assert_eq!(
            data(&record.unwrap()),
            json!({"name": name, "licence": "MIT"})
        );
    }
    sqlx::query("update niche.niches set status = 'inactive'")
        .execute(&mut admin)
        .await
        .unwrap();
    let gone = ann.package(json!({"name": "sixth"})).await.unwrap_err();
    assert_eq!(gone.reason(), "niche.entity_not_found");
}
