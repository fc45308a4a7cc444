//! The walk of `./dev demo` on a small sample.

use std::sync::{Arc, Mutex};

use reqwest::StatusCode;
use serde_json::json;
use stack::demo::{Walk, sample};

use campaign::Platform;

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_becomes_a_customer_and_finds_imported_records() {
    let platform = Platform::start().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let file = sample().unwrap();
    let walk = Walk {
        base_url: platform.base_url.clone(),
        mail_dir: platform.mail_dir.clone(),
        csv: file.csv,
        query: "video player".to_owned(),
        section: "video".to_owned(),
        narrator: Arc::new(move |line| listener.lock().unwrap().push(line.to_owned())),
    };
    let outcome = walk
        .take()
        .await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", told.lock().unwrap().join("\n")));

    assert_eq!(outcome.import["createdRows"], json!(file.rows));
    assert_eq!(outcome.import["failedRows"], json!(0));
    let titles = |hits: &[serde_json::Value]| {
        hits.iter()
            .map(|hit| hit["title"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(
        titles(&outcome.hits).contains(&"mpv".to_owned()),
        "{:?}",
        outcome.hits
    );
    let mut in_section = titles(&outcome.filtered);
    in_section.sort();
    assert_eq!(in_section, ["mpv", "vlc"]);
    assert_eq!(
        (outcome.foreign_hits.len(), outcome.foreign_status),
        (0, StatusCode::NOT_FOUND)
    );
    for action in ["tenants.create", "niches.activate", "imports.create"] {
        assert!(
            outcome.actions.iter().any(|a| a == action),
            "{action} is not in {:?}",
            outcome.actions
        );
    }
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_names_an_owner_and_a_taken_slug_is_refused() {
    let platform = Platform::start().await;
    let stranger = platform.client();
    let admin = platform.sign_in_as_admin().await;
    let owner_email = "owner@example.com";
    let tenant = admin
        .post("/v1/tenants", &json!({"slug": "casa-verde", "name": "Casa Verde", "adminUser": {"email": owner_email, "name": "Olga"}}))
        .await
        .unwrap();
    let tenant_id = tenant["data"]["id"].as_str().unwrap().to_owned();
    let listed = admin.get("/v1/tenants?q=verde").await.unwrap();
    assert_eq!(listed["data"][0]["id"], json!(tenant_id));

    let taken = admin
        .post("/v1/tenants", &json!({"slug": "casa-verde", "name": "Other", "adminUser": {"email": "x@example.com", "name": "X"}}))
        .await
        .unwrap_err();
    assert!(
        taken.to_string().contains("DUPLICATE_RESOURCE"),
        "{taken:#}"
    );

    assert_eq!(
        stranger.status("/v1/tenants").await.unwrap(),
        StatusCode::UNAUTHORIZED
    );
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_tenant_is_refused_at_once_and_let_in_again() {
    let platform = Platform::start().await;
    let admin = platform.sign_in_as_admin().await;
    let owner = platform.settle("Olga Prado", "house").await;
    let path = format!("/v1/tenants/{}", owner.tenant_id);
    assert_eq!(
        owner.client.status("/v1/niches").await.unwrap(),
        StatusCode::OK
    );
    admin
        .post(&format!("{path}/suspend"), &json!({"reason": "unpaid"}))
        .await
        .unwrap();
    testkit::eventually("the owner is refused", async || {
        (owner.client.status("/v1/niches").await.unwrap() == StatusCode::FORBIDDEN).then_some(())
    })
    .await;
    admin
        .post(&format!("{path}/reactivate"), &json!({}))
        .await
        .unwrap();
    testkit::eventually("the owner is let in again", async || {
        (owner.client.status("/v1/niches").await.unwrap() == StatusCode::OK).then_some(())
    })
    .await;
    platform.stop().await;
}
