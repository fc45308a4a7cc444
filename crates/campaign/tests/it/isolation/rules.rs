//! The rules of access as a customer would check them: suspension, revocation, roles, two memberships.

use serde_json::json;

use super::contract::{method, methods};
use super::objects::missing;
use super::people::Principal;
use super::wire::HttpRequest;
use super::world::{World, patiently};

const RECORDS: &str = "/v1/niches/software-catalog/packages/records";

pub async fn what_is_taken_away_is_gone_at_once(world: &World) {
    let staff = world.principal("staff", world.staff, None).await;
    let a = Some(world.a.tenant_id);

    // A tenant: everything that needs the tenant is refused, for every member, and nothing is lost by it.
    let owner = world.principal("owner", world.a.owner, a).await;
    let viewer = world.member_of(world.a.tenant_id, &["viewer"]).await;
    let viewer = world.principal("viewer", viewer, a).await;
    let record = world
        .get(&owner, &format!("{RECORDS}/{}", world.a.record))
        .await;
    world
        .post(
            &staff,
            &format!("/v1/tenants/{}/suspend", world.a.tenant_id),
            json!({"reason": "a proof"}),
        )
        .await;
    for member in [&owner, &viewer] {
        becomes(world, member, 403, "TENANT_SUSPENDED").await;
        for method in methods()
            .into_iter()
            .filter(|method| method.policy.access == proto::policy::Access::Permission)
        {
            let message = world.fill(&method.fixture.request, &world.a).await;
            let answer = world.http(member, HttpRequest::of(&method, &message)).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (403, "TENANT_SUSPENDED"),
                "{}",
                method.name()
            );
        }
    }
    world
        .post(
            &staff,
            &format!("/v1/tenants/{}/reactivate", world.a.tenant_id),
            json!({}),
        )
        .await;
    becomes(world, &owner, 200, "").await;
    let own = format!("{RECORDS}/{}", world.a.record);
    assert_eq!(world.get(&owner, &own).await, record);

    // A session: this one ends, another one of the same person goes on; `everywhere` ends that too.
    let other = world.principal("owner", world.a.owner, a).await;
    world.post(&owner, "/v1/auth/logout", json!({})).await;
    becomes(world, &owner, 401, "INVALID_TOKEN").await;
    becomes(world, &other, 200, "").await;
    let third = world.principal("owner", world.a.owner, a).await;
    world
        .post(&other, "/v1/auth/logout", json!({"everywhere": true}))
        .await;
    becomes(world, &third, 401, "INVALID_TOKEN").await;
}

async fn becomes(world: &World, who: &Principal, status: u16, code: &str) {
    patiently(&format!("{} gets {status} {code}", who.name), async || {
        let answer = world.http(who, HttpRequest::get(RECORDS)).await;
        (answer.status == status && answer.code() == code).then_some(())
    })
    .await;
}

