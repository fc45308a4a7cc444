//! Tenants: coming into being, being read, being suspended.

pub mod store;

use chrono::{DateTime, Utc};
use db::cursor::Scope;
use db::{AuditEntry, Once, Tx};
use kernel::{
    Error, ErrorCode, Page, PageRequest, RequestContext, Result, SortOrder, TenantId, UserId,
    Violation,
};
use proto::auth::v1::{ApplyTenantAccessRequest, ProvisionTenantRequest, TenantAccess};
use proto::tenant::v1::{
    CreateTenantRequest, CreateTenantResponse, TenantCreated, TenantPackageAssigned,
    TenantStatusChanged,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::App;

/// The package of a tenant that names none.
pub const PACKAGE_KEY_DEFAULT: &str = "starter";

/// A customer of the platform as the directory knows it.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub tenant_id: Uuid,
    pub slug: String,
    pub name: String,
    pub status: String,
    pub suspended_reason: Option<String>,
    pub version: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub package_keys: Vec<String>,
}

/// What narrows a list of tenants.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TenantFilter {
    pub status: String,
    pub text: String,
    pub created_from: Option<DateTime<Utc>>,
    pub created_to: Option<DateTime<Utc>>,
    pub ascending: bool,
}

/// Where a page of a list ended.
#[derive(Serialize, Deserialize)]
pub struct Position {
    pub created_at: DateTime<Utc>,
    pub id: Uuid,
}

/// Who owns a new tenant.
enum Owner {
    /// The caller.
    Caller(UserId),
    /// Somebody whom platform staff names.
    Named { email: String, name: String },
}

/// Creates a tenant with its package and its owner, as one command.
///
/// With the same `Idempotency-Key` the first answer comes again. A taken slug fails with `DUPLICATE_RESOURCE`, an unknown
/// package with a violation. Emits `tenant.created` and `tenant.package.assigned`.
///
/// The caller becomes owner even if auth is down at this moment: the event brings it about as soon as auth is back.
/// A named owner is provisioned before the commit, because an address must not travel in an event. Should this process die between the two,
/// auth knows a tenant that does not exist yet; the repetition with the same key brings that very one into being.
pub async fn create_tenant(
    app: &App,
    ctx: &RequestContext,
    request: &CreateTenantRequest,
) -> Result<CreateTenantResponse> {
    let owner = owner_of(ctx, request)?;
    let mut tx = match app.db.once(ctx, request).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::Fresh(tx) => tx,
    };
    let package_key = if request.package_key.is_empty() {
        PACKAGE_KEY_DEFAULT
    } else {
        &request.package_key
    };
    let actions = store::list_package_actions(&mut tx, package_key).await?;
    if actions.is_empty() {
        return Err(unknown_package(&mut tx, package_key).await?);
    }
    let now = app.clock.now();
    let tenant = Tenant {
        tenant_id: id_of(app, ctx, &owner, request),
        slug: request.slug.clone(),
        name: request.name.trim().to_owned(),
        status: "active".to_owned(),
        suspended_reason: None,
        version: 1,
        created_at: now,
        updated_at: now,
        package_keys: vec![package_key.to_owned()],
    };
    let tenant_id = TenantId(tenant.tenant_id);
    tx.enter(tenant_id).await?;
    store::insert_tenant(&mut tx, &tenant).await?;
    store::insert_tenant_package(&mut tx, tenant_id, package_key, now).await?;
    record_creation(&mut tx, &tenant, &actions, &owner)?;

    let provision = provision_request(&tenant, actions, &owner);
    if matches!(owner, Owner::Named { .. }) {
        provision_now(app, &ctx.within(tenant_id), provision.clone()).await?;
    }
    let answer = CreateTenantResponse {
        data: Some(crate::grpc::tenant_to_proto(&tenant)),
    };
    tx.commit_with(&answer).await?;
    if matches!(owner, Owner::Caller(_)) {
        provision_soon(app, &ctx.within(tenant_id), provision).await;
    }
    Ok(answer)
}

