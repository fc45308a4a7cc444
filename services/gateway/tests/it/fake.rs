//! Services that answer what a test tells them, served by the product's own gRPC server: tokens, policies and rules are real.

mod niche;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::Stream;
use kernel::{Clock, Error, ErrorCode, RequestContext};
use proto::auth::v1::access_service_server::{AccessService, AccessServiceServer};
use proto::auth::v1::session_service_server::{SessionService, SessionServiceServer};
use proto::auth::v1::*;
use proto::niche::v1::import_service_server::ImportServiceServer;
use proto::niche::v1::record_service_server::RecordServiceServer;
use rpc::{Listener, Server, server_stream, unary};
use runtime::Process;
use testkit::{context_token, keyring};
use tokio::sync::{Notify, watch};
use tonic::{Request, Response, Status};

pub const RECORD: &str = "00000000-0000-7000-8000-00000000000a";
/// An import whose stream ends after three messages.
pub const SHORT: &str = "00000000-0000-7000-8000-000000000001";
/// An import about which nothing ever happens.
pub const SILENT: &str = "00000000-0000-7000-8000-000000000002";
/// An import whose stream fails after one message.
pub const BROKEN: &str = "00000000-0000-7000-8000-000000000003";

/// What the services were told to do, and what they saw.
pub struct Fake {
    pub callers: Mutex<HashMap<String, RequestContext>>,
    pub resolved: AtomicU64,
    /// What resolving fails with, when it does.
    pub resolve_fails: Mutex<Option<ErrorCode>>,
    pub resolve_delay: Mutex<Duration>,
    /// While a test holds this, the answers about ann are ready and on their way.
    pub answers_held: tokio::sync::Mutex<()>,
    /// How long a context is valid that is resolved from now on.
    pub context_lives: Mutex<Duration>,
    pub tenant_headers: Mutex<Vec<String>>,
    changes: watch::Sender<(i64, Option<AccessChange>)>,
    /// Whether auth is silent although its port answers.
    pub silent: AtomicBool,
    pub seen: Mutex<Vec<RequestContext>>,
    pub listeners: Arc<AtomicU64>,
    pub upload: Mutex<Uploaded>,
    /// Holds the reader of an upload back.
    pub gate: Notify,
    pub gated: AtomicBool,
}

#[derive(Clone, Debug, Default)]
pub struct Uploaded {
    pub params: Option<(String, String, bool, String)>,
    pub content_type: String,
    pub bytes: u64,
    pub sum: u64,
    pub largest_part: usize,
    pub complete: bool,
    pub broken: bool,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            callers: Mutex::default(),
            resolved: AtomicU64::new(0),
            resolve_fails: Mutex::default(),
            resolve_delay: Mutex::default(),
            answers_held: tokio::sync::Mutex::default(),
            context_lives: Mutex::new(Duration::from_secs(55)),
            tenant_headers: Mutex::default(),
            changes: watch::Sender::new((0, None)),
            silent: AtomicBool::new(false),
            seen: Mutex::default(),
            listeners: Arc::default(),
            upload: Mutex::default(),
            gate: Notify::new(),
            gated: AtomicBool::new(false),
        })
    }

    pub fn change(&self, change: AccessChange) {
        self.changes
            .send_modify(|state| *state = (state.0 + 1, Some(change)));
    }

    pub fn last(&self) -> RequestContext {
        self.seen
            .lock()
            .unwrap()
            .last()
            .expect("a service was called")
            .clone()
    }

    fn note(&self, ctx: &RequestContext) {
        self.seen.lock().unwrap().push(ctx.clone());
    }
}

/// Serves auth on `auth` and niche on `niche`.
pub fn serve(fake: &Arc<Fake>, auth: Listener, niche: Listener, process: &Process) {
    let server = |name| Server::new(name, keyring(name), Clock::system());
    let own = Own(Arc::clone(fake));
    let auth_server = server("auth")
        .service(AccessServiceServer::new(own.clone()))
        .service(SessionServiceServer::new(own.clone()));
    let niche_server = server("niche")
        .service(RecordServiceServer::new(own.clone()))
        .service(ImportServiceServer::new(own));
    process.tasks.spawn(
        "fake.auth",
        auth_server.serve(auth, process.shutdown.clone()),
    );
    process.tasks.spawn(
        "fake.niche",
        niche_server.serve(niche, process.shutdown.clone()),
    );
}

#[derive(Clone)]
struct Own(Arc<Fake>);

type Answer<T> = Result<Response<T>, Status>;
type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn stamp(time: chrono::DateTime<chrono::Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos: 0,
    }
}

