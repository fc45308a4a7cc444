//! Lists of records: pages, order, facets and cursors.

use kernel::ErrorCode;
use proto::niche::v1 as pb;
use serde_json::json;

use crate::harness::{Person, Service, name, rules};

async fn seed(service: &Service, person: &Person) {
    let packages = [
        ("redis", "database", "team"),
        ("valkey", "database", "individual"),
        ("nginx", "web", "team"),
        ("curl", "web", "individual"),
    ];
    for (name, section, role) in packages {
        service.clock.advance(chrono::TimeDelta::seconds(1));
        person.package(json!({"name": name, "section": section, "maintainer_role": role, "priority": "optional"})).await.unwrap();
    }
}

#[tokio::test]
async fn facets_mean_any_within_and_all_across() {
    let service = Service::start().await;
    let ann = service.ann().await;
    seed(&service, &ann).await;
    let check = async |facets: &[&str], expected: &[&str]| {
        assert_eq!(ann.names(facets).await.unwrap(), expected, "{facets:?}")
    };
    check(&[], &["curl", "nginx", "redis", "valkey"]).await;
    check(&["section:web"], &["curl", "nginx"]).await;
    check(
        &["section:web", "section:database"],
        &["curl", "nginx", "redis", "valkey"],
    )
    .await;
    check(&["section:web", "maintainer_role:team"], &["nginx"]).await;
    check(
        &[
            "section:web",
            "section:database",
            "maintainer_role:team",
            "priority:optional",
        ],
        &["nginx", "redis"],
    )
    .await;
    check(&["section:nothing"], &[]).await;
    check(&["section:web' or true --"], &[]).await;
}

#[tokio::test]
async fn an_unknown_facet_names_the_known_ones() {
    let service = Service::start().await;
    let ann = service.ann().await;
    let error = ann
        .names(&["colour:red", "section:web", "section:", "nonsense"])
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::ValidationError);
    assert_eq!(
        rules(&error),
        [
            "facet[0] niche.facet_unknown",
            "facet[2] niche.facet_value",
            "facet[3] niche.facet_unknown"
        ]
    );
    assert_eq!(
        error.violations()[0].message,
        "there is no such facet; write facet:value with one of: section, maintainer_role, priority"
    );
}

#[tokio::test]
async fn pages_follow_one_another_in_both_orders_without_gaps() {
    let service = Service::start().await;
    let ann = service.ann().await;
    seed(&service, &ann).await;
    // Records of one moment share their time; the id decides between them.
    for i in 0..5 {
        ann.package(json!({"name": format!("same-{i}")}))
            .await
            .unwrap();
    }
    let walk = async |sort: &str| {
        let (mut names, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = ann
                .list(|r| (r.sort, r.limit, r.cursor) = (sort.into(), 2, cursor.clone()))
                .await
                .unwrap();
            names.extend(page.data.iter().map(name));
            let meta = page.meta.unwrap();
            assert_eq!(meta.has_more, meta.next_cursor.is_some());
            let Some(next) = meta.next_cursor else {
                return names;
            };
            cursor = next;
        }
    };
    let mut newest_first = walk("").await;
    assert_eq!(newest_first.len(), 9);
    assert_eq!(newest_first.last().unwrap(), "redis");
    newest_first.reverse();
    assert_eq!(walk("created_at:asc").await, newest_first);
}

#[tokio::test]
async fn a_list_can_be_cut_by_time_of_creation() {
    let service = Service::start().await;
    let ann = service.ann().await;
    seed(&service, &ann).await;
    let at = |record: &pb::Record| record.created_at;
    let all = ann
        .list(|r| r.sort = "created_at:asc".into())
        .await
        .unwrap()
        .data;
    let page = ann
        .list(|r| (r.created_at_from, r.created_at_to) = (at(&all[1]), at(&all[3])))
        .await
        .unwrap();
    let names: Vec<String> = page.data.iter().map(name).collect();
    assert_eq!(names, ["nginx", "valkey"], "from is included, to is not");
}

#[tokio::test]
async fn a_cursor_fits_only_the_list_that_gave_it() {
    let service = Service::start().await;
    let (ann, bob) = (service.ann().await, service.bob().await);
    seed(&service, &ann).await;
    seed(&service, &bob).await;
    let cursor = ann
        .list(|r| r.limit = 1)
        .await
        .unwrap()
        .meta
        .unwrap()
        .next_cursor
        .unwrap();
    let refused = async |person: &Person, change: &dyn Fn(&mut pb::ListRecordsRequest)| {
        let error = person.list(|r| change(r)).await.unwrap_err();
        assert_eq!(rules(&error), ["cursor cursor.invalid"]);
    };
    ann.list(|r| r.cursor.clone_from(&cursor))
        .await
        .expect("the list itself takes it");
    refused(&bob, &|r| r.cursor.clone_from(&cursor)).await;
    refused(&ann, &|r| {
        (r.cursor, r.facet) = (cursor.clone(), vec!["section:web".into()])
    })
    .await;
    refused(&ann, &|r| {
        (r.cursor, r.sort) = (cursor.clone(), "created_at:asc".into())
    })
    .await;
    let mut altered = cursor.clone().into_bytes();
    altered[20] = if altered[20] == b'A' { b'B' } else { b'A' };
    refused(&ann, &|r| {
        r.cursor = String::from_utf8(altered.clone()).unwrap()
    })
    .await;
    refused(&ann, &|r| r.cursor = "nonsense".into()).await;
}
