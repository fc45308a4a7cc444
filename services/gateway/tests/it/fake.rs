//! Services that answer what a test tells them, served by the product's own gRPC server: tokens, policies and rules are real.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kernel::{Clock, Error, ErrorCode, RequestContext, Violation};
use proto::auth::v1::access_service_server::{AccessService, AccessServiceServer};
use proto::auth::v1::session_service_server::{SessionService, SessionServiceServer};
use proto::auth::v1::*;
use proto::niche::v1::import_service_server::{ImportService, ImportServiceServer};
use proto::niche::v1::record_service_server::{RecordService, RecordServiceServer};
use proto::niche::v1::*;
use rpc::{Listener, Server, client_stream, server_stream, unary};
use runtime::Process;
use testkit::{context_token, keyring};
use tokio::sync::{Notify, watch};
use tonic::{Request, Response, Status, Streaming};

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
        self.changes.send_modify(|state| *state = (state.0 + 1, Some(change)));
    }

    pub fn last(&self) -> RequestContext {
        self.seen.lock().unwrap().last().expect("a service was called").clone()
    }

    fn note(&self, ctx: &RequestContext) {
        self.seen.lock().unwrap().push(ctx.clone());
    }
}

/// Serves auth on `auth` and niche on `niche`.
pub fn serve(fake: &Arc<Fake>, auth: Listener, niche: Listener, process: &Process) {
    let server = |name| Server::new(name, keyring(name), Clock::system());
    let own = Own(Arc::clone(fake));
    let auth_server = server("auth").service(AccessServiceServer::new(own.clone())).service(SessionServiceServer::new(own.clone()));
    let niche_server = server("niche").service(RecordServiceServer::new(own.clone())).service(ImportServiceServer::new(own));
    process.tasks.spawn("fake.auth", auth_server.serve(auth, process.shutdown.clone()));
    process.tasks.spawn("fake.niche", niche_server.serve(niche, process.shutdown.clone()));
}

#[derive(Clone)]
struct Own(Arc<Fake>);

type Answer<T> = Result<Response<T>, Status>;
type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn stamp(time: chrono::DateTime<chrono::Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.timestamp(), nanos: 0 }
}

#[tonic::async_trait]
impl AccessService for Own {
    async fn resolve_context(&self, request: Request<ResolveContextRequest>) -> Answer<ResolveContextResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |_, message| async move {
            fake.resolved.fetch_add(1, Ordering::SeqCst);
            let delay = *fake.resolve_delay.lock().unwrap();
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if let Some(code) = *fake.resolve_fails.lock().unwrap() {
                return Err(Error::new(code, "auth.refused", "refused by the test"));
            }
            fake.tenant_headers.lock().unwrap().extend(message.tenant_header);
            let known = fake.callers.lock().unwrap().get(&message.credential).cloned();
            let ctx = known.ok_or_else(|| Error::new(ErrorCode::InvalidToken, "auth.token_invalid", "the credential is not valid"))?;
            let now = Clock::system().now();
            Ok(ResolveContextResponse {
                context_token: context_token(&ctx, &Clock::system()),
                expires_at: Some(stamp(now + chrono::TimeDelta::seconds(55))),
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

    async fn watch_access(&self, request: Request<WatchAccessRequest>) -> Answer<Self::WatchAccessStream> {
        let fake = Arc::clone(&self.0);
        server_stream(request, |_, _| async move {
            let changes = fake.changes.subscribe();
            let seen = changes.borrow().0;
            Ok(futures::stream::unfold((fake, changes, seen), |(fake, mut changes, seen)| async move {
                loop {
                    if let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(50), changes.changed()).await {
                        let (sequence, change) = changes.borrow_and_update().clone();
                        if sequence > seen {
                            return Some((Ok(WatchAccessResponse { sequence, change }), (fake, changes, sequence)));
                        }
                    }
                    if !fake.silent.load(Ordering::SeqCst) {
                        return Some((Ok(WatchAccessResponse { sequence: seen, change: None }), (fake, changes, seen)));
                    }
                }
            }))
        })
        .await
    }

    async fn provision_tenant(&self, _: Request<ProvisionTenantRequest>) -> Answer<ProvisionTenantResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn apply_tenant_access(&self, _: Request<ApplyTenantAccessRequest>) -> Answer<ApplyTenantAccessResponse> {
        Err(Status::unimplemented("not in this test"))
    }
}

fn pair() -> TokenPair {
    TokenPair { access_token: "a.b.c".into(), refresh_token: "r".into(), expires_in: 900, token_type: "Bearer".into(), tenant_id: None }
}

#[tonic::async_trait]
impl SessionService for Own {
    async fn register(&self, request: Request<RegisterRequest>) -> Answer<RegisterResponse> {
        unary(request, |_, _| async { Ok(RegisterResponse { data: Some(Registration { status: "verification_sent".into() }) }) }).await
    }

    async fn verify_email(&self, _: Request<VerifyEmailRequest>) -> Answer<VerifyEmailResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn login(&self, request: Request<LoginRequest>) -> Answer<LoginResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |ctx, message| async move {
            fake.note(&ctx);
            if message.password == "wrong" {
                return Err(Error::new(ErrorCode::InvalidCredentials, "auth.test_only", "e-mail or password is wrong"));
            }
            Ok(LoginResponse { data: Some(pair()) })
        })
        .await
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Answer<RefreshResponse> {
        unary(request, |_, _| async { Ok(RefreshResponse { data: Some(pair()) }) }).await
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
            let id = ctx.require_user().map(|id| id.to_string()).unwrap_or_default();
            Ok(GetMeResponse { data: Some(Me { id, name: "Ann".into(), ..Me::default() }) })
        })
        .await
    }

    async fn get_jwks(&self, request: Request<GetJwksRequest>) -> Answer<GetJwksResponse> {
        unary(request, |_, _| async { Ok(GetJwksResponse { keys: Vec::new() }) }).await
    }
}

