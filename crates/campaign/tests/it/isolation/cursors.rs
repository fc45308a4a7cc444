//! A cursor is good for the list, the filters and the tenant that gave it, unaltered; anything else is refused and shows nothing.

use std::collections::BTreeMap;

use campaign::Extent;
use db::cursor::{Scope, Sealer};
use kernel::{Clock, Principal as Who, RequestContext, TenantId};
use serde_json::Value;

use super::contract::{Method, methods};
use super::people::Principal;
use super::wire::HttpRequest;
use super::world::{House, World, new_id};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub async fn altered_and_foreign_ones_are_refused(world: &World) {
    let owner = world
        .principal("owner", world.a.owner, Some(world.a.tenant_id))
        .await;
    let stranger = world
        .principal("stranger", world.b.owner, Some(world.b.tenant_id))
        .await;
    let staff = world.principal("staff", world.staff, None).await;
    let lists: Vec<Method> = methods().into_iter().filter(Method::is_list).collect();
    let mut cursors = BTreeMap::new();
    for list in &lists {
        let caller = if list.name() == "TenantService/ListTenants" {
            &staff
        } else {
            &owner
        };
        let message = world.fill(&list.fixture.request, &world.a).await;
        cursors.insert(
            list.name(),
            (
                caller,
                message.clone(),
                first_cursor(world, list, caller, &message).await,
            ),
        );
    }
    let mut tried = 0;
    for list in &lists {
        let (caller, message, cursor) = &cursors[list.name()];
        let page = world
            .http(caller, HttpRequest::of(list, &with_cursor(message, cursor)))
            .await;
        assert_eq!(
            page.status,
            200,
            "{}: its own cursor: {}",
            list.name(),
            page.body
        );
        for altered in alterations(cursor) {
            refuse(world, list, caller, &with_cursor(message, &altered)).await;
            tried += 1;
        }
        for (_, (.., foreign)) in cursors.iter().filter(|(other, _)| **other != list.name()) {
            refuse(world, list, caller, &with_cursor(message, foreign)).await;
            tried += 1;
        }
        if let Some(difference) = &list.fixture.other {
            let mut narrowed = message.clone();
            for (name, value) in world.fill(difference, &world.a).await.as_object().unwrap() {
                narrowed[name.as_str()] = value.clone();
            }
            refuse(world, list, caller, &with_cursor(&narrowed, cursor)).await;
            tried += 1;
        }
        if caller.name == "owner" {
            let theirs = foreign_cursor(world, list, &stranger, &world.b).await;
            refuse(world, list, caller, &with_cursor(message, &theirs)).await;
            tried += 1;
        }
    }
    an_old_cursor_is_refused(world, &owner).await;
    Extent::of_this_run().tell("cursors refused", tried);
}

async fn first_cursor(world: &World, list: &Method, caller: &Principal, message: &Value) -> String {
    let answer = world.http(caller, HttpRequest::of(list, message)).await;
    let cursor = answer.json()["meta"]["nextCursor"]
        .as_str()
        .map(str::to_owned);
    cursor.unwrap_or_else(|| {
        panic!(
            "{} has a second page in this world: {}",
            list.name(),
            answer.body
        )
    })
}

async fn foreign_cursor(
    world: &World,
    list: &Method,
    stranger: &Principal,
    house: &House,
) -> String {
    let message = world.fill(&list.fixture.request, house).await;
    first_cursor(world, list, stranger, &message).await
}

fn with_cursor(message: &Value, cursor: &str) -> Value {
    let mut message = message.clone();
    message["cursor"] = cursor.into();
    message
}

async fn refuse(world: &World, list: &Method, caller: &Principal, message: &Value) {
    let answer = world.http(caller, HttpRequest::of(list, message)).await;
    let fields = answer.json()["error"]["details"]["fields"].clone();
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "VALIDATION_ERROR"),
        "{} with {message}: {}",
        list.name(),
        answer.body
    );
    assert_eq!(
        fields[0]["field"],
        "cursor",
        "{}: {}",
        list.name(),
        answer.body
    );
}

/// Every character changed in turn, the ends cut and extended, and texts that were never a cursor.
fn alterations(cursor: &str) -> Vec<String> {
    let bytes = cursor.as_bytes();
    let step = Extent::of_this_run().pick(3, 1);
    let others = Extent::of_this_run().pick(1, 8);
    let mut altered = Vec::new();
    for at in (0..bytes.len()).step_by(step) {
        let present = ALPHABET
            .iter()
            .position(|letter| *letter == bytes[at])
            .unwrap();
        for other in 1..=others {
            let mut copy = bytes.to_vec();
            copy[at] = ALPHABET[(present + other) % ALPHABET.len()];
            altered.push(String::from_utf8(copy).unwrap());
        }
    }
    altered.push(cursor[1..].to_owned());
    altered.push(cursor[..cursor.len() - 1].to_owned());
    altered.push(cursor[..20].to_owned());
    altered.push(format!("{cursor}A"));
    altered.push(format!("{cursor}{cursor}"));
    altered.push(cursor.to_lowercase());
    altered.extend(
        [
            "1",
            "AAAA",
            "../../etc/passwd",
            "{\"id\":1}",
            "' or 1=1 --",
            "0x41414141",
        ]
        .map(str::to_owned),
    );
    altered.push("A".repeat(1024));
    altered
}

/// Sealed with the platform's own key, so that only its age is wrong.
#[expect(
    clippy::disallowed_methods,
    reason = "what is measured or forged here is real time"
)]
async fn an_old_cursor_is_refused(world: &World, owner: &Principal) {
    let list = super::contract::method("ListImports");
    let message = world.fill(&list.fixture.request, &world.a).await;
    let key = world
        .platform
        .settings
        .reader()
        .secret("CURSOR_KEY", "the key of cursors");
    let ctx = RequestContext::builder(Who::Anonymous)
        .tenant(TenantId(world.a.tenant_id))
        .build();
    for (age, is_good) in [
        (chrono::TimeDelta::hours(23), true),
        (chrono::TimeDelta::hours(25), false),
    ] {
        let then = (chrono::Utc::now() - age).to_rfc3339();
        let sealer = Sealer::new(&key, Clock::manual(&then));
        let scope = Scope::new(list.policy.path, &"");
        let cursor = sealer
            .seal(&ctx, &scope, &(chrono::Utc::now(), new_id()))
            .unwrap();
        let message = with_cursor(&message, &cursor);
        if is_good {
            let answer = world.http(owner, HttpRequest::of(&list, &message)).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
        } else {
            refuse(world, &list, owner, &message).await;
        }
    }
}