/// Reads one tenant: the caller's own, or any one for platform staff.
pub async fn get_tenant(app: &App, ctx: &RequestContext, tenant_id: TenantId) -> Result<Tenant> {
    let mut tx = open_scope(app, ctx, tenant_id).await?;
    let tenant = store::find_tenant(&mut tx, tenant_id)
        .await?
        .ok_or_else(not_found)?;
    tx.commit().await?;
    Ok(tenant)
}

/// Lists tenants: all for platform staff, the caller's own for everybody else who may read it by [`get_tenant`].
pub async fn list_tenants(
    app: &App,
    ctx: &RequestContext,
    filter: &TenantFilter,
    page: &PageRequest,
) -> Result<Page<Tenant>> {
    let scope = Scope::new(ctx.method(), filter);
    let after: Option<Position> = app.sealer.open(ctx, &scope, &page.cursor)?;
    let rows = if ctx.is_platform() {
        let mut tx = app
            .db
            .across_tenants(ctx, "platform staff lists the tenant directory")
            .await?;
        let rows =
            store::list_directory(&mut tx, filter, after.as_ref(), page.rows_to_read()).await?;
        tx.commit().await?;
        rows
    } else if let Some(tenant_id) = ctx.tenant_id().filter(|_| ctx.may("tenants.read")) {
        let mut tx = app.db.tenant(ctx).await?;
        let row = store::find_tenant(&mut tx, tenant_id).await?;
        tx.commit().await?;
        row.into_iter()
            .filter(|tenant| after.is_none() && filter.admits(tenant))
            .collect()
    } else {
        Vec::new()
    };
    Page::cut(rows, page, |last| {
        app.sealer.seal(
            ctx,
            &scope,
            &Position {
                created_at: last.created_at,
                id: last.tenant_id,
            },
        )
    })
}

/// Suspends a tenant. Its members are refused within a second; nothing is deleted. Suspending again changes nothing.
pub async fn suspend_tenant(
    app: &App,
    ctx: &RequestContext,
    tenant_id: TenantId,
    reason: &str,
) -> Result<Tenant> {
    change_status(app, ctx, tenant_id, Some(reason)).await
}

/// Lifts a suspension. Reactivating an active tenant changes nothing.
pub async fn reactivate_tenant(
    app: &App,
    ctx: &RequestContext,
    tenant_id: TenantId,
) -> Result<Tenant> {
    change_status(app, ctx, tenant_id, None).await
}

async fn change_status(
    app: &App,
    ctx: &RequestContext,
    tenant_id: TenantId,
    suspended_reason: Option<&str>,
) -> Result<Tenant> {
    let status = if suspended_reason.is_some() {
        "suspended"
    } else {
        "active"
    };
    let mut tx = app.db.tenant_of(ctx, tenant_id).await?;
    let mut tenant = store::lock_tenant(&mut tx, tenant_id)
        .await?
        .ok_or_else(not_found)?;
    if tenant.status == status {
        tx.commit().await?;
        return Ok(tenant);
    }
    tenant.status = status.to_owned();
    tenant.suspended_reason = suspended_reason.map(str::to_owned);
    tenant.version += 1;
    tenant.updated_at = app.clock.now();
    store::update_status(&mut tx, &tenant).await?;
    let actions = store::list_entitled_actions(&mut tx, tenant_id).await?;
    emit_access(&mut tx, &tenant, &actions)?;
    let action = if suspended_reason.is_some() {
        "tenants.suspend"
    } else {
        "tenants.reactivate"
    };
    tx.audit(
        AuditEntry::new(action, "tenant", tenant_id).with(json!({ "version": tenant.version })),
    )?;
    tx.commit().await?;
    let request = ApplyTenantAccessRequest {
        access: Some(access_of(&tenant, actions)),
    };
    apply_soon(app, &ctx.within(tenant_id), request).await;
    Ok(tenant)
}

