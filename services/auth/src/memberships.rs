//! Who belongs to which tenant, and in which built-in roles.

mod store;

use kernel::{Error, ErrorCode, Result, TenantId};
use uuid::Uuid;

pub use store::{Access, Membership, hold_access, list_of};

/// What may be minted for a person in a tenant, given what holds while the transaction lasts.
///
/// A stranger and a tenant that does not exist look the same.
pub fn require_access(access: Option<&Access>) -> Result<()> {
    let Some(Access {
        tenant_status,
        membership_status: Some(membership_status),
    }) = access
    else {
        return Err(Error::not_found(
            "auth.membership_not_found",
            "there is no such tenant among yours",
        ));
    };
    if membership_status != "active" {
        return Err(Error::new(
            ErrorCode::UserSuspended,
            "auth.membership_suspended",
            "your membership in this tenant is suspended",
        ));
    }
    if tenant_status != "active" {
        return Err(tenant_suspended());
    }
    Ok(())
}

/// The tenant to sign in to when the caller names none: the one used last, else the oldest that works.
pub fn choose(memberships: &[Membership], last: Option<Uuid>) -> Option<TenantId> {
    let usable = |m: &&Membership| m.status == "active" && m.tenant_status == "active";
    let recent = memberships
        .iter()
        .filter(usable)
        .find(|m| Some(m.tenant_id) == last);
    recent
        .or_else(|| memberships.iter().find(usable))
        .map(|m| TenantId(m.tenant_id))
}

/// The answer for everybody whose tenant the operator has suspended.
pub fn tenant_suspended() -> Error {
    Error::new(
        ErrorCode::TenantSuspended,
        "auth.tenant_suspended",
        "the tenant is suspended; its owner can ask the operator why",
    )
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn membership(tenant: u128, tenant_status: &str, status: &str) -> Membership {
        Membership {
            tenant_id: Uuid::from_u128(tenant),
            slug: String::new(),
            name: String::new(),
            tenant_status: tenant_status.to_owned(),
            status: status.to_owned(),
            roles: Vec::new(),
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn signing_in_prefers_the_tenant_used_last_and_skips_what_does_not_work() {
        let all = [
            membership(1, "suspended", "active"),
            membership(2, "active", "active"),
            membership(3, "active", "suspended"),
            membership(4, "active", "active"),
        ];
        let check = |last: Option<u128>, expected: u128| {
            assert_eq!(
                choose(&all, last.map(Uuid::from_u128)),
                Some(TenantId(Uuid::from_u128(expected)))
            );
        };
        check(None, 2);
        check(Some(4), 4);
        check(Some(1), 2);
        check(Some(3), 2);
        check(Some(9), 2);
        assert_eq!(choose(&all[..1], None), None);
    }

    #[test]
    fn access_needs_a_membership_and_a_tenant_that_are_active() {
        let check = |access: Option<(&str, Option<&str>)>, expected: Option<ErrorCode>| {
            let access = access.map(|(tenant, membership)| Access {
                tenant_status: tenant.to_owned(),
                membership_status: membership.map(str::to_owned),
            });
            assert_eq!(
                require_access(access.as_ref())
                    .err()
                    .map(|e| e.error_code()),
                expected
            );
        };
        check(Some(("active", Some("active"))), None);
        check(
            Some(("suspended", Some("active"))),
            Some(ErrorCode::TenantSuspended),
        );
        check(
            Some(("active", Some("suspended"))),
            Some(ErrorCode::UserSuspended),
        );
        check(Some(("suspended", None)), Some(ErrorCode::NotFound));
        check(None, Some(ErrorCode::NotFound));
    }
}
