//! The gRPC face: decode, call, encode.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::Stream;
use kernel::{
    Error, ErrorCode, Locale, Principal, RequestContext, Result, TenantId, UserId, Violation,
};
use proto::auth::v1 as pb;
use proto::auth::v1::access_service_server::AccessService;
use proto::auth::v1::session_service_server::SessionService;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use crate::access::{self, Change, Resolved};
use crate::listener::AccessNews;
use crate::memberships::Membership;
use crate::sessions::{self, SignIn, TokenPair};
use crate::tenants::{self, Owner, TenantAccess};
use crate::users::{self, Me, SignUp};
use crate::{App, refresh};

/// A watcher that hears nothing for five seconds distrusts what it has cached, so it hears something every second.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Both services over one `App`.
#[derive(Clone)]
pub struct Api {
    /// What the use cases need.
    pub app: App,
    /// Wakes the streams.
    pub(crate) news: AccessNews,
}

#[tonic::async_trait]
impl SessionService for Api {
    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::RegisterRequest| async move {
            let locale = if input.locale.is_empty() {
                ctx.locale()
            } else {
                Locale::negotiate(&input.locale)
            };
            let sign_up = SignUp {
                email: input.email,
                password: Zeroizing::new(input.password),
                name: input.name,
                locale,
            };
            users::register(&app, &ctx, sign_up).await?;
            Ok(pb::RegisterResponse {
                data: Some(pb::Registration {
                    status: "verification_sent".to_owned(),
                }),
            })
        })
        .await
    }

    async fn verify_email(
        &self,
        request: Request<pb::VerifyEmailRequest>,
    ) -> Result<Response<pb::VerifyEmailResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::VerifyEmailRequest| async move {
            users::verify_email(&app, &ctx, &input.token).await?;
            Ok(pb::VerifyEmailResponse {
                data: Some(pb::EmailVerification {
                    status: "verified".to_owned(),
                }),
            })
        })
        .await
    }

    async fn login(
        &self,
        request: Request<pb::LoginRequest>,
    ) -> Result<Response<pb::LoginResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::LoginRequest| async move {
            let tenant_id = input.tenant_id.as_deref().map(tenant_id).transpose()?;
            let sign_in = SignIn {
                email: input.email,
                password: Zeroizing::new(input.password),
                tenant_id,
            };
            let pair = sessions::login(&app, &ctx, sign_in).await?;
            Ok(pb::LoginResponse {
                data: Some(pair_to_proto(&pair)),
            })
        })
        .await
    }

    async fn refresh(
        &self,
        request: Request<pb::RefreshRequest>,
    ) -> Result<Response<pb::RefreshResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::RefreshRequest| async move {
            let pair = refresh::refresh(&app, &ctx, &input.refresh_token).await?;
            Ok(pb::RefreshResponse {
                data: Some(pair_to_proto(&pair)),
            })
        })
        .await
    }

    async fn logout(
        &self,
        request: Request<pb::LogoutRequest>,
    ) -> Result<Response<pb::LogoutResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::LogoutRequest| async move {
            sessions::logout(&app, &ctx, input.everywhere).await?;
            Ok(pb::LogoutResponse {})
        })
        .await
    }

    async fn switch_tenant(
        &self,
        request: Request<pb::SwitchTenantRequest>,
    ) -> Result<Response<pb::SwitchTenantResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::SwitchTenantRequest| async move {
            let pair = sessions::switch_tenant(&app, &ctx, tenant_id(&input.tenant_id)?).await?;
            Ok(pb::SwitchTenantResponse {
                data: Some(pair_to_proto(&pair)),
            })
        })
        .await
    }

    async fn get_me(
        &self,
        request: Request<pb::GetMeRequest>,
    ) -> Result<Response<pb::GetMeResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, _: pb::GetMeRequest| async move {
            let me = users::me(&app, &ctx).await?;
            Ok(pb::GetMeResponse {
                data: Some(me_to_proto(me)),
            })
        })
        .await
    }

    async fn get_jwks(
        &self,
        request: Request<pb::GetJwksRequest>,
    ) -> Result<Response<pb::GetJwksResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |_, _: pb::GetJwksRequest| async move {
            let jwk = |key: crate::keys::PublicKey| pb::Jwk {
                kty: "RSA".to_owned(),
                r#use: "sig".to_owned(),
                alg: "RS256".to_owned(),
                kid: key.kid,
                n: key.n,
                e: key.e,
            };
            Ok(pb::GetJwksResponse {
                keys: app.access_tokens.keys.public().map(jwk).collect(),
            })
        })
        .await
    }
}