/// Tells auth again what every tenant may use, after the catalogue changed. Returns how many tenants there are.
pub async fn refresh_entitlements(app: &App, ctx: &RequestContext) -> Result<usize> {
    let filter = TenantFilter {
        ascending: true,
        ..TenantFilter::default()
    };
    let mut after: Option<Position> = None;
    let mut refreshed = 0;
    loop {
        let mut tx = app
            .db
            .across_tenants(
                ctx,
                "the catalogue changed, so every tenant's entitlements are told anew",
            )
            .await?;
        let tenants = store::list_directory(&mut tx, &filter, after.as_ref(), 100).await?;
        tx.commit().await?;
        let Some(last) = tenants.last() else {
            return Ok(refreshed);
        };
        after = Some(Position {
            created_at: last.created_at,
            id: last.tenant_id,
        });
        for tenant in &tenants {
            refresh_one(app, ctx, TenantId(tenant.tenant_id)).await?;
            refreshed += 1;
        }
    }
}

async fn refresh_one(app: &App, ctx: &RequestContext, tenant_id: TenantId) -> Result<()> {
    let mut tx = app.db.tenant_of(ctx, tenant_id).await?;
    if let Some(mut tenant) = store::lock_tenant(&mut tx, tenant_id).await? {
        tenant.version += 1;
        tenant.updated_at = app.clock.now();
        store::update_status(&mut tx, &tenant).await?;
        let actions = store::list_entitled_actions(&mut tx, tenant_id).await?;
        emit_access(&mut tx, &tenant, &actions)?;
    }
    tx.commit().await
}

