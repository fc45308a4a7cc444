//! What has no method yet is done by statements: people, memberships, sessions.

use auth::access_tokens::Subject;
use chrono::Utc;
use kernel::{SessionId, TenantId, UserId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::world::{World, new_id};

impl World {
    /// A person with a confirmed address and the password of the first platform admin.
    pub async fn person(&self, name: &str) -> Uuid {
        let id = new_id();
        let email = format!(
            "{}@example.com",
            self.fresh(&name.to_lowercase().replace(' ', "-"))
        );
        self.sql_text(
            "insert into auth.users (id, email, name, locale, created_at, updated_at) values ($1::uuid, $2, $3, 'en', now(), now())",
            &[&id.to_string(), &email, name],
        )
        .await;
        self.admit(id).await;
        id
    }

    pub async fn admit(&self, person: Uuid) {
        self.sql(
            "update auth.users set email_verified_at = now() where id = $1",
            &[person],
        )
        .await;
        self.sql(
            "insert into auth.credentials (user_id, password_hash, updated_at)
             select $1, c.password_hash, now() from auth.credentials c join auth.users u on u.id = c.user_id where u.platform_role is not null",
            &[person],
        )
        .await;
    }

    /// A person who has roles in a tenant.
    pub async fn member_of(&self, tenant_id: Uuid, roles: &[&str]) -> Uuid {
        let person = self.person("Member").await;
        self.join(person, tenant_id, roles).await;
        person
    }

    /// Makes a person a member.
    pub async fn join(&self, person: Uuid, tenant_id: Uuid, roles: &[&str]) {
        self.sql("insert into auth.memberships (tenant_id, user_id, created_at, updated_at) values ($1, $2, now(), now())", &[tenant_id, person])
            .await;
        for role in roles {
            self.sql_text(
                "insert into auth.group_members (tenant_id, group_id, user_id, created_at)
                 select tenant_id, id, $2::uuid, now() from auth.groups where tenant_id = $1::uuid and role = $3",
                &[&tenant_id.to_string(), &person.to_string(), role],
            )
            .await;
        }
    }

    /// An access token of a session that has just been opened.
    #[expect(
        clippy::disallowed_methods,
        reason = "what is measured or forged here is real time"
    )]
    pub async fn fresh_token(&self, person: Uuid, tenant_id: Option<Uuid>) -> String {
        let session = self.fresh_session(person).await;
        let subject = Subject {
            user_id: UserId(person),
            session_id: SessionId(session),
            tenant_id: tenant_id.map(TenantId),
        };
        self.tokens.mint(subject, new_id(), Utc::now()).unwrap()
    }

    /// A session that has just been opened.
    pub async fn fresh_session(&self, person: Uuid) -> Uuid {
        let session = new_id();
        self.sql(
            "insert into auth.sessions (id, user_id, created_at, expires_at, ip, network_key, user_agent)
             values ($1, $2, now(), now() + interval '1 day', '127.0.0.1', ''::bytea, 'proof')",
            &[session, person],
        )
        .await;
        session
    }

    /// Runs a statement as the superuser, with ids.
    pub async fn sql(&self, statement: &'static str, ids: &[Uuid]) -> u64 {
        let mut admin = self.admin.lock().await;
        let query = ids
            .iter()
            .fold(sqlx::query(statement), |query, id| query.bind(*id));
        query
            .execute(&mut *admin)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"))
            .rows_affected()
    }

    /// Runs a statement as the superuser, with texts.
    pub async fn sql_text(&self, statement: &'static str, texts: &[&str]) -> u64 {
        let mut admin = self.admin.lock().await;
        let query = texts.iter().fold(sqlx::query(statement), |query, text| {
            query.bind((*text).to_owned())
        });
        query
            .execute(&mut *admin)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"))
            .rows_affected()
    }

    pub async fn one(&self, statement: &'static str, text: &str) -> Uuid {
        let mut admin = self.admin.lock().await;
        sqlx::query_scalar(statement)
            .bind(text.to_owned())
            .fetch_one(&mut *admin)
            .await
            .unwrap()
    }

    /// One number.
    pub async fn count_of(&self, statement: &'static str) -> i64 {
        let mut admin = self.admin.lock().await;
        sqlx::query_scalar(statement)
            .fetch_one(&mut *admin)
            .await
            .unwrap()
    }

    /// The superuser's connection, for what needs more than one statement.
    pub async fn admin(&self) -> tokio::sync::MutexGuard<'_, PgConnection> {
        self.admin.lock().await
    }
}
