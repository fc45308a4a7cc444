//! The tenant transaction: the only executor that a service sees.

use std::fmt;

use kernel::{RequestContext, Result, TenantId};
use proto::Event;
use sqlx::{AssertSqlSafe, PgConnection};
use tracing::Span;
use uuid::Uuid;

use crate::classify::classify;
use crate::handle::Db;
use crate::metrics::Held;
use crate::once::Reservation;
use crate::outgoing::{AuditEntry, Author, Noted};
use crate::pool::Begun;

/// A transaction with a tenant set. Rolled back when dropped without [`Tx::commit`].
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Tx {
    begun: Begun,
    db: Db,
    ctx: RequestContext,
    tenant_id: TenantId,
    noted: Noted,
    pub(crate) reservation: Option<Reservation>,
    _shown: Shown,
}

/// Lasts as long as the transaction, and thereby shows how long a connection was held: in the trace and in the metrics.
pub(crate) struct Shown {
    pub(crate) _span: Span,
    pub(crate) _held: Held,
}

impl Tx {
    pub(crate) fn new(
        db: Db,
        ctx: RequestContext,
        tenant_id: TenantId,
        begun: Begun,
        shown: Shown,
    ) -> Self {
        Self {
            begun,
            db,
            ctx,
            tenant_id,
            noted: Noted::default(),
            reservation: None,
            _shown: shown,
        }
    }

    /// The executor: `sqlx::query!(..).execute(tx.conn())`.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.begun.transaction
    }

    /// The tenant whose rows are visible; the nil tenant across tenants.
    pub fn tenant_id(&self) -> TenantId {
        self.tenant_id
    }

    /// Who asked for this.
    pub fn ctx(&self) -> &RequestContext {
        &self.ctx
    }

    /// Moves the transaction into another tenant, for the one command that brings a tenant into being: its key lies in the scope of
    /// the caller, its rows and events in the new tenant's. What was noted before belongs to the scope before.
    pub async fn enter(&mut self, tenant_id: TenantId) -> Result<()> {
        self.flush().await?;
        sqlx::query("select set_config('app.tenant_id', $1, true)")
            .bind(tenant_id.to_string())
            .execute(self.conn())
            .await
            .map_err(classify)?;
        self.tenant_id = tenant_id;
        Ok(())
    }

    /// Notes an event about `subject`. It is written with the commit and published after it, in the order of the calls; without a commit it never existed.
    pub fn emit<E: Event>(&mut self, subject: impl fmt::Display, event: &E) -> Result<()> {
        let author = Author {
            db: &self.db,
            ctx: &self.ctx,
            tenant_id: self.tenant_id,
        };
        self.noted.event(author, subject.to_string(), event)
    }

    /// Notes who did what, for the audit log of the tenant.
    pub fn audit(&mut self, entry: AuditEntry) -> Result<()> {
        let author = Author {
            db: &self.db,
            ctx: &self.ctx,
            tenant_id: self.tenant_id,
        };
        self.noted.audit(author, entry)
    }

    /// Whether `consumer` has not applied the event yet; from then on it has, if this transaction commits.
    ///
    /// A second delivery that runs at the same time waits for the first one, and gets `Conflict` when that takes longer than the lock timeout.
    pub async fn first_delivery(&mut self, consumer: &str, event_id: Uuid) -> Result<bool> {
        let db = self.db.clone();
        let done = sqlx::query(AssertSqlSafe(db.0.statements.insert_inbox.as_str()))
            .bind(self.tenant_id.uuid())
            .bind(consumer)
            .bind(event_id)
            .bind(db.0.clock.now())
            .execute(self.conn())
            .await
            .map_err(classify)?;
        Ok(done.rows_affected() == 1)
    }

    /// Makes everything permanent: the rows, the events and the audit entries.
    ///
    /// In a transaction from [`Db::once`] this stores no answer, so the same key may run again; [`Tx::commit_with`] stores it.
    pub async fn commit(mut self) -> Result<()> {
        self.return_to_key().await?;
        self.forget_key().await?;
        self.finish().await
    }

    /// Makes everything permanent, and with it the answer that a repetition of the same command gets. Like [`Tx::commit`] for a caller without a key.
    pub async fn commit_with<R: prost::Message>(mut self, answer: &R) -> Result<()> {
        self.return_to_key().await?;
        self.store_answer(answer.encode_to_vec()).await?;
        self.finish().await
    }

    /// Undoes everything, and frees the connection at once rather than in the background.
    pub async fn rollback(self) -> Result<()> {
        self.begun.transaction.rollback().await.map_err(classify)
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    /// Goes back to the scope in which the key is held, after [`Tx::enter`].
    async fn return_to_key(&mut self) -> Result<()> {
        match self
            .reservation
            .as_ref()
            .map(|reservation| reservation.tenant_id)
        {
            Some(tenant_id) if tenant_id != self.tenant_id => self.enter(tenant_id).await,
            _ => Ok(()),
        }
    }

    async fn finish(mut self) -> Result<()> {
        let has_events = !self.noted.is_empty();
        self.flush().await?;
        fail::fail_point!("db::before_commit", |_| Err(kernel::Error::internal(
            "fail point db::before_commit"
        )));
        let Begun {
            transaction,
            permit,
            ..
        } = self.begun;
        let since = self.db.0.measure.instant();
        let committed = transaction.commit().await;
        self.db.0.measure.committed(since);
        committed.map_err(classify)?;
        drop(permit);
        if has_events {
            self.db.0.wake.after_commit(&self.db.0.pool);
        }
        fail::fail_point!("db::after_commit", |_| Err(kernel::Error::internal(
            "fail point db::after_commit"
        )));
        Ok(())
    }

    /// Writes all noted events by one statement.
    async fn flush(&mut self) -> Result<()> {
        if self.noted.is_empty() {
            return Ok(());
        }
        let columns = std::mem::take(&mut self.noted).into_columns();
        let db = self.db.clone();
        sqlx::query(AssertSqlSafe(db.0.statements.insert_outbox.as_str()))
            .bind(self.tenant_id.uuid())
            .bind(columns.ids)
            .bind(columns.types)
            .bind(columns.subjects)
            .bind(columns.envelopes)
            .execute(self.conn())
            .await
            .map_err(classify)?;
        Ok(())
    }
}