/// A new id. For a named owner, whom auth hears of before anything is permanent here, it follows from the key, so that a repetition
/// means the same tenant.
fn id_of(app: &App, ctx: &RequestContext, owner: &Owner, request: &CreateTenantRequest) -> Uuid {
    let (Owner::Named { email, .. }, Some(key)) = (owner, ctx.idempotency_key()) else {
        return app.ids.next();
    };
    let caller = ctx.principal().id().unwrap_or(Uuid::nil()).to_string();
    let mut hash = Sha256::new();
    for part in [caller.as_str(), key, request.slug.as_str(), email.as_str()] {
        // The length keeps `ab` + `c` apart from `a` + `bc`.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn owner_of(ctx: &RequestContext, request: &CreateTenantRequest) -> Result<Owner> {
    match (&request.admin_user, ctx.is_platform()) {
        (Some(person), true) => Ok(Owner::Named {
            email: person.email.clone(),
            name: person.name.clone(),
        }),
        (Some(_), false) => Err(Error::invalid(vec![Violation::new(
            "admin_user",
            "tenant.admin_user_not_allowed",
            "only platform staff may name the first owner; leave `adminUser` out to become the owner yourself",
        )])),
        (None, true) => Err(Error::invalid(vec![Violation::new(
            "admin_user",
            "required",
            "platform staff owns no tenant; name its first owner in `adminUser`",
        )])),
        (None, false) => Ok(Owner::Caller(ctx.require_user()?)),
    }
}

async fn unknown_package(tx: &mut Tx, package_key: &str) -> Result<Error> {
    let known = store::list_package_keys(tx).await?.join(", ");
    let violation = Violation::new(
        "package_key",
        "tenant.package_unknown",
        format!("there is no package of this name; choose one of: {known}"),
    );
    tracing::debug!(package = package_key, "unknown package");
    Ok(Error::invalid(vec![violation.with("known", known)]))
}

fn record_creation(tx: &mut Tx, tenant: &Tenant, actions: &[String], owner: &Owner) -> Result<()> {
    tx.emit(
        tenant.tenant_id,
        &TenantCreated {
            tenant_id: tenant.tenant_id.to_string(),
            version: tenant.version,
            slug: tenant.slug.clone(),
            name: tenant.name.clone(),
            entitled_actions: actions.to_vec(),
            owner_user_id: match owner {
                Owner::Caller(user_id) => user_id.to_string(),
                Owner::Named { .. } => String::new(),
            },
        },
    )?;
    for package_key in &tenant.package_keys {
        tx.emit(
            tenant.tenant_id,
            &TenantPackageAssigned {
                tenant_id: tenant.tenant_id.to_string(),
                package_key: package_key.clone(),
            },
        )?;
    }
    tx.audit(
        AuditEntry::new("tenants.create", "tenant", tenant.tenant_id)
            .with(json!({ "packages": tenant.package_keys })),
    )
}

fn emit_access(tx: &mut Tx, tenant: &Tenant, actions: &[String]) -> Result<()> {
    tx.emit(
        tenant.tenant_id,
        &TenantStatusChanged {
            tenant_id: tenant.tenant_id.to_string(),
            version: tenant.version,
            slug: tenant.slug.clone(),
            name: tenant.name.clone(),
            status: tenant.status.clone(),
            entitled_actions: actions.to_vec(),
        },
    )
}

fn access_of(tenant: &Tenant, entitled_actions: Vec<String>) -> TenantAccess {
    TenantAccess {
        tenant_id: tenant.tenant_id.to_string(),
        version: tenant.version,
        slug: tenant.slug.clone(),
        name: tenant.name.clone(),
        status: tenant.status.clone(),
        entitled_actions,
    }
}

fn provision_request(
    tenant: &Tenant,
    actions: Vec<String>,
    owner: &Owner,
) -> ProvisionTenantRequest {
    let mut request = ProvisionTenantRequest {
        access: Some(access_of(tenant, actions)),
        ..Default::default()
    };
    match owner {
        Owner::Caller(user_id) => request.owner_user_id = Some(user_id.to_string()),
        Owner::Named { email, name } => {
            request.owner_email = Some(email.clone());
            request.owner_name = Some(name.clone());
        }
    }
    request
}

async fn provision_now(
    app: &App,
    ctx: &RequestContext,
    request: ProvisionTenantRequest,
) -> Result<()> {
    let request = app.auth_peer.request(ctx, request);
    app.auth
        .clone()
        .provision_tenant(request)
        .await
        .map_err(rpc::from_peer)?;
    Ok(())
}

/// Spares the caller the moment until the event arrives; its failure costs nothing but that moment.
async fn provision_soon(app: &App, ctx: &RequestContext, request: ProvisionTenantRequest) {
    if let Err(error) = provision_now(app, ctx, request).await {
        tracing::warn!(error.code = %error.error_code(), "auth did not answer; the event provisions the owner: {}", error.chain());
    }
}

/// Makes a change of status felt at once; the event makes sure of it.
async fn apply_soon(app: &App, ctx: &RequestContext, request: ApplyTenantAccessRequest) {
    let applied = async {
        let request = app.auth_peer.request(ctx, request);
        app.auth
            .clone()
            .apply_tenant_access(request)
            .await
            .map_err(rpc::from_peer)
    };
    if let Err(error) = applied.await {
        tracing::warn!(error.code = %error.error_code(), "auth did not answer; the event applies the status: {}", error.chain());
    }
}

/// Platform staff acts inside the tenant it names; everybody else stays in their own, where a foreign id does not exist.
async fn open_scope(app: &App, ctx: &RequestContext, tenant_id: TenantId) -> Result<Tx> {
    if ctx.is_platform() {
        app.db.tenant_of(ctx, tenant_id).await
    } else {
        app.db.tenant(ctx).await
    }
}

fn not_found() -> Error {
    Error::not_found("tenant.not_found", "there is no such tenant")
}

/// A slug that is taken, by whomever.
pub fn slug_taken() -> Error {
    Error::new(
        ErrorCode::DuplicateResource,
        "tenant.slug_taken",
        "this slug is taken; choose another",
    )
    .with_detail("field", "slug")
}

impl TenantFilter {
    /// Reads the order as it stands in a request.
    pub fn order(sort: &str) -> bool {
        SortOrder::parse(sort) == SortOrder::Ascending
    }

    fn admits(&self, tenant: &Tenant) -> bool {
        let text = self.text.to_lowercase();
        (self.status.is_empty() || tenant.status == self.status)
            && (tenant.name.to_lowercase().contains(&text) || tenant.slug.contains(&text))
            && self
                .created_from
                .is_none_or(|from| tenant.created_at >= from)
            && self.created_to.is_none_or(|to| tenant.created_at < to)
    }
}
