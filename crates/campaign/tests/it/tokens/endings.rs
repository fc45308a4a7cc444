//! Refresh against whatever ends a session: once the end has returned, nothing is minted any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campaign::Extent;
use futures::future::join_all;
use kernel::{SessionId, TenantId};
use proto::auth::v1::TokenPair;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::service::{Person, Service, code};

/// Pairs of ends and refreshes that run beside each other.
const LANES: usize = 6;
/// Clients that refresh one session at the same time.
const CLIENTS: usize = 2;
/// The longest head start of the refreshes, in microseconds: a few of them fit into it.
const HEAD_START_MAX_US: u64 = 12_000;

/// What ends a session, or keeps it from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Logout,
    LogoutEverywhere,
    TenantSuspended,
    PersonSuspended,
    MembershipSuspended,
}

const ENDS: [End; 5] = [
    End::Logout,
    End::LogoutEverywhere,
    End::TenantSuspended,
    End::PersonSuspended,
    End::MembershipSuspended,
];

impl End {
    /// What a refresh is told from then on.
    const fn told(self) -> &'static str {
        match self {
            Self::Logout | Self::LogoutEverywhere => "INVALID_TOKEN",
            Self::TenantSuspended => "TENANT_SUSPENDED",
            Self::PersonSuspended | Self::MembershipSuspended => "USER_SUSPENDED",
        }
    }

    /// Whether the session itself goes on when the end is taken back.
    const fn is_lasting(self) -> bool {
        matches!(self, Self::Logout | Self::LogoutEverywhere)
    }
}

/// One person, to whom all ends happen one after another.
struct Lane<'s> {
    service: &'s Service,
    person: Person,
    admin: PgConnection,
    version: i64,
    random: u64,
    /// Ends that came after a refresh had succeeded.
    caught: u64,
    minted: u64,
}

impl Lane<'_> {
    /// A number below `bound`; the same sequence in each run (xorshift).
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    async fn run(&mut self, rounds: usize) {
        for round in 0..rounds {
            let end = ENDS[round % ENDS.len()];
            self.round(end).await;
        }
    }

    async fn round(&mut self, end: End) {
        let service = self.service;
        let (session_id, pair) = service.open_session(&self.person).await;
        let context = service
            .resolve(&pair.access_token)
            .await
            .unwrap()
            .context_token;
        let head_start = Duration::from_micros(self.below(HEAD_START_MAX_US));
        let first = pair.refresh_token.to_string();
        let is_over = AtomicBool::new(false);
        let refreshing = refresh_until_refused(service, first.clone(), &is_over);
        let ending = async {
            // sleeps because the end is to come at every possible moment of the refreshes
            tokio::time::sleep(head_start).await;
            self.end(end, &context).await;
            is_over.store(true, Ordering::SeqCst);
            self.links(session_id).await
        };
        let ((minted, refusal), links) = futures::future::join(refreshing, ending).await;
        assert_eq!(
            self.links(session_id).await,
            links,
            "{end:?}: a token was minted after it had returned"
        );
        assert_eq!(refusal, end.told(), "{end:?}");
        self.caught += u64::from(!minted.is_empty());
        self.minted += u64::try_from(minted.len()).unwrap();
        for pair in &minted {
            let refusal = code(service.resolve(&pair.access_token).await);
            let fair = ["INVALID_TOKEN", "TENANT_SUSPENDED", "TENANT_NOT_FOUND"];
            assert!(fair.contains(&refusal.as_str()), "{end:?}: {refusal}");
        }
        let last = minted
            .into_iter()
            .next_back()
            .map_or(first, |pair| pair.refresh_token);
        assert_eq!(code(service.refresh(&last).await), end.told(), "{end:?}");
        assert_eq!(self.links(session_id).await, links, "{end:?}");
        self.undo(end).await;
        if end.is_lasting() {
            assert_eq!(
                code(service.refresh(&last).await),
                "INVALID_TOKEN",
                "{end:?} is for good"
            );
        }
    }

    async fn end(&mut self, end: End, context: &str) {
        match end {
            End::Logout => self.service.logout(context, false).await.unwrap(),
            End::LogoutEverywhere => self.service.logout(context, true).await.unwrap(),
            End::TenantSuspended => self.apply("suspended").await,
            End::PersonSuspended => self.set("auth.users", "id", "suspended").await,
            End::MembershipSuspended => self.set("auth.memberships", "user_id", "suspended").await,
        }
    }

    async fn undo(&mut self, end: End) {
        match end {
            End::Logout | End::LogoutEverywhere => {}
            End::TenantSuspended => self.apply("active").await,
            End::PersonSuspended => self.set("auth.users", "id", "active").await,
            End::MembershipSuspended => self.set("auth.memberships", "user_id", "active").await,
        }
    }

    async fn apply(&mut self, status: &str) {
        self.version += 1;
        let tenant_id: TenantId = self.person.tenant_id;
        self.service
            .apply(tenant_id, self.version, status)
            .await
            .unwrap();
    }

    /// What no method does yet: the change and the news of it in one transaction.
    async fn set(&mut self, table: &str, key: &str, status: &str) {
        let id = self.person.user_id.0;
        let sql = format!(
            "begin; update {table} set status = '{status}' where {key} = '{id}';
             select auth.record_access_change(null, '{id}', null, now()); commit"
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut self.admin)
            .await
            .unwrap();
    }

    async fn links(&mut self, session_id: SessionId) -> i64 {
        let id: Uuid = session_id.0;
        let sql = "select count(*) from auth.refresh_tokens where session_id = $1";
        sqlx::query_scalar(sql)
            .bind(id)
            .fetch_one(&mut self.admin)
            .await
            .unwrap()
    }
}

