//! The layout of keys.

use std::fmt;
use std::sync::Arc;

use kernel::TenantId;

/// Builds keys; nothing else in the platform writes a key by hand, so no key can lack its tenant.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    /// What may follow the prefix besides `t:{tenant}:`: `rl` are rate limits, which exist before a tenant is known.
    pub const GLOBAL_SPACES: &'static [&'static str] = &["rl:"];

    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// The key of something that belongs to a tenant.
    pub fn tenant(&self, tenant_id: TenantId, space: &str, name: impl fmt::Display) -> String {
        format!("{}t:{tenant_id}:{space}:{name}", self.prefix)
    }

    /// The key of a rate limit. Braces around the subject keep all limits of one subject in one hash slot.
    ///
    /// The figures of the limit are not part of the key: changing them must not hand out a fresh allowance.
    pub(crate) fn limit(&self, class: &str, subject: &str) -> String {
        // A brace inside the subject would end the hash tag early.
        let subject = subject.replace(['{', '}'], "_");
        format!("{}rl:{{{subject}}}:{class}", self.prefix)
    }

    /// The prefix of every key of this deployment (of one test, in tests).
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_begin_with_their_tenant_or_a_listed_space() {
        let keys = Keys::new("x:");
        let tenant = TenantId(uuid::Uuid::nil());
        assert_eq!(
            keys.tenant(tenant, "kit", "a"),
            "x:t:00000000-0000-0000-0000-000000000000:kit:a"
        );
        assert_eq!(keys.limit("login", "ip:::1"), "x:rl:{ip:::1}:login");
        assert_eq!(keys.limit("login", "ip:}{"), "x:rl:{ip:__}:login");
    }
}
