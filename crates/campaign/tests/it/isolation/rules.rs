//! The rules of access as a customer would check them: suspension, revocation, roles, two memberships, filters, the audit log.

use kernel::TenantId;
use serde_json::{Value, json};

use super::contract::{Method, method, methods};
use super::objects::missing;
use super::people::Principal;
use super::wire::HttpRequest;
use super::world::{World, patiently};

const RECORDS: &str = "/v1/niches/software-catalog/packages/records";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_is_gone_at_once_and_what_is_given_is_there() {
    let world = World::start().await;
    let staff = world.principal("staff", world.staff, None).await;
    let a = Some(world.a.tenant_id);

    // A tenant: everything that needs the tenant is refused, for every member, and nothing is lost by it.
    let owner = world.principal("owner", world.a.owner, a).await;
    let viewer = world.member_of(world.a.tenant_id, &["viewer"]).await;
    let viewer = world.principal("viewer", viewer, a).await;
    let records = world.get(&owner, RECORDS).await;
    world
        .post(
            &staff,
            &format!("/v1/tenants/{}/suspend", world.a.tenant_id),
            json!({"reason": "a proof"}),
        )
        .await;
    for member in [&owner, &viewer] {
        becomes(&world, member, 403, "TENANT_SUSPENDED").await;
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
    becomes(&world, &owner, 200, "").await;
    assert_eq!(world.get(&owner, RECORDS).await["data"], records["data"]);

    // A session: this one ends, another one of the same person goes on; `everywhere` ends that too.
    let other = world.principal("owner", world.a.owner, a).await;
    world.post(&owner, "/v1/auth/logout", json!({})).await;
    becomes(&world, &owner, 401, "INVALID_TOKEN").await;
    becomes(&world, &other, 200, "").await;
    let third = world.principal("owner", world.a.owner, a).await;
    world
        .post(&other, "/v1/auth/logout", json!({"everywhere": true}))
        .await;
    becomes(&world, &third, 401, "INVALID_TOKEN").await;
    world.platform.stop().await;
}

async fn becomes(world: &World, who: &Principal, status: u16, code: &str) {
    patiently(&format!("{} gets {status} {code}", who.name), async || {
        let answer = world.http(who, HttpRequest::get(RECORDS)).await;
        (answer.status == status && answer.code() == code).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_belongs_to_two_tenants_is_in_one_of_them_at_a_time() {
    let world = World::start().await;
    let both = world.member_of(world.a.tenant_id, &["viewer"]).await;
    world.join(both, world.b.tenant_id, &["owner"]).await;
    let in_a = world.principal("in A", both, Some(world.a.tenant_id)).await;
    let switched = world
        .post(
            &in_a,
            "/v1/auth/switch-tenant",
            json!({"tenantId": world.b.tenant_id.to_string()}),
        )
        .await;
    let in_b = with_token(&in_a, switched["data"]["accessToken"].as_str().unwrap());
    for (who, own, other) in [(&in_a, &world.a, &world.b), (&in_b, &world.b, &world.a)] {
        assert_eq!(
            world.get(who, "/v1/me").await["data"]["tenantId"],
            json!(own.tenant_id.to_string())
        );
        let own_record = world
            .http(who, HttpRequest::get(&format!("{RECORDS}/{}", own.record)))
            .await;
        let other_record = world
            .http(
                who,
                HttpRequest::get(&format!("{RECORDS}/{}", other.record)),
            )
            .await;
        assert_eq!(
            (own_record.status, other_record.status),
            (200, 404),
            "{}",
            who.name
        );
    }
    // The role is that of the tenant at hand: a viewer in A, however mighty in B.
    let refused = world
        .http(
            &in_a,
            HttpRequest::post(RECORDS, &json!({"data": {"name": "by-a-viewer"}})),
        )
        .await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (403, "FORBIDDEN_ACTION")
    );
    world
        .post(&in_b, RECORDS, json!({"data": {"name": "by-an-owner"}}))
        .await;

    // Whoever leaves B keeps A.
    world
        .sql(
            "delete from auth.group_members where user_id = $1 and tenant_id = $2",
            &[both, world.b.tenant_id],
        )
        .await;
    world
        .sql(
            "delete from auth.memberships where user_id = $1 and tenant_id = $2",
            &[both, world.b.tenant_id],
        )
        .await;
    world
        .sql(
            "select auth.record_access_change($2, $1, null, now())",
            &[both, world.b.tenant_id],
        )
        .await;
    becomes(&world, &in_b, 401, "TENANT_NOT_FOUND").await;
    becomes(&world, &in_a, 200, "").await;
    let back = world
        .http(
            &in_a,
            HttpRequest::post(
                "/v1/auth/switch-tenant",
                &json!({"tenantId": world.b.tenant_id.to_string()}),
            ),
        )
        .await;
    let nowhere = world
        .http(
            &in_a,
            HttpRequest::post(
                "/v1/auth/switch-tenant",
                &json!({"tenantId": missing("tenant", "")}),
            ),
        )
        .await;
    assert_eq!(back.fingerprint(), nowhere.fingerprint());
    assert_eq!(back.status, 404, "{}", back.body);

    // A list shows no more than the method that reads one: these may not read the tenant.
    for roles in [&["attendant"][..], &[]] {
        let person = world.member_of(world.a.tenant_id, roles).await;
        let who = world.principal("no reader", person, Some(world.a.tenant_id)).await;
        assert_eq!(world.get(&who, "/v1/tenants").await["data"], json!([]), "{roles:?}");
    }

    // Granted by a group of the tenant's own: that action and no other; with limits nobody can enforce yet, nothing.
    granted_by_a_group(&world).await;
    world.platform.stop().await;
}

async fn granted_by_a_group(world: &World) {
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

fn with_token(who: &Principal, token: &str) -> Principal {
    let credential = super::people::Credential::Bearer {
        token: token.to_owned(),
        tenant: None,
        subject: None,
    };
    Principal {
        name: "in B".to_owned(),
        credential,
        ..who.clone()
    }
}

/// No parameter of a list reaches beyond the tenant: unknown ones are refused, known ones only narrow.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_narrows_and_never_widens() {
    let world = World::start().await;
    let owner = world
        .principal("owner", world.a.owner, Some(world.a.tenant_id))
        .await;
    let b = world.b.tenant_id.to_string();
    let mut asked = 0;
    for list in methods()
        .into_iter()
        .filter(|list| list.is_list() && list.policy.access != proto::policy::Access::Platform)
    {
        let mut message = world.fill(&list.fixture.request, &world.a).await;
        message["limit"] = json!(100);
        let all = ids_of(&world, &list, &owner, &message).await;
        assert!(!all.is_empty(), "{}", list.name());
        let plain = HttpRequest::of(&list, &message);
        for parameter in [
            "tenantId",
            "tenant_id",
            "tenant",
            "tenantIds",
            "filter[tenantId]",
            "where",
            "$filter",
            "allTenants",
            "scope",
            "facet[]",
        ] {
            let target = format!("{}&{}={b}", plain.target, super::wire::escaped(parameter));
            let answer = world
                .http(
                    &owner,
                    HttpRequest {
                        target,
                        ..plain.clone()
                    },
                )
                .await;
            assert_eq!(
                answer.status,
                400,
                "{} with {parameter}: {}",
                list.name(),
                answer.body
            );
            asked += 1;
        }
        for (parameter, value) in narrowings(&b) {
            if list
                .descriptor
                .input()
                .get_field_by_json_name(parameter)
                .is_none()
            {
                continue;
            }
            let target = format!(
                "{}&{parameter}={}",
                plain.target,
                super::wire::escaped(&value)
            );
            let answer = world
                .http(
                    &owner,
                    HttpRequest {
                        target,
                        ..plain.clone()
                    },
                )
                .await;
            asked += 1;
            match answer.status {
                200 => {
                    let some = answer.json()["data"].clone();
                    let some: Vec<String> = some.as_array().unwrap().iter().map(identity).collect();
                    assert!(
                        some.iter().all(|id| all.contains(id)),
                        "{} with {parameter}={value} shows more: {}",
                        list.name(),
                        answer.body
                    );
                }
                400 => {}
                _ => panic!("{} with {parameter}={value}: {}", list.name(), answer.body),
            }
        }
    }
    campaign::Extent::of_this_run().tell("parameters tried on lists", asked);
    world.platform.stop().await;
}

/// Values that a careless query would take as more than a value.
fn narrowings(b: &str) -> Vec<(&'static str, String)> {
    let mut tried = Vec::new();
    for parameter in [
        "q",
        "sort",
        "status",
        "facet",
        "actor",
        "action",
        "entityType",
        "createdAtFrom",
        "createdAtTo",
        "cursor",
    ] {
        for value in [
            b.to_owned(),
            format!("' or tenant_id = '{b}"),
            format!("tenant_id:{b}"),
            format!("tenantId:{b}"),
            "%".to_owned(),
            "*".to_owned(),
            "section:video' or '1'='1".to_owned(),
            "created_at:desc, (select 1)".to_owned(),
            "1970-01-01T00:00:00Z".to_owned(),
            "2999-12-31T23:59:59Z".to_owned(),
        ] {
            tried.push((parameter, value));
        }
    }
    tried
}

async fn ids_of(world: &World, list: &Method, who: &Principal, message: &Value) -> Vec<String> {
    let answer = world.http(who, HttpRequest::of(list, message)).await;
    assert_eq!(answer.status, 200, "{}: {}", list.name(), answer.body);
    answer.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(identity)
        .collect()
}

/// What makes a row of a list that row: its id or key, or all of it.
fn identity(row: &Value) -> String {
    let id = row.get("id").or_else(|| row.get("key"));
    id.map_or_else(|| row.to_string(), Value::to_string)
}

/// Every method that says that it leaves an audit entry leaves exactly one in the right tenant, with the id of the request.
#[tokio::test(flavor = "multi_thread")]
async fn every_audited_method_leaves_one_entry_with_the_id_of_its_request() {
    let world = World::start().await;
    let owner = world
        .principal("owner", world.a.owner, Some(world.a.tenant_id))
        .await;
    let staff = world.principal("staff", world.staff, None).await;
    let mut expected = Vec::new();
    for method in methods()
        .into_iter()
        .filter(|method| method.is_public() && method.policy.audited)
    {
        let caller = match method.policy.access {
            proto::policy::Access::Public => Principal::nobody(),
            proto::policy::Access::Platform => staff.clone(),
            _ if method.fixture.ends_session => world.in_a_session_of_its_own(&owner).await,
            _ => owner.clone(),
        };
        let mut message = world.fill(&method.fixture.request, &world.a).await;
        change_something(&mut message, &method, &world).await;
        let id = world.fresh("audited");
        let answer = world
            .http(
                &caller,
                HttpRequest::of(&method, &message).with("x-request-id", &id),
            )
            .await;
        assert!(answer.status < 300, "{}: {}", method.name(), answer.body);
        expected.push((id, method));
    }
    world.rest().await;
    for (id, method) in &expected {
        let mut admin = world.admin().await;
        let found: Vec<(uuid::Uuid, String)> =
            sqlx::query_as("select tenant_id, action from tenant.audit_logs where request_id = $1")
                .bind(id)
                .fetch_all(&mut *admin)
                .await
                .unwrap();
        let own: Vec<_> = found
            .iter()
            .filter(|(_, action)| action == method.policy.action)
            .collect();
        assert_eq!(
            own.len(),
            1,
            "{} left {found:?}; it declares {}",
            method.name(),
            method.policy.action
        );
        assert!(
            own[0].0 != world.b.tenant_id,
            "{} left an entry in B",
            method.name()
        );
        if method.policy.access == proto::policy::Access::Permission {
            assert_eq!(own[0].0, world.a.tenant_id, "{}", method.name());
        }
    }
    campaign::Extent::of_this_run().tell("audited methods", expected.len());
    world.platform.stop().await;
}

/// What is as it should be already changes nothing and is not audited, so these begin from something else.
async fn change_something(message: &mut Value, method: &Method, world: &World) {
    match method.name() {
        "NicheService/ActivateNiche" => message["kit"] = json!("people"),
        "TenantService/ReactivateTenant" => {
            let tenant_id: TenantId = message["tenantId"].as_str().unwrap().parse().unwrap();
            world.sql("update tenant.tenants set status = 'suspended', suspended_reason = 'a proof' where tenant_id = $1", &[tenant_id.0]).await;
        }
        _ => {}
    }
}
