//! Two gateways and auth as processes, and somebody whose access is taken away again and again.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use auth::access_tokens::{AccessTokens, Subject};
use auth::keys::SigningKeys;
use campaign::{Fleet, FleetPlan};
use chrono::TimeDelta;
use futures::future::join_all;
use kernel::{Clock, Ids, SessionId, TenantId, UserId};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::scene::claims_of;

/// How often each gateway is asked.
const PROBE: Duration = Duration::from_millis(20);
/// A test gives up after this, so that a failure tells the figure.
const PATIENCE: Duration = Duration::from_secs(15);
/// Only an owner or admin may read it, and another service than auth answers.
const AUDIT_LOGS: &str = "/v1/audit-logs";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    SignedOut,
    PersonSuspended,
    MemberRemoved,
    RoleChanged,
    TenantSuspended,
}

const CHANGES: [Change; 5] = [
    Change::SignedOut,
    Change::PersonSuspended,
    Change::MemberRemoved,
    Change::RoleChanged,
    Change::TenantSuspended,
];

impl Change {
    const fn refusal(self) -> StatusCode {
        match self {
            Self::SignedOut | Self::PersonSuspended | Self::MemberRemoved => {
                StatusCode::UNAUTHORIZED
            }
            Self::RoleChanged | Self::TenantSuspended => StatusCode::FORBIDDEN,
        }
    }
}

/// Two gateways, what they need, and somebody whose access is taken away again and again.
pub struct Town {
    pub fleet: Fleet,
    http: reqwest::Client,
    admin_token: String,
    tokens: AccessTokens,
    clock: Clock,
    ids: Ids,
    user_id: Uuid,
    tenant_id: Uuid,
    admin: PgConnection,
}

impl Town {
    pub async fn open(plan: FleetPlan) -> Self {
        let fleet = Fleet::prepare(plan).await;
        for name in ["auth", "auth-worker", "tenant", "gateway-1", "gateway-2"] {
            fleet.spawn(name);
        }
        for name in ["auth", "auth-worker", "tenant", "gateway-1", "gateway-2"] {
            fleet.wait_ready(name).await;
        }
        let resident = fleet.settle("Ana Souza", "house").await;
        let claims = claims_of(resident.client.token().unwrap());
        let text = |name: &str| claims[name].as_str().unwrap().to_owned();
        let key = PathBuf::from(&fleet.settings("auth")["AUTH_SIGNING_KEY_FILE"]);
        let clock = Clock::system();
        Self {
            tokens: AccessTokens {
                keys: SigningKeys::load(&[key]).unwrap(),
                issuer: text("iss"),
                audience: text("aud"),
                lifetime: TimeDelta::seconds(900),
            },
            ids: Ids::random(clock.clone()),
            clock,
            user_id: text("sub").parse().unwrap(),
            tenant_id: resident.tenant_id.parse().unwrap(),
            admin_token: fleet.sign_in_as_admin().await.token().unwrap().to_owned(),
            admin: fleet.db.admin().await,
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()
                .unwrap(),
            fleet,
        }
    }

    /// A new session of the victim, without the work of comparing a password.
    pub async fn open_session(&mut self) -> String {
        let (session_id, now) = (SessionId(self.ids.next()), self.clock.now());
        sqlx::query(
            "insert into auth.sessions (id, user_id, created_at, expires_at, last_tenant, ip, network_key, user_agent)
             values ($1, $2, $3, $3 + interval '1 day', $4, '', '', '')",
        )
        .bind(session_id.0)
        .bind(self.user_id)
        .bind(now)
        .bind(self.tenant_id)
        .execute(&mut self.admin)
        .await
        .unwrap();
        let (user_id, tenant_id) = (UserId(self.user_id), Some(TenantId(self.tenant_id)));
        self.tokens
            .mint(
                Subject {
                    user_id,
                    session_id,
                    tenant_id,
                },
                self.ids.next(),
                now,
            )
            .unwrap()
    }

    async fn post(&self, path: &str, token: &str, body: &Value) {
        let url = format!("{}{path}", self.fleet.url("gateway-1"));
        let key = self.ids.next().to_string();
        let request = self
            .http
            .post(url)
            .bearer_auth(token)
            .header("idempotency-key", key);
        let answer = request.json(body).send().await.unwrap();
        if !answer.status().is_success() {
            panic!(
                "{path}: {} {}",
                answer.status(),
                answer.text().await.unwrap()
            );
        }
    }

