//! Who calls: everybody whom the roles and the life of accounts and tenants tell apart.

use uuid::Uuid;

use super::world::World;

/// What a caller shows at the public port.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Nothing.
    None,
    /// `Authorization: Bearer`, and `X-Tenant-Id` when the caller names a tenant.
    Bearer {
        token: String,
        tenant: Option<String>,
        /// The person and the tenant of the token, when it is a real one.
        subject: Option<(Uuid, Option<Uuid>)>,
    },
}

/// A caller.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The column of the matrix.
    pub name: String,
    pub credential: Credential,
}

impl Principal {
    /// Nobody.
    pub fn nobody() -> Self {
        Self {
            name: "none".to_owned(),
            credential: Credential::None,
        }
    }

    /// Somebody with a text that is no token.
    pub fn garbage() -> Self {
        let credential = Credential::Bearer {
            token: "eyJhbGciOiJub25lIn0.e30.".to_owned(),
            tenant: None,
            subject: None,
        };
        Self {
            name: "garbage".to_owned(),
            credential,
        }
    }

    /// The same caller naming a tenant in `X-Tenant-Id`.
    pub fn naming(&self, tenant_id: &str) -> Self {
        let mut named = self.clone();
        if let Credential::Bearer { tenant, .. } = &mut named.credential {
            *tenant = Some(tenant_id.to_owned());
        }
        named
    }
}

impl World {
    /// Somebody with a fresh session, signed in to a tenant or to none.
    pub async fn principal(&self, name: &str, person: Uuid, tenant_id: Option<Uuid>) -> Principal {
        let token = self.fresh_token(person, tenant_id).await;
        let credential = Credential::Bearer {
            token,
            tenant: None,
            subject: Some((person, tenant_id)),
        };
        Principal {
            name: name.to_owned(),
            credential,
        }
    }

    /// The same caller in a session of its own, for calls that end it.
    pub async fn in_a_session_of_its_own(&self, who: &Principal) -> Principal {
        let Credential::Bearer {
            subject: Some((person, tenant_id)),
            tenant,
            ..
        } = &who.credential
        else {
            return who.clone();
        };
        let fresh = self.principal(&who.name, *person, *tenant_id).await;
        match tenant {
            Some(tenant) => fresh.naming(tenant),
            None => fresh,
        }
    }

    /// Every caller of the matrix over HTTP: nobody, every role of `roles.yaml` in A, and every way in which an account can be limited.
    pub async fn callers(&self) -> Vec<Principal> {
        let a = Some(self.a.tenant_id);
        let mut callers = vec![Principal::nobody(), Principal::garbage()];
        for role in auth::roles::built_in().keys() {
            let person = self.member_of(self.a.tenant_id, &[role]).await;
            callers.push(self.principal(role, person, a).await);
        }
        let roleless = self.member_of(self.a.tenant_id, &[]).await;
        callers.push(self.principal("roleless", roleless, a).await);
        let both = self.member_of(self.a.tenant_id, &["viewer"]).await;
        self.join(both, self.b.tenant_id, &["owner"]).await;
        callers.push(self.principal("viewer+B-owner", both, a).await);
        let tenantless = self.person("tenantless").await;
        callers.push(self.principal("tenantless", tenantless, None).await);
        callers.push(self.principal("staff", self.staff, None).await);
        callers.push(
            self.principal("staff-in-A", self.staff, None)
                .await
                .naming(&self.a.tenant_id.to_string()),
        );
        callers.extend(self.limited().await);
        callers
    }

    /// Owners of A who may nothing any more, and the owner of a suspended tenant. Their sessions were opened before.
    async fn limited(&self) -> Vec<Principal> {
        let a = Some(self.a.tenant_id);
        let suspended = self.member_of(self.a.tenant_id, &["owner"]).await;
        let removed = self.member_of(self.a.tenant_id, &["owner"]).await;
        let paused = self.member_of(self.a.tenant_id, &["owner"]).await;
        let signed_out = self.member_of(self.a.tenant_id, &["owner"]).await;
        let limited = vec![
            self.principal("suspended-user", suspended, a).await,
            self.principal("removed-member", removed, a).await,
            self.principal("suspended-member", paused, a).await,
            self.principal("signed-out", signed_out, a).await,
            self.principal("suspended-tenant", self.s.owner, Some(self.s.tenant_id))
                .await,
        ];
        // There are no methods for the first three yet, so the rows change as those methods would change them.
        self.sql("update auth.users set status = 'suspended', suspended_reason = 'a proof' where id = $1", &[suspended]).await;
        self.sql(
            "delete from auth.group_members where user_id = $1",
            &[removed],
        )
        .await;
        self.sql(
            "delete from auth.memberships where user_id = $1",
            &[removed],
        )
        .await;
        self.sql(
            "update auth.memberships set status = 'suspended' where user_id = $1",
            &[paused],
        )
        .await;
        self.sql("update auth.sessions set revoked_at = now(), revoked_reason = 'logout' where user_id = $1", &[signed_out]).await;
        limited
    }
}
