//! A platform with a resident, and the genuine tokens of every kind that forgers start from.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use campaign::{Platform, Surroundings};
use kernel::{Clock, RequestContext, TenantId, UserId};
use proto::policy::MethodPolicy;
use rpc::{Channel, Peer};
use runtime::Tasks;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::workshop::{RsaKey, Workshop, b64, sign_with};
use crate::tokens::workshop::CurveKey;

/// Whose rows may change: no service's.
const SCHEMAS: [&str; 4] = ["auth", "tenant", "niche", "search"];

pub struct Scene {
    pub platform: Platform,
    pub clock: Clock,
    pub tenant_id: TenantId,
    pub user_id: Uuid,
    pub session_id: Uuid,
    /// A refresh token that is good.
    pub refresh_token: String,
    /// An access token of platform staff.
    pub staff_token: String,
    spy: Spy,
}

impl Scene {
    pub async fn open() -> Self {
        let clock = testkit::clock();
        let surroundings = Surroundings {
            clock: clock.clone(),
            ..Surroundings::default()
        };
        let platform = Platform::start_in(surroundings).await;
        let resident = platform.settle("Ana Souza", "house").await;
        let claims = claims_of(resident.client.token().unwrap());
        let login = json!({ "email": "admin@example.com", "password": campaign::ADMIN_PASSWORD });
        let session = platform
            .client()
            .post("/v1/auth/login", &login)
            .await
            .unwrap();
        let text = |name: &str| session["data"][name].as_str().unwrap().to_owned();
        Self {
            tenant_id: resident.tenant_id.parse().unwrap(),
            user_id: id_in(&claims, "sub"),
            session_id: id_in(&claims, "sid"),
            refresh_token: text("refreshToken"),
            staff_token: text("accessToken"),
            spy: Spy::start().await,
            platform,
            clock,
        }
    }

    /// A setting that the services were told.
    pub fn setting(&self, name: &str) -> String {
        self.platform
            .settings
            .reader()
            .text(name, "", "of a service")
    }

    /// A workshop around the resident's own token.
    pub async fn workshop(&self) -> Workshop {
        let own = RsaKey::read(Path::new(&self.setting("AUTH_SIGNING_KEY_FILE")));
        let staff = claims_of(&self.staff_token);
        let now = self.clock.now().timestamp();
        let claims = json!({
            "iss": staff["iss"], "aud": staff["aud"], "sub": self.user_id, "tenantId": self.tenant_id.0, "type": "user",
            "sid": self.session_id, "jti": Uuid::from_u128(7), "iat": now, "nbf": now, "exp": now + 900,
        });
        let header = json!({ "alg": "RS256", "typ": "at+jwt", "kid": own.kid });
        let identity = CurveKey::of_seed(&self.setting("AUTH_IDENTITY_KEY"));
        let by_identity = sign_with(&header.to_string(), &claims.to_string(), |message| {
            identity.sign(message)
        });
        let mut other_kinds = vec![
            ("a refresh token", self.refresh_token.clone()),
            ("a context token", self.context_token().await),
            (
                "a service token",
                self.peer("gateway", "auth").service_token(None, None, "r"),
            ),
            (
                "an e-mail verification token",
                self.verification_token().await,
            ),
            ("claims signed with the key of context tokens", by_identity),
            ("a cursor", b64([7; 40])),
        ];
        other_kinds.push(("an idempotency key", Uuid::from_u128(9).to_string()));
        Workshop {
            own,
            other: RsaKey::generate(),
            header,
            claims,
            now,
            spy_url: self.spy.url.clone(),
            other_kinds,
        }
    }

    /// What auth makes of the staff's credential: a genuine context token.
    async fn context_token(&self) -> String {
        use proto::auth::v1::ResolveContextRequest;
        use proto::auth::v1::access_service_client::AccessServiceClient;
        let ctx = RequestContext::system("gateway", TenantId::PLATFORM).build();
        let message = ResolveContextRequest {
            credential: self.staff_token.clone(),
            tenant_header: None,
        };
        let request = self.peer("gateway", "auth").request(&ctx, message);
        let answer = AccessServiceClient::new(self.channel("auth"))
            .resolve_context(request)
            .await;
        answer.unwrap().into_inner().context_token
    }

