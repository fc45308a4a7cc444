//! What each method declares about itself with the `(tenantry.api.v1.policy)` option.

use crate::generated::policy_table::METHODS;

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anybody, without a credential.
    Public,
    /// Any signed-in person or service account; a tenant is not needed.
    SignedIn,
    /// A caller inside a tenant whose effective permissions contain [`MethodPolicy::permission`].
    Permission,
    /// Platform staff only.
    Platform,
    /// Only the services in [`MethodPolicy::callers`]; never reachable over HTTP.
    Internal,
}

/// The rate-limit class; the gateway holds the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rate {
    /// Ordinary work, counted per user.
    Default,
    /// Guessable credentials, counted per address.
    Login,
    /// Media reads, counted per address.
    Media,
    /// Machine traffic, counted per tenant.
    Automation,
    /// Webhooks from outside, counted per address.
    Inbound,
    /// Work that is costly to start, counted per user.
    Expensive,
    /// Unauthenticated writes, counted per address.
    Signup,
    /// Not limited by class. Internal methods are always this.
    Unlimited,
}

/// Whether a method takes an `Idempotency-Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Idempotency {
    /// The header is ignored.
    None,
    /// The header is honoured when it is there.
    Accepted,
    /// A call without the header is refused.
    Required,
}

/// One HTTP mapping of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub verb: &'static str,
    /// The template, with variables in the names of the contract: `/v1/tenants/{tenant_id}`.
    pub path: &'static str,
    /// `*` for the whole request, the name of a field, or empty for no body.
    pub body: &'static str,
}

/// Everything that a method declares. The tables are generated; an absent number of the option holds its default here.
#[derive(Debug, PartialEq, Eq)]
pub struct MethodPolicy {
    /// The gRPC path, for example `/auth.v1.SessionService/Login`.
    pub path: &'static str,
    /// The service that serves it, for example `auth`: also the audience of internal tokens.
    pub owner: &'static str,
    /// The full name of the gRPC service, for example `auth.v1.SessionService`.
    pub service: &'static str,
    /// The name of the method, for example `Login`.
    pub method: &'static str,
    /// Who may call.
    pub access: Access,
    /// The tool-action key that the caller needs; present exactly for `Permission` and `Platform`.
    pub permission: Option<&'static str>,
    /// The name that the audit log gives to a call: the permission, else derived, for example `sessions.login`.
    pub action: &'static str,
    /// The rate-limit class.
    pub rate: Rate,
    /// Whether an `Idempotency-Key` is taken.
    pub idempotency: Idempotency,
    /// The usage meter that one success charges.
    pub meter: Option<&'static str>,
    /// Whether a success must leave an audit entry.
    pub audited: bool,
    /// The services that may call; empty unless `Internal`.
    pub callers: &'static [&'static str],
    /// The HTTP status of a success.
    pub success_status: u16,
    /// For `Permission`: platform staff may call this too.
    pub platform_too: bool,
    /// The largest HTTP request body in bytes.
    pub body_bytes_max: u64,
    /// The full name of the request message.
    pub request: &'static str,
    /// The full name of the response message.
    pub response: &'static str,
    /// Whether the caller sends a stream.
    pub client_streaming: bool,
    /// Whether the service answers with a stream.
    pub server_streaming: bool,
    /// The HTTP mappings, the main one first; empty exactly for `Internal`.
    pub http: &'static [Http],
}

/// Every method of the contract, sorted by path.
pub static ALL: &[MethodPolicy] = METHODS;

/// The policy of a method by its gRPC path, for example `/auth.v1.SessionService/Login`.
///
/// `None` means that the contract does not know the method: refuse the call.
pub fn of(path: &str) -> Option<&'static MethodPolicy> {
    ALL.binary_search_by(|method| method.path.cmp(path))
        .ok()
        .map(|found| &ALL[found])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_path() {
        assert!(
            ALL.is_sorted_by(|a, b| a.path < b.path),
            "binary search needs strictly growing paths"
        );
        for method in ALL {
            assert_eq!(of(method.path), Some(method));
        }
    }

    #[test]
    fn every_method_of_the_descriptors_has_a_policy() {
        let own = |name: &str| !name.starts_with("google.") && !name.starts_with("grpc.");
        for service in crate::pool()
            .services()
            .filter(|service| own(service.full_name()))
        {
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                assert!(of(&path).is_some(), "{path} has no policy");
            }
        }
    }

    #[test]
    fn a_policy_holds_what_the_option_says() {
        let login = of("/auth.v1.SessionService/Login").unwrap();
        assert_eq!(
            (login.access, login.rate, login.audited),
            (Access::Public, Rate::Login, true)
        );
        assert_eq!(
            (login.owner, login.action, login.success_status),
            ("auth", "sessions.login", 200)
        );
        assert_eq!(
            login.http,
            [Http {
                verb: "POST",
                path: "/v1/auth/login",
                body: "*"
            }]
        );

        let resolve = of("/auth.v1.AccessService/ResolveContext").unwrap();
        assert_eq!(
            (resolve.access, resolve.callers, resolve.rate),
            (Access::Internal, &["gateway"][..], Rate::Unlimited)
        );
        assert!(resolve.http.is_empty());

        let import = of("/niche.v1.ImportService/CreateImport").unwrap();
        assert_eq!(
            (
                import.permission,
                import.success_status,
                import.body_bytes_max
            ),
            (Some("imports.create"), 202, 1 << 30)
        );
        assert!(import.client_streaming && !import.server_streaming);
    }

    #[test]
    fn an_unknown_path_has_no_policy() {
        for path in [
            "",
            "/",
            "/auth.v1.SessionService/login",
            "/auth.v1.SessionService/Login/",
            "auth.v1.SessionService/Login",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
