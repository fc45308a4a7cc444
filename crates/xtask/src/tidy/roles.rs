//! The built-in roles grant only what exists.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{Finding, Tree};
use crate::contract::Catalogue;

const ROLES: &str = "services/auth/roles.yaml";

/// As far as this rule reads it. What a role is denied may name actions of the future: a denial of nothing harms nobody.
#[derive(Deserialize)]
struct Roles {
    roles: BTreeMap<String, Role>,
    #[serde(default)]
    platform: BTreeMap<String, Role>,
}

#[derive(Deserialize)]
struct Role {
    actions: Vec<String>,
}

/// Every action that a role grants is in the catalogue; no tenant's role grants what is for platform staff.
pub fn permissions_exist(tree: &Tree) -> Result<Vec<Finding>> {
    let (Some(source), true) = (tree.source(ROLES), tree.exists(crate::contract::CATALOGUE)) else {
        return Ok(Vec::new());
    };
    let roles: Roles = serde_norway::from_str(&source.text).with_context(|| ROLES.to_owned())?;
    let catalogue = Catalogue::load(&tree.root)?;
    let of_tenants = roles.roles.iter().map(|(name, role)| (name, role, false));
    let of_platform = roles.platform.iter().map(|(name, role)| (name, role, true));
    let mut found = Vec::new();
    for (name, role, is_platform) in of_tenants.chain(of_platform) {
        for action in role.actions.iter().filter(|action| *action != "*") {
            let line = source
                .text
                .lines()
                .position(|line| line.contains(action.as_str()))
                .map_or(1, |at| at + 1);
            if !catalogue.matches(action) {
                let text = format!(
                    "role `{name}` grants `{action}`, which is not in {}",
                    crate::contract::CATALOGUE
                );
                found.push(source.finding(line, "permissions-exist", text));
            } else if !is_platform && catalogue.is_platform(action) {
                let text =
                    format!("role `{name}` grants `{action}`, which is for platform staff alone");
                found.push(source.finding(line, "permissions-exist", text));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::check;
    use super::*;

    const CATALOGUE: &str = "tools:\n  - key: things\n    name: &t {pt-BR: a, en: b}\n    description: *t\n    actions:\n      \
                             - {key: things.read, name: *t, description: *t}\n      - {key: things.ban, scope: platform, name: *t, description: *t}\npackages: []\n";

    #[track_caller]
    fn check_roles(roles: &str, expected: &[&str]) {
        check(
            &[(crate::contract::CATALOGUE, CATALOGUE), (ROLES, roles)],
            |tree| permissions_exist(tree).unwrap(),
            expected,
        );
    }

    #[test]
    fn unknown_and_platform_actions_are_told() {
        check_roles(
            "roles:\n  owner: {actions: ['*'], except: [later.*]}\n  viewer: {actions: [things.read, 'things.*']}\n",
            &[],
        );
        check_roles(
            "roles:\n  viewer:\n    actions: [things.fly]\n",
            &["services/auth/roles.yaml:3: role `viewer` grants `things.fly`, which is not in"],
        );
        check_roles(
            "roles:\n  viewer: {actions: ['bills.*']}\n",
            &["services/auth/roles.yaml:2: role `viewer` grants `bills.*`"],
        );
        check_roles(
            "roles:\n  viewer: {actions: [things.ban]}\n",
            &[
                "services/auth/roles.yaml:2: role `viewer` grants `things.ban`, which is for platform",
            ],
        );
        check_roles(
            "roles: {}\nplatform:\n  staff: {actions: [things.ban]}\n",
            &[],
        );
    }
}