#[tonic::async_trait]
impl AccessService for Api {
    type WatchAccessStream = rpc::Outbound<pb::WatchAccessResponse>;

    async fn resolve_context(
        &self,
        request: Request<pb::ResolveContextRequest>,
    ) -> Result<Response<pb::ResolveContextResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(
            request,
            |ctx, input: pb::ResolveContextRequest| async move {
                let resolved = access::resolve_context(
                    &app,
                    &ctx,
                    &input.credential,
                    input.tenant_header.as_deref(),
                )
                .await?;
                resolved_to_proto(&app, resolved)
            },
        )
        .await
    }

    async fn watch_access(
        &self,
        request: Request<pb::WatchAccessRequest>,
    ) -> Result<Response<Self::WatchAccessStream>, Status> {
        let (app, news) = (self.app.clone(), self.news.clone());
        rpc::server_stream(request, |_, input: pb::WatchAccessRequest| async move {
            Ok(watch(app, news, input.after_sequence.max(0)))
        })
        .await
    }

    async fn provision_tenant(
        &self,
        request: Request<pb::ProvisionTenantRequest>,
    ) -> Result<Response<pb::ProvisionTenantResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(
            request,
            |ctx, input: pb::ProvisionTenantRequest| async move {
                let access = access_from_proto(input.access)?;
                require_own_tenant(&ctx, &access)?;
                let owner =
                    owner_from_proto(input.owner_user_id, input.owner_email, input.owner_name)?;
                let user_id = tenants::provision(&app, &ctx, &access, owner).await?;
                let owner_user_id = user_id
                    .ok_or_else(|| Error::internal("a tenant was provisioned without an owner"))?
                    .to_string();
                Ok(pb::ProvisionTenantResponse { owner_user_id })
            },
        )
        .await
    }

    async fn apply_tenant_access(
        &self,
        request: Request<pb::ApplyTenantAccessRequest>,
    ) -> Result<Response<pb::ApplyTenantAccessResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(
            request,
            |ctx, input: pb::ApplyTenantAccessRequest| async move {
                let access = access_from_proto(input.access)?;
                require_own_tenant(&ctx, &access)?;
                tenants::apply_access(&app, &ctx, &access).await?;
                Ok(pb::ApplyTenantAccessResponse {})
            },
        )
        .await
    }
}

/// The signed token says in which tenant the caller works; what the message says must be the same.
fn require_own_tenant(ctx: &RequestContext, access: &TenantAccess) -> Result<()> {
    if ctx.tenant_id() == Some(access.tenant_id) {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::TenantMismatch,
        "auth.other_tenant_named",
        "the message speaks of another tenant than the caller works in",
    ))
}

struct Watch {
    app: App,
    news: AccessNews,
    after: i64,
    first: bool,
    pending: VecDeque<pb::WatchAccessResponse>,
}

/// Changes as they are committed, and a heartbeat each second in which the database was really asked: silence means "do not trust".
fn watch(
    app: App,
    news: AccessNews,
    after: i64,
) -> impl Stream<Item = Result<pb::WatchAccessResponse>> {
    let state = Watch {
        app,
        news,
        after,
        first: true,
        pending: VecDeque::new(),
    };
    futures::stream::try_unfold(state, |mut watch| async move {
        if watch.pending.is_empty() {
            // The first look is at once, so that the watcher knows where it stands.
            if !std::mem::take(&mut watch.first) {
                watch.news.wait(HEARTBEAT).await;
            }
            let ctx = watch.app.own_context("watch");
            let news = access::news_after(&watch.app, &ctx, watch.after).await?;
            watch.after = news.sequence;
            watch.pending.extend(
                news.changes
                    .into_iter()
                    .map(|(sequence, change)| change_to_proto(sequence, change)),
            );
            if watch.pending.is_empty() {
                watch.pending.push_back(pb::WatchAccessResponse {
                    sequence: news.sequence,
                    change: None,
                });
            }
        }
        let next = watch.pending.pop_front();
        Ok(next.map(|next| (next, watch)))
    })
}

