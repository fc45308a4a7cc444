//! Working on an import: a slice of it per event, so that no import holds a worker for long and a crash loses nothing.
//!
//! ```text
//! object store ──ranges──> check (blocking threads) ──batches──> one transaction each: records, progress, errors, event
//! ```
//! Where the last row ends stands in the row of the import and is written with the records, so the next worker goes on exactly there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Code, Error, RequestContext, Result};
use proto::niche::v1 as pb;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::check::{Batch, Checker, number};
use super::csv_rows::{Header, Place};
use super::failures::Failure;
use super::{End, Import, end_in, find_mapping, objects, store};
use crate::App;
use crate::forms::EntityForm;
use crate::niches;
use crate::records::{Target, preview_batch, write_batch};

/// What is read at a time: some thousand rows.
const RANGE_BYTES: u64 = 1024 * 1024;
/// A header that is longer is none.
const HEADER_BYTES_MAX: u64 = 64 * 1024;
/// Batches that wait to be written; with the ones in both hands four in all.
const BATCHES_WAITING: usize = 2;
/// How long an import stays with a worker that says nothing. A batch lengthens it and takes a fraction of a second. Who comes too early finds it
/// taken, who comes too late finds that nothing of his is written, so this is only how long an import rests after its worker died.
const LEASE: TimeDelta = TimeDelta::seconds(20);
/// Errors that are kept of one import; the others are counted.
pub const ERRORS_KEPT_MAX: i32 = 10_000;

/// How much one event may do before it hands on.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// Short enough to end within a shutdown, and to let the next tenant's import have a turn.
    pub time: Duration,
    pub batches: u32,
}

impl Default for Slice {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(15),
            batches: u32::MAX,
        }
    }
}

/// The event that brought an import to a worker.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub import_id: Uuid,
    pub event_id: Uuid,
    /// A failure would not be tried again.
    pub is_last_attempt: bool,
}

/// Which event has an import in hand, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub event: Uuid,
    pub until: DateTime<Utc>,
}

/// What a batch adds to an import.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub end: i64,
    pub last_row: i64,
    pub rows: i64,
    pub created: i64,
    pub updated: i64,
    pub unchanged: i64,
    pub failed: i64,
    pub stored_errors: i32,
}

/// Works on an import for as long as `slice` allows, then emits `import.queued` anew or ends it.
///
/// Safe to repeat at any point: an import that has ended or that another event has in hand is left alone. `Conflict` when the event came a second
/// time while its lease runs, which is when its first worker has died or is still busy. Emits `records.imported` per batch, and `import.finished`.
pub async fn work_on(app: &App, ctx: &RequestContext, turn: Turn, slice: Slice) -> Result<()> {
    let Some(import) = lease(app, ctx, turn).await? else {
        return Ok(());
    };
    let job = Job {
        app,
        ctx,
        import: &import,
        event: turn.event_id,
    };
    match job.run(slice).await {
        Ok(Outcome::HandOn) => job.hand_on().await,
        Ok(Outcome::Lost) => {
            tracing::warn!(import_id = %import.id, "another worker took the import over");
            Ok(())
        }
        Ok(Outcome::Ended(end)) | Err(Stop::Failed(end)) => job.end(end).await,
        Err(Stop::Error(error)) if is_retried(&error) && !turn.is_last_attempt => {
            job.free().await;
            Err(error)
        }
        Err(Stop::Error(error)) => {
            let rule = if is_retried(&error) {
                "storage"
            } else {
                "internal"
            };
            job.end(End::Failed(Failure::new(rule))).await?;
            Err(error)
        }
    }
}

fn is_retried(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::Unavailable | Code::Timeout | Code::Conflict | Code::Limited
    )
}

async fn lease(app: &App, ctx: &RequestContext, turn: Turn) -> Result<Option<Import>> {
    let mut tx = app.db.tenant(ctx).await?;
    let Some(import) = store::lock_import(&mut tx, turn.import_id)
        .await?
        .filter(|import| !import.is_ended())
    else {
        return Ok(None);
    };
    let now = app.clock.now();
    if import.locked_until.is_some_and(|until| until > now) {
        // Another event's worker has an event of its own that comes back if it dies. Our own event came back: its worker died or is still busy.
        if store::find_lease_event(&mut tx, import.id).await? != Some(turn.event_id) {
            return Ok(None);
        }
        return Err(
            Error::conflict("import.in_progress", "the import is in hand")
                .with_retry_after(Duration::from_secs(5)),
        );
    }
    store::lease_import(
        &mut tx,
        import.id,
        Lease {
            event: turn.event_id,
            until: now + LEASE,
        },
        now,
    )
    .await?;
    tx.commit().await?;
    Ok(Some(import))
}