fn record(data: Option<prost_types::Struct>, version: i32) -> Record {
    let time = stamp(chrono::DateTime::from_timestamp(1_780_000_000, 0).unwrap());
    Record { id: RECORD.into(), niche: "catalog".into(), entity: "package".into(), data, version, created_at: Some(time), updated_at: Some(time) }
}

fn text(text: impl Into<String>) -> prost_types::Value {
    prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.into())) }
}

/// Fails or stalls as the record asks: `{"fail": "conflict"}`.
async fn misbehave(data: &Option<prost_types::Struct>) -> kernel::Result<()> {
    let wish = data.as_ref().and_then(|data| data.fields.get("fail")).and_then(|value| value.kind.as_ref());
    let Some(prost_types::value::Kind::StringValue(wish)) = wish else { return Ok(()) };
    match wish.as_str() {
        "slow" => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok(())
        }
        "panic" => panic!("as the test wished"),
        "internal" => Err(Error::internal("select secret from table")),
        "form" => Err(Error::invalid(vec![
            Violation::new("data.home_page", "string.min_len", "too short").with("min", 3),
            Violation::new("data.name", "form.unheard_of", "only in english"),
        ])),
        code => Err(Error::new(ErrorCode::parse(code).expect("a public code"), "niche.test_only", "as the test wished").with_detail("seconds", 3)),
    }
}

#[tonic::async_trait]
impl RecordService for Own {
    async fn create_record(&self, request: Request<CreateRecordRequest>) -> Answer<CreateRecordResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |ctx, message| async move {
            fake.note(&ctx);
            misbehave(&message.data).await?;
            if ctx.idempotency_key() == Some("again") {
                ctx.mark_replayed();
            }
            Ok(CreateRecordResponse { data: Some(record(message.data, 1)) })
        })
        .await
    }

    async fn list_records(&self, request: Request<ListRecordsRequest>) -> Answer<ListRecordsResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |ctx, message| async move {
            fake.note(&ctx);
            let told = format!("{}|{}|{}|{:?}", message.facet.join("+"), message.sort, message.cursor, message.created_at_from.map(|t| (t.seconds, t.nanos)));
            let data = prost_types::Struct { fields: [("told".to_owned(), text(told)), ("filler".to_owned(), text("x".repeat(40)))].into() };
            let rows = vec![record(Some(data), 1); usize::try_from(message.limit).unwrap()];
            let meta = proto::tenantry::api::v1::PageMeta { next_cursor: None, has_more: false };
            Ok(ListRecordsResponse { data: rows, meta: Some(meta) })
        })
        .await
    }

    async fn get_record(&self, request: Request<GetRecordRequest>) -> Answer<GetRecordResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |ctx, message| async move {
            fake.note(&ctx);
            if message.record_id != RECORD {
                return Err(Error::not_found("niche.record_not_found", "there is no such record"));
            }
            Ok(GetRecordResponse { data: Some(record(None, 7)) })
        })
        .await
    }

    async fn update_record(&self, request: Request<UpdateRecordRequest>) -> Answer<UpdateRecordResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |ctx, message| async move {
            fake.note(&ctx);
            let mut data = message.data.unwrap_or_default();
            data.fields.insert("mask".to_owned(), text(message.update_mask.unwrap_or_default().paths.join(",")));
            Ok(UpdateRecordResponse { data: Some(record(Some(data), message.version.unwrap_or(0) + 1)) })
        })
        .await
    }

    async fn delete_record(&self, request: Request<DeleteRecordRequest>) -> Answer<DeleteRecordResponse> {
        unary(request, |_, _| async { Ok(DeleteRecordResponse {}) }).await
    }

    async fn batch_get_search_documents(&self, _: Request<BatchGetSearchDocumentsRequest>) -> Answer<BatchGetSearchDocumentsResponse> {
        Err(Status::unimplemented("not in this test"))
    }
}