    /// Signs somebody up and takes the token out of the mail.
    async fn verification_token(&self) -> String {
        let sign_up = json!({ "email": "olga@example.com", "password": "violet tractor mumbles quietly", "name": "Olga" });
        self.platform
            .client()
            .post("/v1/auth/register", &sign_up)
            .await
            .unwrap();
        testkit::eventually("the mail is written", async || {
            let folder = std::fs::read_dir(&self.platform.mail_dir).ok()?;
            let mails = folder.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok());
            let mail = mails
                .into_iter()
                .find(|mail| mail.contains("olga@example.com"))?;
            let (_, rest) = mail.split_once("token=")?;
            Some(rest.chars().take_while(|c| !c.is_whitespace()).collect())
        })
        .await
    }

    /// The calls of `from` to `to`, with the keys of this platform.
    pub fn peer(&self, from: &str, to: &str) -> Peer {
        let keyring = rpc::Keyring::read(&mut self.platform.settings.reader(), from);
        Peer::new(keyring, to, self.clock.clone())
    }

    /// A way straight to a service, past the gateway.
    pub fn channel(&self, service: &str) -> Channel {
        let endpoint = self.setting(&format!("{}_GRPC_URL", service.to_uppercase()));
        rpc::connect(&endpoint.parse().unwrap())
    }

    /// A person who is not there, so that a control changes nothing of the resident's.
    pub fn nobody() -> UserId {
        UserId(Uuid::from_u128(0xffff))
    }

    /// Every table with its number of rows and a digest of them, once nothing moves any more.
    pub async fn digest(&self) -> BTreeMap<String, (i64, String)> {
        let mut before = self.digest_now().await;
        for _ in 0..100 {
            // sleeps because relays and workers finish in their own time and tell nobody
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = self.digest_now().await;
            if now == before {
                return now;
            }
            before = now;
        }
        panic!("the database does not come to rest");
    }

    async fn digest_now(&self) -> BTreeMap<String, (i64, String)> {
        let mut admin = self.platform.db.admin().await;
        let tables: Vec<String> = sqlx::query_scalar(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = any($1) order by 1",
        )
        .bind(SCHEMAS.map(str::to_owned).to_vec())
        .fetch_all(&mut admin)
        .await
        .unwrap();
        assert!(tables.len() > 20, "{tables:?}");
        let mut digests = BTreeMap::new();
        for table in tables {
            let sql = format!(
                "select count(*), md5(coalesce(string_agg(md5(t::text), '' order by md5(t::text)), '')) from {table} t"
            );
            let digest = sqlx::query_as(AssertSqlSafe(sql))
                .fetch_one(&mut admin)
                .await
                .unwrap();
            digests.insert(table, digest);
        }
        digests
    }

    /// Fails when anybody has been at the address that forged headers name.
    pub fn assert_nobody_called(&self) {
        assert_eq!(
            self.spy.visits.load(Ordering::SeqCst),
            0,
            "a token's header led to a call"
        );
    }

    pub async fn close(self) {
        self.assert_nobody_called();
        drop(self.spy);
        self.platform.stop().await;
    }
}

/// A server that counts who comes.
struct Spy {
    url: String,
    visits: Arc<AtomicU64>,
    _tasks: Tasks,
}

impl Spy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let visits = Arc::new(AtomicU64::new(0));
        let (tasks, counted) = (Tasks::new(), Arc::clone(&visits));
        tasks.spawn("spy", async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            url,
            visits,
            _tasks: tasks,
        }
    }
}

/// The claims of an access token, unverified.
pub fn claims_of(token: &str) -> Value {
    use base64::Engine as _;
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(claims)
        .unwrap();
    serde_json::from_slice(&claims).unwrap()
}

fn id_in(claims: &Value, name: &str) -> Uuid {
    claims[name].as_str().unwrap().parse().unwrap()
}

/// Every method that asks for a token.
pub fn guarded() -> Vec<&'static MethodPolicy> {
    let guarded = |policy: &&MethodPolicy| policy.access != proto::policy::Access::Public;
    proto::policy::ALL.iter().filter(guarded).collect()
}
