//! Built-in roles: what `owner`, `admin`, `analyst`, `viewer` and `attendant` may do, and the names they are also known by.
//!
//! The meaning of a built-in role is code, not rows: a release that adds an action gives it to every tenant's owner at once,
//! without a data migration. Custom groups keep their permissions in `auth.group_permissions`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

/// The role of the person who created a tenant.
pub const OWNER: &str = "owner";

/// The parsed `roles.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    roles: BTreeMap<String, Grant>,
    aliases: BTreeMap<String, String>,
    platform: BTreeMap<String, Grant>,
}

/// What a role grants: patterns of actions, `*`, `prefix.*` or exact.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    actions: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
}

impl Grant {
    fn allows(&self, action: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, action));
        any(&self.actions) && !any(&self.except)
    }
}

fn matches(pattern: &str, action: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => action.starts_with(prefix),
        None => pattern == action,
    }
}

/// The roles of this build.
pub fn built_in() -> &'static Roles {
    static ROLES: LazyLock<Roles> = LazyLock::new(|| {
        serde_norway::from_str(include_str!("../roles.yaml"))
            .expect("roles.yaml is checked by a test of this build")
    });
    &ROLES
}

impl Roles {
    /// The keys of the built-in roles.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    /// The built-in role that `name` means: its key, or an alias in any letter case.
    pub fn resolve(&self, name: &str) -> Option<&str> {
        if let Some((key, _)) = self.roles.get_key_value(name) {
            return Some(key);
        }
        let upper = name.to_uppercase();
        self.aliases.get(&upper).map(String::as_str)
    }

    /// Effective permissions in a tenant: what the built-in roles and the custom grants give, as far as the tenant is entitled to it.
    pub fn effective(
        &self,
        roles: &[String],
        granted: &[String],
        entitled: &[String],
    ) -> BTreeSet<String> {
        let roles: Vec<&Grant> = roles
            .iter()
            .filter_map(|role| self.roles.get(role))
            .collect();
        let granted: BTreeSet<&str> = granted.iter().map(String::as_str).collect();
        entitled
            .iter()
            .filter(|action| {
                granted.contains(action.as_str()) || roles.iter().any(|role| role.allows(action))
            })
            .cloned()
            .collect()
    }

    /// What platform staff of `role` may do, out of every action of the contract.
    pub fn platform(&self, role: &str) -> BTreeSet<String> {
        let Some(grant) = self.platform.get(role) else {
            return BTreeSet::new();
        };
        actions_of_contract()
            .filter(|action| grant.allows(action))
            .map(str::to_owned)
            .collect()
    }
}

/// Every permission key that a method of the contract declares.
fn actions_of_contract() -> impl Iterator<Item = &'static str> {
    proto::policy::ALL
        .iter()
        .filter_map(|method| method.permission)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entitled() -> Vec<String> {
        [
            "records.read",
            "records.create",
            "records.delete",
            "billing.read",
            "audit.read",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn effective(role: &str, granted: &[&str]) -> Vec<String> {
        let granted: Vec<String> = granted.iter().map(|&action| action.to_owned()).collect();
        built_in()
            .effective(&[role.to_owned()], &granted, &entitled())
            .into_iter()
            .collect()
    }

    #[test]
    fn a_role_grants_no_more_than_the_tenant_is_entitled_to() {
        assert_eq!(effective("owner", &[]).len(), entitled().len());
        assert_eq!(effective("viewer", &[]), ["records.read"]);
        assert_eq!(
            effective("viewer", &["niches.activate"]),
            ["records.read"],
            "a grant beyond the packages gives nothing"
        );
        assert_eq!(effective("nobody", &[]), Vec::<String>::new());
    }

    #[test]
    fn an_admin_is_kept_from_billing() {
        assert!(!effective("admin", &[]).contains(&"billing.read".to_owned()));
        assert!(effective("admin", &[]).contains(&"audit.read".to_owned()));
    }

    #[test]
    fn grants_of_several_groups_add_up() {
        assert_eq!(
            effective("viewer", &["audit.read"]),
            ["audit.read", "records.read"]
        );
    }

    #[test]
    fn aliases_name_built_in_roles() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(built_in().resolve(name), expected, "{name}")
        };
        check("owner", Some("owner"));
        check("ADM_CLIENTE", Some("admin"));
        check("adm_cliente", Some("admin"));
        check("TENANT_ADMIN", Some("admin"));
        check("OPERATOR", Some("analyst"));
        check("ATTENDANT", Some("attendant"));
        check("root", None);
        for alias in built_in().aliases.values() {
            assert!(
                built_in().roles.contains_key(alias),
                "{alias} is no built-in role"
            );
        }
    }

    #[test]
    fn every_listed_action_exists_in_the_contract() {
        let known: BTreeSet<&str> = actions_of_contract().collect();
        for grant in built_in().roles.values() {
            for action in grant.actions.iter().filter(|action| !action.contains('*')) {
                assert!(
                    known.contains(action.as_str()),
                    "no method declares {action}"
                );
            }
        }
    }
}