enum Outcome {
    Ended(End),
    HandOn,
    /// The lease ran out and somebody else has the import.
    Lost,
}

enum Stop {
    Failed(End),
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        if error.reason() == "import.file_gone" {
            Self::from(Failure::new("file_gone"))
        } else {
            Self::Error(error)
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(End::Failed(failure))
    }
}

#[derive(Clone, Copy)]
struct Job<'a> {
    app: &'a App,
    ctx: &'a RequestContext,
    import: &'a Import,
    event: Uuid,
}

impl Job<'_> {
    async fn run(self, slice: Slice) -> Result<Outcome, Stop> {
        if self.import.cancel_requested {
            return Ok(Outcome::Ended(End::Cancelled));
        }
        let (form, checker) = self.checker().await?;
        let (sender, batches) = mpsc::channel(BATCHES_WAITING);
        // The writer drops its end when it stops early, which ends the reader; a reader that fails lets the writer finish what is good.
        let (read, written) = tokio::join!(
            self.read(checker, sender),
            self.write_all(&form, batches, slice)
        );
        match written? {
            Some(outcome) => Ok(outcome),
            None => read.map(|()| Outcome::Ended(End::Succeeded)),
        }
    }

    /// The checker, standing behind the last row that was worked through.
    async fn checker(self) -> Result<(Arc<EntityForm>, Checker), Stop> {
        let import = self.import;
        let file_bytes = import.file_bytes.unsigned_abs();
        let head = self
            .app
            .objects
            .range(&import.object_key, 0, file_bytes.min(HEADER_BYTES_MAX))
            .await?;
        let header = Header::read(&head, file_bytes <= HEADER_BYTES_MAX)?;
        let mut tx = self.app.db.tenant(self.ctx).await?;
        let form = match niches::form(self.app, &mut tx, &import.niche, &import.entity).await {
            Err(error) if error.code() == Code::NotFound => {
                return Err(Failure::new("niche_gone").into());
            }
            form => form?,
        };
        tx.commit().await?;
        let mapping =
            find_mapping(&form, &import.mapping).ok_or_else(|| Failure::new("niche_gone"))?;
        let last = Place {
            row: import.last_row.unsigned_abs(),
            end: import.processed_bytes.unsigned_abs(),
        };
        let last = if last.end == 0 { header.place } else { last };
        let checker = Checker::new(Arc::clone(&form), mapping, &header, last)?;
        Ok((form, checker))
    }

    /// Reads ranges and checks one while the next is on its way.
    async fn read(self, mut checker: Checker, sender: mpsc::Sender<Batch>) -> Result<(), Stop> {
        let file_bytes = self.import.file_bytes.unsigned_abs();
        let mut position = checker.position();
        let mut range = self.range(position).await?;
        while !range.is_empty() {
            position += range.len() as u64;
            let checking = async {
                let _turn = self.app.background.turn().await;
                let check = move || {
                    let found = checker.push(&range);
                    (checker, found)
                };
                tokio::task::spawn_blocking(check).await
            };
            let (checked, next) = tokio::join!(checking, self.range(position));
            let (back, (batches, failure)) = checked.map_err(Error::internal)?;
            checker = back;
            if !send(&sender, batches).await {
                return Ok(());
            }
            if let Some(failure) = failure {
                return Err(failure.into());
            }
            range = next?;
        }
        if position < file_bytes {
            return Err(Error::unavailable(
                "object store",
                "the object is shorter than the file was",
            )
            .into());
        }
        let (batches, failure) = checker.finish();
        send(&sender, batches).await;
        failure.map_or(Ok(()), |failure| Err(failure.into()))
    }

    async fn range(self, from: u64) -> Result<Bytes> {
        let until = (from + RANGE_BYTES).min(self.import.file_bytes.unsigned_abs());
        self.app
            .objects
            .range(&self.import.object_key, from, until)
            .await
    }

    /// Writes batches until there are no more (nothing is answered then) or something else is to be done.
    async fn write_all(
        self,
        form: &EntityForm,
        mut batches: mpsc::Receiver<Batch>,
        slice: Slice,
    ) -> Result<Option<Outcome>> {
        let started = self.app.clock.instant();
        let mut errors_left = ERRORS_KEPT_MAX - self.import.stored_errors;
        let mut written = 0;
        while let Some(batch) = batches.recv().await {
            match self.write(form, batch, &mut errors_left).await? {
                None => return Ok(Some(Outcome::Lost)),
                Some(true) => return Ok(Some(Outcome::Ended(End::Cancelled))),
                Some(false) => {}
            }
            fail::fail_point!("import.between_batches");
            written += 1;
            if written >= slice.batches
                || self.app.clock.instant().saturating_duration_since(started) >= slice.time
            {
                return Ok(Some(Outcome::HandOn));
            }
        }
        Ok(None)
    }

    /// Writes a batch with everything that belongs to it. Answers whether the import is to stop; nothing when the lease is lost, and then nothing
    /// was written.
    async fn write(
        self,
        form: &EntityForm,
        mut batch: Batch,
        errors_left: &mut i32,
    ) -> Result<Option<bool>> {
        let import = self.import;
        batch
            .errors
            .truncate(usize::try_from(*errors_left).unwrap_or(0));
        let stored_errors = i32::try_from(batch.errors.len()).unwrap_or(i32::MAX);
        let _turn = self.app.background.turn().await;
        let mut tx = self.app.db.tenant(self.ctx).await?;
        let target = Target {
            niche: &import.niche,
            entity: &import.entity,
            form,
        };
        let outcome = if import.dry_run {
            preview_batch(self.app, &mut tx, target, batch.records).await?
        } else {
            write_batch(self.app, &mut tx, target, batch.records).await?
        };
        if !batch.errors.is_empty() {
            store::insert_errors(&mut tx, import.id, &batch.errors).await?;
        }
        let progress = Progress {
            end: number(batch.last.end),
            last_row: number(batch.last.row),
            rows: number(batch.rows),
            created: number(outcome.created),
            updated: number(outcome.updated),
            unchanged: number(outcome.unchanged),
            failed: number(batch.failed),
            stored_errors,
        };
        let lease = Lease {
            event: self.event,
            until: self.app.clock.now() + LEASE,
        };
        let Some(is_cancelled) =
            store::save_progress(&mut tx, import.id, (lease, &progress)).await?
        else {
            tx.rollback().await?;
            return Ok(None);
        };
        if !outcome.changed_ids.is_empty() {
            tx.emit(
                import.id,
                &pb::RecordsImported {
                    import_id: import.id.to_string(),
                    niche: import.niche.clone(),
                    entity: import.entity.clone(),
                    record_ids: outcome.changed_ids.iter().map(Uuid::to_string).collect(),
                },
            )?;
        }
        tx.commit().await?;
        *errors_left -= stored_errors;
        Ok(Some(is_cancelled))
    }

    /// Lets the next event go on.
    async fn hand_on(self) -> Result<()> {
        let mut tx = self.app.db.tenant(self.ctx).await?;
        if store::free_import(&mut tx, self.import.id, self.event).await? {
            tx.emit(
                self.import.id,
                &pb::ImportQueued {
                    import_id: self.import.id.to_string(),
                },
            )?;
        }
        tx.commit().await
    }

    /// Lets the same event try again sooner than the lease runs out.
    async fn free(self) {
        let freed = async {
            let mut tx = self.app.db.tenant(self.ctx).await?;
            store::free_import(&mut tx, self.import.id, self.event).await?;
            tx.commit().await
        };
        if let Err(error) = freed.await {
            tracing::debug!(
                error = error.chain(),
                "an import could not be freed; its lease will run out"
            );
        }
    }

    async fn end(self, end: End) -> Result<()> {
        let mut tx = self.app.db.tenant(self.ctx).await?;
        let import = store::lock_import(&mut tx, self.import.id)
            .await?
            .filter(|import| !import.is_ended());
        let (Some(import), Some(event)) = (
            import,
            store::find_lease_event(&mut tx, self.import.id).await?,
        ) else {
            return Ok(());
        };
        if event != self.event {
            return Ok(());
        }
        // A cancellation that came while the last batch was written stops nothing any more.
        end_in(&mut tx, &import, &end, self.app.clock.now()).await?;
        tx.commit().await?;
        objects::delete_object(self.app, self.ctx, &import.object_key).await;
        tracing::info!(import_id = %import.id, status = end.status(), rows = import.processed_rows, "an import has ended");
        Ok(())
    }
}

async fn send(sender: &mpsc::Sender<Batch>, batches: Vec<Batch>) -> bool {
    for batch in batches {
        if sender.send(batch).await.is_err() {
            return false;
        }
    }
    true
}
