//! Commands that have one effect however often they arrive.

use chrono::TimeDelta;
use kernel::{Error, ErrorCode, RequestContext, Result, TenantId, Violation};
use ring::digest;
use sqlx::AssertSqlSafe;
use std::time::Duration;
use uuid::Uuid;

use crate::classify::{classify, is_lock_timeout};
use crate::handle::Db;
use crate::tx::Tx;

/// Hours that an `Idempotency-Key` is remembered.
pub const IDEMPOTENCY_KEY_HOURS: i64 = 24;
/// Longer keys are refused: they are names, not data.
const KEY_CHARS_MAX: usize = 255;

/// What [`Db::once`] found.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart at once and lives on the stack of one request"
)]
pub enum Once<R> {
    /// The command has run before; this is its answer.
    Replay(R),
    /// The command has not run, and nobody else can run it until this transaction ends.
    Fresh(Tx),
}

/// A key that this transaction holds.
pub(crate) struct Reservation {
    /// The scope in which the key is held.
    pub(crate) tenant_id: TenantId,
    pub(crate) actor_id: Uuid,
    pub(crate) handler: String,
    pub(crate) key: String,
}

/// The key of a command, with what tells it from another command under the same key.
pub(crate) struct Key {
    pub(crate) reservation: Reservation,
    pub(crate) fingerprint: Vec<u8>,
}

impl Key {
    /// The caller's key, if there is one. Fails when it is too long or empty.
    pub(crate) fn of(
        ctx: &RequestContext,
        tenant_id: TenantId,
        request: &impl prost::Message,
    ) -> Result<Option<Self>> {
        let Some(key) = ctx.idempotency_key() else {
            return Ok(None);
        };
        if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
            let message = format!("an idempotency key has 1 to {KEY_CHARS_MAX} characters");
            return Err(Error::invalid(vec![
                Violation::new("Idempotency-Key", "idempotency_key.length", message)
                    .with("max", KEY_CHARS_MAX),
            ]));
        }
        Ok(Some(Self {
            reservation: Reservation {
                tenant_id,
                actor_id: ctx.principal().id().unwrap_or(Uuid::nil()),
                handler: ctx.method().to_owned(),
                key: key.to_owned(),
            },
            fingerprint: fingerprint(ctx, request),
        }))
    }
}

impl Db {
    /// Opens a transaction for a command that may arrive twice, within the caller's tenant or else the platform's scope.
    ///
    /// Without an `Idempotency-Key` in `ctx` it is always `Fresh`. With one: a repetition gets the stored answer (and `ctx` is marked as replayed), the same key with another
    /// request `IDEMPOTENCY_KEY_REUSED`. While the first is still running, a repetition waits for it as long as the lock timeout allows, then gets `CONFLICT` with a time to wait.
    /// The key is stored with the effect: finish by [`Tx::commit_with`]. A command that fails stores nothing.
    pub async fn once<R: prost::Message + Default>(
        &self,
        ctx: &RequestContext,
        request: &impl prost::Message,
    ) -> Result<Once<R>> {
        self.once_of(ctx, ctx.tenant_id().unwrap_or(TenantId::PLATFORM), request)
            .await
    }

    /// Like [`Db::once`], within `tenant_id`. See [`Db::tenant_of`] for who may.
    pub async fn once_of<R: prost::Message + Default>(
        &self,
        ctx: &RequestContext,
        tenant_id: TenantId,
        request: &impl prost::Message,
    ) -> Result<Once<R>> {
        let mut tx = self.begin(ctx, tenant_id).await?;
        let Some(Key {
            reservation,
            fingerprint,
        }) = Key::of(ctx, tenant_id, request)?
        else {
            return Ok(Once::Fresh(tx));
        };
        if tx.reserve(&reservation, &fingerprint).await? {
            tx.reservation = Some(reservation);
            return Ok(Once::Fresh(tx));
        }
        let (stored, answer) = tx.find(&reservation).await?;
        tx.rollback().await?;
        if stored != fingerprint {
            return Err(Error::new(
                ErrorCode::IdempotencyKeyReused,
                "idempotency.key_reused",
                "this idempotency key was used with another request; use a new key",
            ));
        }
        ctx.mark_replayed();
        R::decode(answer.as_slice())
            .map(Once::Replay)
            .map_err(|e| Error::internal(e).context("while reading a stored answer"))
    }
}

impl Tx {
    async fn reserve(&mut self, reservation: &Reservation, fingerprint: &[u8]) -> Result<bool> {
        let db = self.db().clone();
        let now = db.0.clock.now();
        let done = sqlx::query(AssertSqlSafe(db.0.statements.reserve_key.as_str()))
            .bind(self.tenant_id().uuid())
            .bind(reservation.actor_id)
            .bind(&reservation.handler)
            .bind(&reservation.key)
            .bind(fingerprint)
            .bind(now + TimeDelta::hours(IDEMPOTENCY_KEY_HOURS))
            .bind(now)
            .execute(self.conn())
            .await
            .map_err(|error| {
                if is_lock_timeout(&error) {
                    running().caused_by(error)
                } else {
                    classify(error)
                }
            })?;
        Ok(done.rows_affected() == 1)
    }

    async fn find(&mut self, reservation: &Reservation) -> Result<(Vec<u8>, Vec<u8>)> {
        let db = self.db().clone();
        let found: Option<(Vec<u8>, Option<Vec<u8>>)> =
            sqlx::query_as(AssertSqlSafe(db.0.statements.find_key.as_str()))
                .bind(self.tenant_id().uuid())
                .bind(reservation.actor_id)
                .bind(&reservation.handler)
                .bind(&reservation.key)
                .fetch_optional(self.conn())
                .await
                .map_err(classify)?;
        // Gone between the two statements: its holder rolled back or it was swept. The client's retry will run it.
        let (fingerprint, answer) = found.ok_or_else(running)?;
        Ok((fingerprint, answer.unwrap_or_default()))
    }

    pub(crate) async fn store_answer(&mut self, answer: Vec<u8>) -> Result<()> {
        let Some(reservation) = self.reservation.take() else {
            return Ok(());
        };
        let db = self.db().clone();
        self.on_key(&db.0.statements.store_answer, &reservation, Some(answer))
            .await
    }

    pub(crate) async fn forget_key(&mut self) -> Result<()> {
        let Some(reservation) = self.reservation.take() else {
            return Ok(());
        };
        let db = self.db().clone();
        self.on_key(&db.0.statements.release_key, &reservation, None)
            .await
    }

    async fn on_key(
        &mut self,
        statement: &str,
        reservation: &Reservation,
        answer: Option<Vec<u8>>,
    ) -> Result<()> {
        let mut query = sqlx::query(AssertSqlSafe(statement))
            .bind(self.tenant_id().uuid())
            .bind(reservation.actor_id)
            .bind(&reservation.handler)
            .bind(&reservation.key);
        if let Some(answer) = answer {
            query = query.bind(answer);
        }
        query.execute(self.conn()).await.map_err(classify)?;
        Ok(())
    }
}

pub(crate) fn running() -> Error {
    Error::conflict(
        "idempotency.in_progress",
        "the same command is still running; try again shortly",
    )
    .with_retry_after(Duration::from_secs(1))
}

/// The request as the service reads it, so that two spellings of the same JSON count as the same request.
fn fingerprint(ctx: &RequestContext, request: &impl prost::Message) -> Vec<u8> {
    let mut digest = digest::Context::new(&digest::SHA256);
    digest.update(ctx.method().as_bytes());
    digest.update(&[0]);
    digest.update(&request.encode_to_vec());
    digest.finish().as_ref().to_vec()
}
