//! What happens beside requests: events of other services, mail, and sweeping up.

use std::time::Duration;

use chrono::TimeDelta;
use events::{Broker, Delivery};
use kernel::{Result, UserId};
use proto::Event as _;
use proto::tenant::v1 as tenant_pb;
use runtime::{Process, Shutdown};

use crate::tenants::{Owner, TenantAccess};
use crate::{App, access, attempts, events_used, mails, refresh, sessions, tenants, users};

/// How often the mail queue is looked at: a person waits for the first mail.
const MAIL_PAUSE: Duration = Duration::from_millis(500);
/// How often what has expired is removed.
const SWEEP_PAUSE: Duration = Duration::from_secs(300);
/// Rows that one statement of a sweep removes at most, so that it stays far from the statement timeout.
const SWEEP_ROWS: i64 = 5_000;
/// How long what has ended is kept: long enough to recognise a stolen token that comes back late, and to look into complaints.
const KEPT: TimeDelta = TimeDelta::days(7);
/// How long changes of access are kept: far longer than any context token lives.
const CHANGES_KEPT: TimeDelta = TimeDelta::hours(1);

/// Works until shutdown.
pub async fn run(app: App, broker: Broker, process: &Process) {
    let shutdown = process.shutdown.clone();
    let (mail_app, mail_end) = (app.clone(), shutdown.clone());
    process
        .tasks
        .supervise("auth-mails", shutdown.clone(), move || {
            send_mails(mail_app.clone(), mail_end.clone())
        });
    let (sweep_app, sweep_end) = (app.clone(), shutdown.clone());
    process
        .tasks
        .supervise("auth-sweeps", shutdown.clone(), move || {
            sweep_regularly(sweep_app.clone(), sweep_end.clone())
        });
    events::consume(
        broker,
        events_used::tenants_queue(),
        shutdown,
        move |delivery| tenant_changed(app.clone(), delivery),
    )
    .await;
}

/// Applies `tenant.created` and `tenant.status.changed`.
///
/// Both are guarded by the tenant's version and by what is there already, so a second delivery has no effect and needs no inbox.
pub async fn tenant_changed(app: App, delivery: Delivery) -> Result<()> {
    let ctx = &delivery.ctx;
    if delivery.event_type() == tenant_pb::TenantCreated::TYPE {
        let event: tenant_pb::TenantCreated = delivery.payload()?;
        let owner = if event.owner_user_id.is_empty() {
            Owner::Nobody
        } else {
            Owner::Known(UserId(uuid(&event.owner_user_id)?))
        };
        let access = TenantAccess {
            tenant_id: uuid(&event.tenant_id)?.into(),
            version: event.version,
            slug: event.slug,
            name: event.name,
            status: "active".to_owned(),
            entitled_actions: event.entitled_actions,
        };
        return tenants::provision(&app, ctx, &access, owner)
            .await
            .map(drop);
    }
    let event: tenant_pb::TenantStatusChanged = delivery.payload()?;
    let access = TenantAccess {
        tenant_id: uuid(&event.tenant_id)?.into(),
        version: event.version,
        slug: event.slug,
        name: event.name,
        status: event.status,
        entitled_actions: event.entitled_actions,
    };
    tenants::apply_access(&app, ctx, &access).await
}

fn uuid(text: &str) -> Result<uuid::Uuid> {
    text.parse().map_err(|_| {
        kernel::Error::invalid(vec![kernel::Violation::new(
            "id",
            "string.uuid",
            "the event names no UUID",
        )])
    })
}

async fn send_mails(app: App, shutdown: Shutdown) {
    let mut quiet = true;
    while !shutdown.is_begun() {
        match mails::send_due(&app, &app.own_context("mail")).await {
            // A full batch means that more may be waiting.
            Ok(sent) if sent > 0 => continue,
            Ok(_) => quiet = true,
            // Said once per outage.
            Err(error) if quiet => {
                tracing::warn!("mails wait: {}", error.chain());
                quiet = false;
            }
            Err(_) => {}
        }
        shutdown.or(tokio::time::sleep(MAIL_PAUSE)).await;
    }
}

async fn sweep_regularly(app: App, shutdown: Shutdown) {
    while shutdown.or(tokio::time::sleep(SWEEP_PAUSE)).await.is_some() {
        match sweep(&app).await {
            Ok(removed) => tracing::debug!(removed, "swept"),
            Err(error) => tracing::warn!(
                "sweeping failed and is tried again later: {}",
                error.chain()
            ),
        }
    }
}

/// Removes what has ended long ago and answers how many rows that were.
pub async fn sweep(app: &App) -> Result<u64> {
    let ctx = app.own_context("sweep");
    let now = app.clock.now();
    let long_ago = now - KEPT;
    let mut tx = app
        .db
        .across_tenants(&ctx, "expiry knows no tenant")
        .await?;
    let mut removed = sessions::store::delete_ended(&mut tx, long_ago, SWEEP_ROWS).await?;
    removed += refresh::store::delete_expired(&mut tx, long_ago, SWEEP_ROWS).await?;
    removed += mails::delete_sent(&mut tx, long_ago, SWEEP_ROWS).await?;
    removed += users::delete_expired_attempts(&mut tx, long_ago, SWEEP_ROWS).await?;
    removed += attempts::delete_ended(&mut tx, now, SWEEP_ROWS).await?;
    removed += access::delete_old_changes(&mut tx, now - CHANGES_KEPT).await?;
    tx.commit().await?;
    Ok(removed + app.db.sweep_expired(&ctx).await?)
}
