//! Calls straight to the port of a service: past the gateway, as somebody inside the network would make them.

use std::collections::BTreeSet;

use proto::policy::{Access, MethodPolicy};
use rpc::Channel;
use serde_json::json;
use tonic::codegen::{Service as _, http};
use uuid::Uuid;

use super::context_forgeries::{CONTEXT, Model, SERVICE};
use super::scene::{Scene, guarded};
use super::workshop::{CurveKey, RsaKey};

/// The metadata that both kinds of token travel in.
pub const TOKEN: &str = "tenantry-context";
/// Every service that has a key.
pub const SERVICES: [&str; 5] = ["auth", "gateway", "niche", "search", "tenant"];

pub type Lines = Vec<(&'static str, String)>;

/// What a call came to: `None` when it got past the guard, whatever the handler said to an empty message.
pub type Refusal = Option<(tonic::Code, String)>;

pub struct Inside<'s> {
    pub scene: &'s Scene,
    keys: Vec<(&'static str, CurveKey)>,
    rsa: RsaKey,
    channels: Vec<(&'static str, Channel)>,
}

impl<'s> Inside<'s> {
    pub fn of(scene: &'s Scene) -> Self {
        let key = |name: &str| {
            CurveKey::of_seed(&scene.setting(&format!("{}_IDENTITY_KEY", name.to_uppercase())))
        };
        let owners: BTreeSet<&str> = guarded().iter().map(|policy| policy.owner).collect();
        Self {
            keys: SERVICES.map(|name| (name, key(name))).into(),
            rsa: RsaKey::read(std::path::Path::new(
                &scene.setting("AUTH_SIGNING_KEY_FILE"),
            )),
            channels: owners
                .into_iter()
                .map(|owner| (owner, scene.channel(owner)))
                .collect(),
            scene,
        }
    }

    fn key(&self, name: &str) -> &CurveKey {
        &self
            .keys
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap()
            .1
    }

    /// A token that opens `policy`: of a person with every permission, of staff, or of the first service that may call.
    pub fn model(&self, policy: &MethodPolicy) -> Model<'_> {
        let now = self.scene.clock.now().timestamp();
        let signer = if policy.access == Access::Internal {
            policy.callers[0]
        } else {
            "auth"
        };
        let (header, claims) = if policy.access == Access::Internal {
            let claims = json!({
                "iss": signer, "aud": policy.owner, "tid": self.scene.tenant_id.0, "obo": Scene::nobody().0,
                "req": "r-1", "iat": now, "exp": now + 55, "jti": Uuid::from_u128(11),
            });
            (SERVICE, claims)
        } else {
            let is_staff = policy.access == Access::Platform;
            let permissions: Vec<&str> = guarded()
                .iter()
                .filter_map(|policy| policy.permission)
                .collect();
            let claims = json!({
                "iss": "auth", "aud": "tenantry", "tid": self.scene.tenant_id.0, "act": if is_staff { "platform" } else { "user" },
                "sub": Scene::nobody().0, "sid": Uuid::from_u128(12), "perms": permissions,
                "iat": now, "exp": now + 55, "jti": Uuid::from_u128(13),
            });
            (CONTEXT, claims)
        };
        let others = self
            .keys
            .iter()
            .filter(|(name, _)| *name != signer)
            .map(|(name, key)| (*name, key))
            .collect();
        Model {
            header,
            claims,
            key: self.key(signer),
            others,
            rsa: &self.rsa,
            now,
        }
    }

    /// Calls with an empty message.
    pub async fn call(&self, policy: &MethodPolicy, lines: &[(&'static str, String)]) -> Refusal {
        let mut request = http::Request::builder()
            .method("POST")
            .uri(format!("http://service{}", policy.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in lines {
            request = request.header(*name, value);
        }
        let message = tonic::body::Body::new("\0\0\0\0\0".to_owned());
        let mut channel = self
            .channels
            .iter()
            .find(|(owner, _)| *owner == policy.owner)
            .unwrap()
            .1
            .clone();
        let answer = channel.call(request.body(message).unwrap()).await.unwrap();
        let status = tonic::Status::from_header_map(answer.headers())?;
        let code = status.code();
        let told = rpc::from_status(status).error_code().as_str().to_owned();
        matches!(
            code,
            tonic::Code::Unauthenticated | tonic::Code::PermissionDenied
        )
        .then_some((code, told))
    }

    pub async fn refused(&self, policy: &MethodPolicy, what: &str, lines: &Lines, code: &str) {
        let expected = (tonic::Code::Unauthenticated, code.to_owned());
        assert_eq!(
            self.call(policy, lines).await,
            Some(expected),
            "{}: {what}",
            policy.path
        );
    }

    pub async fn forbidden(&self, policy: &MethodPolicy, what: &str, lines: &Lines) {
        let expected = (tonic::Code::PermissionDenied, "FORBIDDEN_ACTION".to_owned());
        assert_eq!(
            self.call(policy, lines).await,
            Some(expected),
            "{}: {what}",
            policy.path
        );
    }
}

pub fn line(token: impl Into<String>) -> Lines {
    vec![(TOKEN, token.into())]
}