/// Counts a listener for as long as its stream lives.
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl ImportService for Own {
    async fn create_import(&self, request: Request<Streaming<CreateImportRequest>>) -> Answer<CreateImportResponse> {
        let fake = Arc::clone(&self.0);
        client_stream(request, |ctx, mut stream| async move {
            fake.note(&ctx);
            let mut first = true;
            loop {
                let message = match stream.next().await {
                    Ok(Some(message)) => message,
                    Ok(None) => break,
                    Err(error) => {
                        fake.upload.lock().unwrap().broken = true;
                        return Err(error);
                    }
                };
                let file = message.file.unwrap_or_default();
                {
                    let mut upload = fake.upload.lock().unwrap();
                    if std::mem::take(&mut first) {
                        upload.params = Some((message.niche, message.entity, message.dry_run, message.mapping));
                        upload.content_type = file.content_type;
                    }
                    upload.bytes += file.data.len() as u64;
                    upload.sum += file.data.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                    upload.largest_part = upload.largest_part.max(file.data.len());
                }
                if fake.gated.load(Ordering::SeqCst) {
                    fake.gate.notified().await;
                }
            }
            let mut upload = fake.upload.lock().unwrap();
            upload.complete = true;
            Ok(CreateImportResponse { data: Some(Import { id: SHORT.into(), file_bytes: i64::try_from(upload.bytes).unwrap(), ..Import::default() }) })
        })
        .await
    }

    async fn list_imports(&self, _: Request<ListImportsRequest>) -> Answer<ListImportsResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn get_import(&self, _: Request<GetImportRequest>) -> Answer<GetImportResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn list_import_errors(&self, _: Request<ListImportErrorsRequest>) -> Answer<ListImportErrorsResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    type WatchImportStream = Boxed<WatchImportResponse>;

    async fn watch_import(&self, request: Request<WatchImportRequest>) -> Answer<Self::WatchImportStream> {
        let fake = Arc::clone(&self.0);
        server_stream(request, |_, message| async move {
            let state = |rows| Ok(WatchImportResponse { data: Some(Import { id: SHORT.into(), processed_rows: rows, ..Import::default() }) });
            let failure = || Err(Error::new(ErrorCode::Conflict, "niche.test_only", "as the test wished"));
            let first: Vec<kernel::Result<WatchImportResponse>> = match message.import_id.as_str() {
                SHORT => vec![state(1), state(2), state(3)],
                BROKEN => vec![state(1), failure()],
                SILENT => vec![state(0)],
                _ => return Err(Error::not_found("niche.import_not_found", "there is no such import")),
            };
            let goes_on = message.import_id == SILENT;
            fake.listeners.fetch_add(1, Ordering::SeqCst);
            let guard = Counted(Arc::clone(&fake.listeners));
            let rest = futures::stream::once(async move {
                let _guard = guard;
                if goes_on {
                    std::future::pending::<()>().await;
                }
                None
            });
            Ok(futures::stream::iter(first).map(Some).chain(rest).filter_map(std::future::ready))
        })
        .await
    }

    async fn cancel_import(&self, request: Request<CancelImportRequest>) -> Answer<CancelImportResponse> {
        unary(request, |_, message| async { Ok(CancelImportResponse { data: Some(Import { id: message.import_id, ..Import::default() }) }) }).await
    }
}