/// Everything that clients of one session get before one of them is refused, and how it is. Being told to come back they come back.
///
/// They go from token to token together: one that stays behind would be a thief. Who gets a token for a question of after the end stops, too.
async fn refresh_until_refused(
    service: &Service,
    mut token: String,
    is_over: &AtomicBool,
) -> (Vec<TokenPair>, String) {
    let mut minted: Vec<TokenPair> = Vec::new();
    loop {
        let is_late = is_over.load(Ordering::SeqCst);
        let mut refusal = None;
        let answers = join_all((0..CLIENTS).map(|_| service.refresh(&token))).await;
        for answer in answers {
            match answer {
                Ok(pair) => {
                    if is_late {
                        refusal = Some("nothing".to_owned());
                    }
                    minted.push(pair);
                }
                Err(error) => match error.error_code().as_str() {
                    "SERVICE_UNAVAILABLE" | "DEADLINE_EXCEEDED" => {}
                    code => refusal = Some(code.to_owned()),
                },
            }
        }
        if let Some(refusal) = refusal {
            return (minted, refusal);
        }
        if let Some(pair) = minted.last() {
            token.clone_from(&pair.refresh_token);
        }
    }
}

/// SECURITY A-6 (Keycloak 51312, ZITADEL CVE-2023-22492): sign-out and suspension at any moment of a chain of refreshes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_minted_once_an_end_has_returned() {
    let extent = Extent::of_this_run();
    let rounds = extent.pick(60_usize, 10_000).div_ceil(LANES);
    let service = Service::start().await;
    let people = service.people(LANES).await;
    let mut lanes = Vec::new();
    for (number, person) in people.into_iter().enumerate() {
        let admin = service.db.admin().await;
        let random = 0x9e37_79b9_7f4a_7c15 ^ u64::try_from(number + 1).unwrap();
        lanes.push(Lane {
            service: &service,
            person,
            admin,
            version: 1,
            random,
            caught: 0,
            minted: 0,
        });
    }
    join_all(lanes.iter_mut().map(|lane| lane.run(rounds))).await;
    let minted: u64 = lanes.iter().map(|lane| lane.minted).sum();
    let caught: u64 = lanes.iter().map(|lane| lane.caught).sum();
    let interleavings = rounds * LANES;
    assert!(caught > 0, "no refresh was under way");
    extent.tell("ends beside refreshes", interleavings);
    extent.tell("pairs minted before an end, all dead after it", minted);
    extent.tell("ends that came after a refresh had succeeded", caught);
    drop(lanes);
    service.stop().await;
}