fn change_to_proto(sequence: i64, change: Change) -> pb::WatchAccessResponse {
    let text = |id: Option<uuid::Uuid>| id.map(|id| id.to_string());
    let change = pb::AccessChange {
        tenant_id: text(change.tenant_id),
        actor_id: text(change.actor_id),
        session_id: text(change.session_id),
    };
    pb::WatchAccessResponse {
        sequence,
        change: Some(change),
    }
}

fn resolved_to_proto(app: &App, resolved: Resolved) -> Result<pb::ResolveContextResponse> {
    let (actor_id, session_id) = match &resolved.principal {
        Principal::User {
            user_id,
            session_id,
        }
        | Principal::Platform {
            user_id,
            session_id,
        } => (user_id.to_string(), *session_id),
        Principal::Service { id } => (id.to_string(), None),
        Principal::Anonymous | Principal::Internal { .. } => (String::new(), None),
    };
    Ok(pb::ResolveContextResponse {
        context_token: access::mint_context(app, &resolved)?,
        expires_at: Some(timestamp(resolved.expires_at)),
        credential_expires_at: Some(timestamp(resolved.credential_expires_at)),
        actor_type: resolved.principal.kind().to_owned(),
        actor_id,
        tenant_id: resolved.tenant_id.map(|id| id.to_string()),
        session_id: session_id.map(|id| id.to_string()),
        permissions: resolved.permissions,
    })
}

fn pair_to_proto(pair: &TokenPair) -> pb::TokenPair {
    pb::TokenPair {
        access_token: pair.access_token.clone(),
        refresh_token: pair.refresh_token.to_string(),
        expires_in: pair.expires_in,
        token_type: "Bearer".to_owned(),
        tenant_id: pair.tenant_id.map(|id| id.to_string()),
    }
}

fn me_to_proto(me: Me) -> pb::Me {
    pb::Me {
        id: me.identity.id.to_string(),
        email: me.identity.email,
        name: me.identity.name,
        locale: me.identity.locale.as_str().to_owned(),
        r#type: me.kind.to_owned(),
        tenant_id: me.tenant_id.map(|id| id.to_string()),
        memberships: me
            .memberships
            .into_iter()
            .map(membership_to_proto)
            .collect(),
        permissions: me.permissions,
    }
}

fn membership_to_proto(membership: Membership) -> pb::Membership {
    pb::Membership {
        tenant_id: membership.tenant_id.to_string(),
        tenant_slug: membership.slug,
        tenant_name: membership.name,
        tenant_status: membership.tenant_status,
        roles: membership.roles,
        status: membership.status,
        created_at: Some(timestamp(membership.created_at)),
    }
}

fn access_from_proto(access: Option<pb::TenantAccess>) -> Result<TenantAccess> {
    // The contract requires it, so its absence is ours.
    let access = access.ok_or_else(|| Error::internal("a required message is missing"))?;
    Ok(TenantAccess {
        tenant_id: tenant_id(&access.tenant_id)?,
        version: access.version,
        slug: access.slug,
        name: access.name,
        status: access.status,
        entitled_actions: access.entitled_actions,
    })
}

fn owner_from_proto(
    user_id: Option<String>,
    email: Option<String>,
    name: Option<String>,
) -> Result<Owner> {
    match (user_id, email) {
        (Some(user_id), None) => Ok(Owner::Known(
            user_id.parse::<UserId>().map_err(Error::internal)?,
        )),
        (None, Some(email)) => Ok(Owner::Named {
            name: name.unwrap_or_else(|| email.clone()),
            email,
        }),
        _ => {
            let violation = Violation::new(
                "owner_user_id",
                "owner.one_of",
                "either the id or the address of the owner must be set",
            );
            Err(Error::invalid(vec![violation]))
        }
    }
}

/// The contract has checked the form already, so a failure here is ours.
fn tenant_id(text: &str) -> Result<TenantId> {
    text.parse().map_err(Error::internal)
}

fn timestamp(at: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or(0),
    }
}