pub async fn who_belongs_to_two_tenants_is_in_one_of_them_at_a_time(world: &World) {
    let both = world.member_of(world.a.tenant_id, &["viewer"]).await;
    world.join(both, world.b.tenant_id, &["owner"]).await;
    let in_a = world.principal("in A", both, Some(world.a.tenant_id)).await;
    let to_b = json!({"tenantId": world.b.tenant_id.to_string()});
    let switched = world
        .post(&in_a, "/v1/auth/switch-tenant", to_b.clone())
        .await;
    let in_b = with_token(switched["data"]["accessToken"].as_str().unwrap());
    for (who, own, other) in [(&in_a, &world.a, &world.b), (&in_b, &world.b, &world.a)] {
        let me = world.get(who, "/v1/me").await;
        assert_eq!(me["data"]["tenantId"], json!(own.tenant_id.to_string()));
        let record = |id: &str| HttpRequest::get(&format!("{RECORDS}/{id}"));
        let own_record = world.http(who, record(&own.record)).await;
        let other_record = world.http(who, record(&other.record)).await;
        assert_eq!(
            (own_record.status, other_record.status),
            (200, 404),
            "{}",
            who.name
        );
    }
    // The role is that of the tenant at hand: a viewer in A, however mighty in B.
    let create = |name: &str| HttpRequest::post(RECORDS, &json!({"data": {"name": name}}));
    let refused = world.http(&in_a, create("by-a-viewer")).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (403, "FORBIDDEN_ACTION")
    );
    assert_eq!(world.http(&in_b, create("by-an-owner")).await.status, 201);

    // Whoever leaves B keeps A.
    let left = [both, world.b.tenant_id];
    world
        .sql(
            "delete from auth.group_members where user_id = $1 and tenant_id = $2",
            &left,
        )
        .await;
    world
        .sql(
            "delete from auth.memberships where user_id = $1 and tenant_id = $2",
            &left,
        )
        .await;
    world
        .sql(
            "select auth.record_access_change($2, $1, null, now())",
            &left,
        )
        .await;
    becomes(world, &in_b, 401, "TENANT_NOT_FOUND").await;
    becomes(world, &in_a, 200, "").await;
    let nowhere = json!({"tenantId": missing("tenant", "")});
    let back = world
        .http(&in_a, HttpRequest::post("/v1/auth/switch-tenant", &to_b))
        .await;
    let nowhere = world
        .http(&in_a, HttpRequest::post("/v1/auth/switch-tenant", &nowhere))
        .await;
    assert_eq!(back.fingerprint(), nowhere.fingerprint());
    assert_eq!(back.status, 404, "{}", back.body);
}

/// A list shows no more than the method that reads one: these may not read the tenant.
pub async fn a_list_is_no_way_around_the_permission_to_read_one(world: &World) {
    for roles in [&["attendant"][..], &[]] {
        let person = world.member_of(world.a.tenant_id, roles).await;
        let who = world
            .principal("no reader", person, Some(world.a.tenant_id))
            .await;
        assert_eq!(
            world.get(&who, "/v1/tenants").await["data"],
            json!([]),
            "{roles:?}"
        );
    }
}

/// Granted by a group of the tenant's own: that action and no other; with limits that nobody can enforce yet, nothing.
pub async fn a_group_grants_its_actions_and_no_other(world: &World) {
    let a = world.a.tenant_id;
    let person = world.member_of(a, &["viewer"]).await;
    for (group, action, constraints) in [
        ("Writers", "records.create", None),
        ("Limited", "records.delete", Some("{\"own\": true}")),
    ] {
        world
            .sql_text(
                "with g as (insert into auth.groups (tenant_id, id, name, created_at, updated_at) values ($1::uuid, gen_random_uuid(), $2, now(), now()) returning id),
                      p as (insert into auth.group_permissions (tenant_id, group_id, action, constraints, created_at)
                            select $1::uuid, id, $3, nullif($4, '')::jsonb, now() from g)
                 insert into auth.group_members (tenant_id, group_id, user_id, created_at) select $1::uuid, id, $5::uuid, now() from g",
                &[&a.to_string(), group, action, constraints.unwrap_or_default(), &person.to_string()],
            )
            .await;
    }
    let who = world
        .principal("viewer with a group", person, Some(a))
        .await;
    // The union: what the role gives and what the group gives.
    becomes(world, &who, 200, "").await;
    let created = world
        .http(
            &who,
            HttpRequest::post(RECORDS, &json!({"data": {"name": "by-a-group"}})),
        )
        .await;
    assert_eq!(created.status, 201, "{}", created.body);
    for name in [
        "DeleteRecord",
        "UpdateRecord",
        "CreateImport",
        "ListAuditLogs",
    ] {
        let method = method(name);
        let message = world.fill(&method.fixture.request, &world.a).await;
        let answer = world.http(&who, HttpRequest::of(&method, &message)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "FORBIDDEN_ACTION"),
            "{name}"
        );
    }
}

fn with_token(token: &str) -> Principal {
    let credential = super::people::Credential::Bearer {
        token: token.to_owned(),
        tenant: None,
        subject: None,
    };
    Principal {
        name: "in B".to_owned(),
        credential,
    }
}
