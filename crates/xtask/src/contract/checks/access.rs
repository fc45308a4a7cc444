//! Who may call: every method says it, and says it completely.

use std::collections::BTreeSet;

use super::Problem;
use crate::contract::catalogue::{self, Catalogue};
use crate::contract::surface::{Method, Policy, Surface};

fn with_policy(surface: &Surface) -> impl Iterator<Item = (&Method, &Policy)> {
    surface
        .methods
        .iter()
        .filter_map(|method| Some((method, method.policy.as_ref()?)))
}

/// Every method has a policy with an access.
pub fn policy_is_declared(surface: &Surface) -> Vec<Problem> {
    const RULE: &str = "policy-is-declared";
    let problem = |method: &Method| match &method.policy {
        None => Some(Problem::of_method(
            method,
            RULE,
            "declare `option (tenantry.api.v1.policy) = {access: … rate: …};`",
        )),
        Some(policy) if policy.access == "ACCESS_UNSPECIFIED" => Some(Problem::of_method(
            method,
            RULE,
            "the policy names no `access`; there is no default",
        )),
        Some(_) => None,
    };
    surface.methods.iter().filter_map(problem).collect()
}

/// PERMISSION and PLATFORM name a permission, the others do not; `platform_too` stands only beside PERMISSION.
pub fn permission_is_named(surface: &Surface) -> Vec<Problem> {
    const RULE: &str = "permission-is-named";
    let mut found = Vec::new();
    for (method, policy) in with_policy(surface) {
        let needs = matches!(policy.access.as_str(), "PERMISSION" | "PLATFORM");
        if needs && policy.permission.is_empty() {
            found.push(Problem::of_method(
                method,
                RULE,
                format!("access {} needs a `permission`", policy.access),
            ));
        }
        if !needs && !policy.permission.is_empty() {
            found.push(Problem::of_method(
                method,
                RULE,
                format!(
                    "access {} does not look at `permission`; remove it",
                    policy.access
                ),
            ));
        }
        if policy.platform_too && policy.access != "PERMISSION" {
            found.push(Problem::of_method(
                method,
                RULE,
                "`platform_too` has a meaning beside access PERMISSION only",
            ));
        }
    }
    found
}

/// Every permission is an action of the catalogue, for platform staff exactly where the access is PLATFORM.
pub fn permission_is_in_catalogue(surface: &Surface, catalogue: &Catalogue) -> Vec<Problem> {
    const RULE: &str = "permission-is-in-catalogue";
    let mut found = Vec::new();
    for (method, policy) in with_policy(surface).filter(|(_, policy)| !policy.permission.is_empty())
    {
        let key = &policy.permission;
        if !catalogue.has(key) {
            found.push(Problem::of_method(
                method,
                RULE,
                format!("`{key}` is no action of {}; add it there", catalogue::PATH),
            ));
        } else if catalogue.is_platform(key) != (policy.access == "PLATFORM") {
            let text = format!(
                "`{key}` must have `scope: platform` in {} exactly when the access is PLATFORM",
                catalogue::PATH
            );
            found.push(Problem::of_method(method, RULE, text));
        }
    }
    found
}

/// INTERNAL names its callers among the services and has no HTTP mapping; the others name no callers.
pub fn internal_stays_internal(surface: &Surface, services: &BTreeSet<String>) -> Vec<Problem> {
    const RULE: &str = "internal-stays-internal";
    let mut found = Vec::new();
    for (method, policy) in with_policy(surface) {
        if policy.access != "INTERNAL" {
            if !policy.callers.is_empty() {
                found.push(Problem::of_method(
                    method,
                    RULE,
                    "`callers` has a meaning for access INTERNAL only",
                ));
            }
            continue;
        }
        if policy.callers.is_empty() {
            found.push(Problem::of_method(
                method,
                RULE,
                "access INTERNAL needs `callers`: the services that may call",
            ));
        }
        if !method.routes.is_empty() {
            found.push(Problem::of_method(
                method,
                RULE,
                "access INTERNAL must not have a google.api.http mapping",
            ));
        }
        for caller in policy
            .callers
            .iter()
            .filter(|caller| !services.contains(*caller))
        {
            found.push(Problem::of_method(
                method,
                RULE,
                format!("caller `{caller}` is no folder of services/"),
            ));
        }
    }
    found
}

/// Every method that HTTP reaches has a rate-limit class.
pub fn rate_is_declared(surface: &Surface) -> Vec<Problem> {
    with_policy(surface)
        .filter(|(_, policy)| policy.access != "INTERNAL" && policy.rate == "RATE_UNSPECIFIED")
        .map(|(method, _)| {
            Problem::of_method(
                method,
                "rate-is-declared",
                "the policy names no `rate`; UNLIMITED is a choice too",
            )
        })
        .collect()
}