    async fn sign_out(&self, token: &str) {
        let url = format!("{}/v1/auth/logout", self.fleet.url("gateway-1"));
        let answer = self
            .http
            .post(url)
            .bearer_auth(token)
            .json(&json!({}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    pub async fn ask(&self, gateway: &str, token: &str) -> StatusCode {
        let url = format!("{}{AUDIT_LOGS}?limit=1", self.fleet.url(gateway));
        match self.http.get(url).bearer_auth(token).send().await {
            Ok(answer) => answer.status(),
            Err(error) => panic!("{gateway}: {error:?}"),
        }
    }

    /// The status of a sign-in of somebody who is not there.
    pub async fn try_sign_in(&self, email: String) -> u16 {
        let url = format!("{}/v1/auth/login", self.fleet.url("gateway-1"));
        let body = json!({ "email": email, "password": "not the password of anybody" });
        self.http
            .post(url)
            .json(&body)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    }

    /// Waits until a gateway lets the token in, which then stands in its memory.
    pub async fn admitted(&self, gateway: &str, token: &str) {
        let asking = testkit::eventually("the token is let in", async || {
            (self.ask(gateway, token).await == StatusCode::OK).then_some(())
        });
        asking.await;
        assert_eq!(self.ask(gateway, token).await, StatusCode::OK);
    }

    async fn make(&mut self, change: Change, token: &str) {
        let (user, tenant) = (self.user_id, self.tenant_id);
        match change {
            Change::SignedOut => self.sign_out(token).await,
            Change::TenantSuspended => {
                let path = format!("/v1/tenants/{tenant}/suspend");
                let body = json!({ "reason": "a test" });
                self.post(&path, &self.admin_token, &body).await;
            }
            Change::PersonSuspended => {
                let sql = format!("update auth.users set status = 'suspended' where id = '{user}'");
                self.tell(&sql).await;
            }
            Change::MemberRemoved => {
                let sql = format!(
                    "delete from auth.memberships where user_id = '{user}' and tenant_id = '{tenant}'"
                );
                self.tell(&sql).await;
            }
            Change::RoleChanged => self.become_a("viewer").await,
        }
    }

    async fn undo(&mut self, change: Change) {
        let (user, tenant) = (self.user_id, self.tenant_id);
        match change {
            Change::SignedOut => {}
            Change::TenantSuspended => {
                let path = format!("/v1/tenants/{tenant}/reactivate");
                self.post(&path, &self.admin_token, &json!({})).await;
            }
            Change::PersonSuspended => {
                let sql = format!("update auth.users set status = 'active' where id = '{user}'");
                self.tell(&sql).await;
            }
            Change::MemberRemoved => {
                let sql = format!(
                    "insert into auth.memberships (tenant_id, user_id, created_at, updated_at) values ('{tenant}', '{user}', now(), now())"
                );
                self.tell(&sql).await;
                self.become_a("owner").await;
            }
            Change::RoleChanged => self.become_a("owner").await,
        }
    }

    async fn become_a(&mut self, role: &str) {
        let (user, tenant) = (self.user_id, self.tenant_id);
        self.tell(&format!(
            "delete from auth.group_members where user_id = '{user}' and tenant_id = '{tenant}';
             insert into auth.group_members (tenant_id, group_id, user_id, created_at)
             select tenant_id, id, '{user}', now() from auth.groups where tenant_id = '{tenant}' and role = '{role}'"
        ))
        .await;
    }

    /// What no method does yet: the change and the news of it in one transaction.
    async fn tell(&mut self, sql: &str) {
        let user = self.user_id;
        let sql = format!(
            "begin; {sql}; select auth.record_access_change(null, '{user}', null, now()); commit"
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut self.admin)
            .await
            .unwrap();
    }

    /// One round: for each gateway the time from the answer of the change to the last request that was let in.
    async fn round(&mut self, change: Change) -> Vec<Duration> {
        let token = self.open_session().await;
        for gateway in ["gateway-1", "gateway-2"] {
            self.admitted(gateway, &token).await;
        }
        self.make(change, &token).await;
        let since = self.clock.instant();
        let town = &*self;
        let refused =
            async |gateway: &str| town.refused(gateway, &token, change.refusal(), since).await;
        let latencies = join_all(["gateway-1", "gateway-2"].map(refused)).await;
        self.undo(change).await;
        latencies
    }

    async fn refused(
        &self,
        gateway: &str,
        token: &str,
        refusal: StatusCode,
        since: Instant,
    ) -> Duration {
        loop {
            let status = self.ask(gateway, token).await;
            let passed = self.clock.instant() - since;
            if status != StatusCode::OK {
                assert_eq!(status, refusal, "{gateway}");
                // It stays so: a refusal is not a moment of confusion.
                assert_eq!(self.ask(gateway, token).await, refusal, "{gateway}");
                return passed;
            }
            assert!(
                passed < PATIENCE,
                "{gateway} still lets the token in after {passed:?}"
            );
            // sleeps because a revocation is looked for at this pace
            tokio::time::sleep(PROBE).await;
        }
    }

    pub async fn rounds(&mut self, count: usize) -> Vec<Duration> {
        let mut latencies = Vec::new();
        for round in 0..count {
            latencies.extend(self.round(CHANGES[round % CHANGES.len()]).await);
        }
        latencies.sort_unstable();
        latencies
    }

    /// Answers of a gateway from now on for `span`: when the last one let the token in, and the statuses after that.
    pub async fn last_admission(
        &self,
        gateway: &str,
        token: &str,
        span: Duration,
    ) -> (Duration, Vec<StatusCode>) {
        let since = self.clock.instant();
        let (mut last, mut refusals) = (Duration::ZERO, Vec::new());
        while self.clock.instant() - since < span {
            let asked = self.clock.instant() - since;
            let status = self.ask(gateway, token).await;
            if status == StatusCode::OK {
                last = asked;
                refusals.clear();
            } else {
                refusals.push(status);
            }
            // sleeps because an outage is watched at this pace
            tokio::time::sleep(PROBE).await;
        }
        (last, refusals)
    }
}