#[tonic::async_trait]
impl AccessService for Own {
    async fn resolve_context(
        &self,
        request: Request<ResolveContextRequest>,
    ) -> Answer<ResolveContextResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |_, message| async move {
            fake.resolved.fetch_add(1, Ordering::SeqCst);
            let delay = *fake.resolve_delay.lock().unwrap();
            if !delay.is_zero() {
                // sleeps because a slow auth is what the test asks for
                tokio::time::sleep(delay).await;
            }
            if let Some(code) = *fake.resolve_fails.lock().unwrap() {
                return Err(Error::new(code, "auth.refused", "refused by the test"));
            }
            fake.tenant_headers
                .lock()
                .unwrap()
                .extend(message.tenant_header);
            let known = fake
                .callers
                .lock()
                .unwrap()
                .get(&message.credential)
                .cloned();
            if message.credential == "ann" {
                drop(fake.answers_held.lock().await);
            }
            let ctx = known.ok_or_else(|| {
                Error::new(
                    ErrorCode::InvalidToken,
                    "auth.token_invalid",
                    "the credential is not valid",
                )
            })?;
            let now = Clock::system().now();
            let lives = *fake.context_lives.lock().unwrap();
            Ok(ResolveContextResponse {
                context_token: context_token(&ctx, &Clock::system()),
                expires_at: Some(stamp(now + lives)),
                credential_expires_at: Some(stamp(now + chrono::TimeDelta::seconds(900))),
                actor_type: ctx.principal().kind().to_owned(),
                actor_id: ctx.principal().id().expect("callers have ids").to_string(),
                tenant_id: ctx.tenant_id().map(|id| id.to_string()),
                session_id: None,
                permissions: ctx.permissions().map(str::to_owned).collect(),
            })
        })
        .await
    }

    type WatchAccessStream = Boxed<WatchAccessResponse>;

    async fn watch_access(
        &self,
        request: Request<WatchAccessRequest>,
    ) -> Answer<Self::WatchAccessStream> {
        let fake = Arc::clone(&self.0);
        server_stream(request, |_, _| async move {
            let changes = fake.changes.subscribe();
            let seen = changes.borrow().0;
            Ok(futures::stream::unfold(
                (fake, changes, seen),
                |(fake, mut changes, seen)| async move {
                    loop {
                        if let Ok(Ok(())) =
                            tokio::time::timeout(Duration::from_millis(50), changes.changed()).await
                        {
                            let (sequence, change) = changes.borrow_and_update().clone();
                            if sequence > seen {
                                return Some((
                                    Ok(WatchAccessResponse { sequence, change }),
                                    (fake, changes, sequence),
                                ));
                            }
                        }
                        if !fake.silent.load(Ordering::SeqCst) {
                            return Some((
                                Ok(WatchAccessResponse {
                                    sequence: seen,
                                    change: None,
                                }),
                                (fake, changes, seen),
                            ));
                        }
                    }
                },
            ))
        })
        .await
    }

    async fn provision_tenant(
        &self,
        _: Request<ProvisionTenantRequest>,
    ) -> Answer<ProvisionTenantResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn apply_tenant_access(
        &self,
        _: Request<ApplyTenantAccessRequest>,
    ) -> Answer<ApplyTenantAccessResponse> {
        Err(Status::unimplemented("not in this test"))
    }
}

fn pair() -> TokenPair {
    TokenPair {
        access_token: "a.b.c".into(),
        refresh_token: "r".into(),
        expires_in: 900,
        token_type: "Bearer".into(),
        tenant_id: None,
    }
}

#[tonic::async_trait]
impl SessionService for Own {
    async fn register(&self, request: Request<RegisterRequest>) -> Answer<RegisterResponse> {
        unary(request, |_, _| async {
            Ok(RegisterResponse {
                data: Some(Registration {
                    status: "verification_sent".into(),
                }),
            })
        })
        .await
    }

    async fn verify_email(&self, _: Request<VerifyEmailRequest>) -> Answer<VerifyEmailResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn login(&self, request: Request<LoginRequest>) -> Answer<LoginResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |ctx, message| async move {
            fake.note(&ctx);
            if message.password == "wrong" {
                return Err(Error::new(
                    ErrorCode::InvalidCredentials,
                    "auth.test_only",
                    "e-mail or password is wrong",
                ));
            }
            Ok(LoginResponse { data: Some(pair()) })
        })
        .await
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Answer<RefreshResponse> {
        unary(request, |_, _| async {
            Ok(RefreshResponse { data: Some(pair()) })
        })
        .await
    }

    async fn logout(&self, request: Request<LogoutRequest>) -> Answer<LogoutResponse> {
        unary(request, |_, _| async { Ok(LogoutResponse {}) }).await
    }

    async fn switch_tenant(&self, _: Request<SwitchTenantRequest>) -> Answer<SwitchTenantResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn get_me(&self, request: Request<GetMeRequest>) -> Answer<GetMeResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |ctx, _| async move {
            fake.note(&ctx);
            let id = ctx
                .require_user()
                .map(|id| id.to_string())
                .unwrap_or_default();
            Ok(GetMeResponse {
                data: Some(Me {
                    id,
                    name: "Ann".into(),
                    ..Me::default()
                }),
            })
        })
        .await
    }

    async fn get_jwks(&self, request: Request<GetJwksRequest>) -> Answer<GetJwksResponse> {
        unary(request, |_, _| async {
            Ok(GetJwksResponse { keys: Vec::new() })
        })
        .await
    }
}
