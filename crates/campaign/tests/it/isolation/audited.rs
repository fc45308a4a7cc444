//! What a method leaves in the audit log.

use kernel::TenantId;
use serde_json::{Value, json};

use super::contract::{Method, methods};
use super::people::Principal;
use super::wire::HttpRequest;
use super::world::World;

/// Every method that says that it leaves an audit entry leaves exactly one in the right tenant, with the id of the request.
pub async fn every_audited_method_leaves_one_entry(world: &World) {
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
        change_something(&mut message, &method, world).await;
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
