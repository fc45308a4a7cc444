//! What search is told about records.

use kernel::ErrorCode;
use proto::niche::v1 as pb;
use serde_json::json;
use testkit::{TENANT_A, TENANT_B};

use crate::harness::{PEOPLE, Service};

const NOBODY: &str = "01990000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_document_has_title_text_by_weight_and_facets() {
    let service = Service::start().await;
    let ann = service.ann().await;
    ann.activate("people").await.unwrap();
    let package = json!({
        "name": "redis", "section": "database", "summary": "a key-value store", "description": "Keeps data in memory.",
        "maintainer": "Jane Roe <jane@example.org>", "tags": ["use::storing"], "maintainer_role": "team",
    });
    let package = ann.package(package).await.unwrap();
    let person = ann.create(PEOPLE, json!({"full_name": "Ana Souza", "cpf": "529.982.247-25", "profession": "teacher", "identity_uf": "SP"})).await.unwrap();
    let documents = service
        .documents(TENANT_A, &[&package.id, &person.id, NOBODY])
        .await
        .unwrap();
    assert_eq!(
        documents.len(),
        2,
        "a deleted or unknown record is left out"
    );
    let of = |id: &str| {
        documents
            .iter()
            .find(|d| d.record_id == id)
            .unwrap()
            .clone()
    };
    let (redis, ana) = (of(&package.id), of(&person.id));
    assert_eq!((redis.title.as_str(), redis.version), ("redis", 1));
    assert_eq!(
        redis.text,
        "a key-value store\nKeeps data in memory.\ndatabase\nuse::storing"
    );
    assert_eq!(
        redis.facets,
        [
            facet("section", "database"),
            facet("maintainer_role", "team")
        ]
    );
    assert_eq!(
        ana.text, "Teacher, Professor(a)\nSão Paulo",
        "terms stand by their labels in both languages"
    );
    assert!(
        !ana.text.contains("529"),
        "what the kit does not declare is not indexed"
    );
}

#[tokio::test]
async fn documents_are_for_the_search_service_and_for_one_tenant() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let record = ann.package(json!({"name": "redis"})).await.unwrap();
    assert!(
        service
            .documents(TENANT_B, &[&record.id])
            .await
            .unwrap()
            .is_empty()
    );
    let error = service
        .documents(TENANT_A, &["not an id"])
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::ValidationError);
}

fn facet(facet: &str, value: &str) -> pb::FacetValue {
    pb::FacetValue {
        facet: facet.into(),
        value: value.into(),
    }
}
