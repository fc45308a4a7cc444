//! Who may call what.

use kernel::{ErrorCode, RequestContext};
use proto::policy::{ALL, Access};
use testkit::{ANN, BOB, Rpc, TENANT_A};
use tonic::{Code, Request};
use uuid::Uuid;

use crate::stub::{call, serve_hollow};

const PERMISSION: &str = "/tenant.v1.TenantService/GetTenant";
const SIGNED_IN: &str = "/tenant.v1.TenantService/CreateTenant";
const PLATFORM: &str = "/tenant.v1.TenantService/SuspendTenant";
const PUBLIC: &str = "/auth.v1.SessionService/Login";

async fn attempt(rpc: &Rpc, path: &str, ctx: &RequestContext) -> Result<(), ErrorCode> {
    let request = testkit::rpc::request("auth", ctx, &testkit::clock(), ());
    let outcome = call(rpc, path, request).await;
    outcome.map_err(|status| rpc::from_status(status).error_code())
}

#[tokio::test]
async fn a_permission_is_demanded_inside_a_tenant() {
    let rpc = serve_hollow(&testkit::clock()).await;
    let ann = || testkit::context().user(ANN);
    let with = ann().tenant(TENANT_A).permissions(["tenants.read"]).build();
    assert_eq!(attempt(&rpc, PERMISSION, &with).await, Ok(()));
    let account = testkit::context()
        .service(Uuid::from_u128(9))
        .tenant(TENANT_A)
        .permissions(["tenants.read"])
        .build();
    assert_eq!(attempt(&rpc, PERMISSION, &account).await, Ok(()));
    let other = ann()
        .tenant(TENANT_A)
        .permissions(["tenants.rea", "tenants.read.all"])
        .build();
    assert_eq!(
        attempt(&rpc, PERMISSION, &other).await,
        Err(ErrorCode::ForbiddenAction)
    );
    let nowhere = ann().permissions(["tenants.read"]).build();
    assert_eq!(
        attempt(&rpc, PERMISSION, &nowhere).await,
        Err(ErrorCode::TenantRequired)
    );
    rpc.stop().await;
}

#[tokio::test]
async fn a_refusal_names_the_action_or_asks_for_a_tenant() {
    let rpc = serve_hollow(&testkit::clock()).await;
    let refused = async |ctx: RequestContext| {
        let request = testkit::rpc::request("auth", &ctx, &testkit::clock(), ());
        rpc::from_status(call(&rpc, PERMISSION, request).await.unwrap_err())
    };
    let error = refused(testkit::context().user(ANN).tenant(TENANT_A).build()).await;
    assert_eq!(error.details()["toolAction"], "tenants.read");
    let error = refused(testkit::context().user(ANN).build()).await;
    assert_eq!(error.message(), "Tenant required");
    rpc.stop().await;
}

#[tokio::test]
async fn platform_methods_are_for_platform_staff_whatever_permissions_others_hold() {
    let rpc = serve_hollow(&testkit::clock()).await;
    let staff = testkit::context().platform(BOB).build();
    assert_eq!(attempt(&rpc, PLATFORM, &staff).await, Ok(()));
    let owner = testkit::context()
        .user(ANN)
        .tenant(TENANT_A)
        .permissions(["tenants.suspend"])
        .build();
    assert_eq!(
        attempt(&rpc, PLATFORM, &owner).await,
        Err(ErrorCode::ForbiddenAction)
    );
    rpc.stop().await;
}

#[tokio::test]
async fn platform_staff_enters_where_the_method_says_so() {
    let rpc = serve_hollow(&testkit::clock()).await;
    let staff = testkit::context().platform(BOB).build();
    assert_eq!(
        attempt(&rpc, PERMISSION, &staff).await,
        Ok(()),
        "platform_too"
    );
    assert_eq!(
        attempt(&rpc, "/search.v1.SearchService/Search", &staff).await,
        Err(ErrorCode::TenantRequired)
    );
    rpc.stop().await;
}

#[tokio::test]
async fn signing_in_is_enough_where_the_method_says_so_and_nothing_where_it_is_public() {
    let rpc = serve_hollow(&testkit::clock()).await;
    let ann = testkit::context().user(ANN).build();
    assert_eq!(attempt(&rpc, SIGNED_IN, &ann).await, Ok(()));
    let nobody = testkit::context().build();
    assert_eq!(
        attempt(&rpc, SIGNED_IN, &nobody).await,
        Err(ErrorCode::Unauthorized)
    );
    assert_eq!(attempt(&rpc, PUBLIC, &nobody).await, Ok(()));
    rpc.stop().await;
}

#[tokio::test]
async fn every_method_of_the_contract_refuses_a_caller_without_a_token_unless_it_is_public() {
    let rpc = serve_hollow(&testkit::clock()).await;
    for policy in ALL {
        let outcome = call(&rpc, policy.path, Request::new(())).await;
        let code = outcome.err().map(|status| status.code());
        if policy.access == Access::Public {
            assert_ne!(code, Some(Code::Unauthenticated), "{}", policy.path);
        } else {
            assert_eq!(code, Some(Code::Unauthenticated), "{}", policy.path);
        }
    }
    rpc.stop().await;
}

#[tokio::test]
async fn a_method_that_the_contract_does_not_know_is_refused_even_when_it_is_served() {
    let rpc = serve_hollow(&testkit::clock()).await;
    let staff = testkit::context().platform(BOB).build();
    for path in [
        "/auth.v1.SessionService/Backdoor",
        "/auth.v1.SessionService/login",
        "/debug.v1.Debug/Dump",
    ] {
        let request = testkit::rpc::request("auth", &staff, &testkit::clock(), ());
        assert_eq!(
            call(&rpc, path, request).await.unwrap_err().code(),
            Code::Unimplemented,
            "{path}"
        );
    }
    call(&rpc, "/grpc.health.v1.Health/Check", Request::new(()))
        .await
        .unwrap();
    rpc.stop().await;
}

#[tokio::test]
async fn reflection_is_off_unless_it_is_switched_on() {
    let clock = testkit::clock();
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let server = || rpc::Server::new("auth", testkit::keyring("auth"), clock.clone());
    let off = Rpc::start(server()).await;
    assert_eq!(
        call(&off, path, Request::new(())).await.unwrap_err().code(),
        Code::Unimplemented
    );
    off.stop().await;
    let on = Rpc::start(server().reflection(true)).await;
    let code = call(&on, path, Request::new(()))
        .await
        .err()
        .map(|status| status.code());
    assert_ne!(code, Some(Code::Unimplemented));
    on.stop().await;
}
