//! Each of the two defences holds alone: with the policy of a table opened, the queries that name the tenant still show nothing of another one.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::contract::{Method, methods, put};
use super::people::Principal;
use super::wire::HttpRequest;
use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_opened_policy_shows_nothing_of_another_tenant() {
    let world = World::start().await;
    let owner = world
        .principal("owner", world.a.owner, Some(world.a.tenant_id))
        .await;
    let reads = reads(&world).await;
    assert_eq!(
        leaks(&world, &owner, &reads).await,
        BTreeSet::new(),
        "with every policy in place"
    );
    let of_b = world
        .principal("owner", world.b.owner, Some(world.b.tenant_id))
        .await;
    let shown = leaks(&world, &of_b, &reads).await;
    assert!(
        shown.len() >= 5,
        "the reads would show what is B's: {shown:?}"
    );
    let tables = world.tenant_tables().await;
    let mut leaking: BTreeSet<&str> = BTreeSet::new();
    for table in &tables {
        change(
            &world,
            format!("create policy opened on {table} using (true)"),
        )
        .await;
        let found = leaks(&world, &owner, &reads).await;
        change(&world, format!("drop policy opened on {table}")).await;
        if !found.is_empty() {
            campaign::Extent::of_this_run().tell(
                &format!("{table} opened"),
                found.into_iter().collect::<Vec<_>>().join(", "),
            );
            leaking.insert(table.as_str());
        }
    }
    assert_eq!(leaking, BTreeSet::new(), "only a policy keeps these apart");
    assert_eq!(
        leaks(&world, &owner, &reads).await,
        BTreeSet::new(),
        "with every policy in place again"
    );
    campaign::Extent::of_this_run().tell("policies opened", tables.len());
    world.platform.stop().await;
}

/// Every read with the widest page, and once more with B's id in each place of one.
async fn reads(world: &World) -> Vec<(Method, Value)> {
    let mut reads = Vec::new();
    for method in methods().into_iter().filter(|method| method.is_public()) {
        let is_read =
            method.policy.http[0].verb == "GET" || method.name() == "SearchService/Search";
        if !is_read || method.policy.access == proto::policy::Access::Platform {
            continue;
        }
        let mut message = world.fill(&method.fixture.request, &world.a).await;
        if message.get("limit").is_some() {
            message["limit"] = json!(100);
        }
        for (place, kind) in &method.fixture.ids {
            let mut foreign = message.clone();
            put(&mut foreign, place, &world.b.id_of(kind));
            reads.push((method.clone(), foreign));
        }
        reads.push((method, message));
    }
    reads
}

/// The methods whose answers have something of B.
async fn leaks(
    world: &World,
    owner: &Principal,
    reads: &[(Method, Value)],
) -> BTreeSet<&'static str> {
    let b = &world.b;
    let marks = [
        b.tenant_id.to_string(),
        b.owner.to_string(),
        b.record.clone(),
        b.import.clone(),
        "bruma".to_owned(),
    ];
    let mut found = BTreeSet::new();
    for (method, message) in reads {
        let answer = world.http(owner, HttpRequest::of(method, message)).await;
        if answer.status < 300 && marks.iter().any(|mark| answer.body.contains(mark)) {
            found.insert(method.name());
        }
    }
    found
}

async fn change(world: &World, statement: String) {
    let mut admin = world.admin().await;
    sqlx::query(AssertSqlSafe(statement))
        .execute(&mut *admin)
        .await
        .unwrap();
}