/// What must leave an audit entry has a name for it: a permission, or one derived from service and method.
pub fn audited_has_an_action(surface: &Surface) -> Vec<Problem> {
    with_policy(surface)
        .filter(|(method, policy)| policy.audited && method.action().is_none())
        .map(|(method, _)| {
            let text = "audited, but there is no name for the entry: give it a `permission` or let the service be named `<Noun>Service`";
            Problem::of_method(method, "audited-has-an-action", text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{check_with, method, service, surface};
    use super::*;

    fn catalogue() -> Catalogue {
        let text = "{pt-BR: a, en: b}";
        Catalogue::parse(&format!(
            "tools: [{{key: things, name: {text}, description: {text}, actions: [{{key: things.read, name: {text}, description: {text}}}, \
             {{key: things.ban, scope: platform, name: {text}, description: {text}}}]}}]\npackages: []"
        ))
        .unwrap()
    }

    #[test]
    fn a_method_without_policy_or_access_is_told() {
        check_with(
            &service("", ""),
            policy_is_declared,
            &["proto/sample/v1/sample.proto:13: sample.v1.ThingService.GetThing: declare"],
        );
        check_with(
            &method("rate: DEFAULT"),
            policy_is_declared,
            &["names no `access`"],
        );
        check_with(
            &method("access: PUBLIC rate: DEFAULT"),
            policy_is_declared,
            &[],
        );
    }

    #[test]
    fn permission_goes_with_the_access() {
        check_with(
            &method("access: PERMISSION"),
            permission_is_named,
            &["access PERMISSION needs a `permission`"],
        );
        check_with(
            &method("access: PLATFORM"),
            permission_is_named,
            &["access PLATFORM needs a `permission`"],
        );
        check_with(
            &method("access: PUBLIC permission: \"a.b\""),
            permission_is_named,
            &["does not look at `permission`"],
        );
        check_with(
            &method("access: SIGNED_IN platform_too: true"),
            permission_is_named,
            &["`platform_too`"],
        );
        check_with(
            &method("access: PERMISSION permission: \"a.b\" platform_too: true"),
            permission_is_named,
            &[],
        );
    }

    #[test]
    fn permission_is_an_action_of_the_right_scope() {
        let check = |policy: &str, expected: &[&str]| {
            check_with(
                &method(policy),
                |surface| permission_is_in_catalogue(surface, &catalogue()),
                expected,
            );
        };
        check("access: PERMISSION permission: \"things.read\"", &[]);
        check("access: PLATFORM permission: \"things.ban\"", &[]);
        check(
            "access: PERMISSION permission: \"things.fly\"",
            &["`things.fly` is no action of services/tenant/catalog.yaml"],
        );
        check(
            "access: PERMISSION permission: \"things.ban\"",
            &["exactly when the access is PLATFORM"],
        );
        check(
            "access: PLATFORM permission: \"things.read\"",
            &["exactly when the access is PLATFORM"],
        );
    }

    #[test]
    fn internal_has_callers_and_no_route() {
        let services = BTreeSet::from(["gateway".to_owned()]);
        let check = |body: &str, expected: &[&str]| {
            check_with(
                body,
                |surface| internal_stays_internal(surface, &services),
                expected,
            )
        };
        let option = |policy: &str| {
            service(
                &format!("option (tenantry.api.v1.policy) = {{{policy}}};"),
                "",
            )
        };
        check(&option("access: INTERNAL callers: \"gateway\""), &[]);
        check(&option("access: INTERNAL"), &["needs `callers`"]);
        check(
            &option("access: INTERNAL callers: \"nobody\""),
            &["`nobody` is no folder of services/"],
        );
        check(
            &method("access: INTERNAL callers: \"gateway\""),
            &["must not have a google.api.http mapping"],
        );
        check(
            &method("access: PUBLIC callers: \"gateway\""),
            &["for access INTERNAL only"],
        );
    }

    #[test]
    fn rate_is_asked_of_what_http_reaches() {
        check_with(
            &method("access: PUBLIC"),
            rate_is_declared,
            &["names no `rate`"],
        );
        check_with(
            &method("access: PUBLIC rate: UNLIMITED"),
            rate_is_declared,
            &[],
        );
        check_with(&method("access: INTERNAL"), rate_is_declared, &[]);
    }

    #[test]
    fn the_audit_action_is_the_permission_or_derived() {
        let named = surface(&method(
            "access: PERMISSION permission: \"things.read\" audited: true",
        ));
        assert_eq!(named.methods[0].action().unwrap(), "things.read");
        let derived = surface(&method("access: SIGNED_IN audited: true"));
        assert_eq!(derived.methods[0].action().unwrap(), "things.get");
        let odd = method("access: SIGNED_IN audited: true")
            .replace("service ThingService", "service Things");
        check_with(&odd, audited_has_an_action, &["no name for the entry"]);
    }
}
