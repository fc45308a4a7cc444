//! Taking a file: checked before and while it comes, streamed into the object store, and queued in one transaction.

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use db::{AuditEntry, Once};
use kernel::{Code, Error, ErrorCode, RequestContext, Result, Violation};
use proto::google::api::HttpBody;
use proto::niche::v1 as pb;
use rpc::Inbound;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::{Import, find_mapping, objects, store, to_proto};
use crate::App;
use crate::niches;

/// The largest file.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Uploads at the same time in one process: each holds about 20 MiB.
pub const UPLOADS_AT_ONCE: usize = 8;
/// The longest silence of a caller in the middle of a file.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The longest upload: 1 GiB at 150 KiB a second.
const UPLOAD_MAX: Duration = Duration::from_secs(2 * 60 * 60);
/// The longest that noting the beginning or the end of an upload may take.
const DATABASE_MAX: Duration = Duration::from_secs(5);
/// When the object of an upload that came to nothing is swept; later than the longest upload ends.
const ABANDONED_AFTER: TimeDelta = TimeDelta::hours(3);
/// What a table may be sent as. Browsers name what they do not know `application/octet-stream`, and old ones call CSV plain text.
const MEDIA_TYPES: [&str; 5] = [
    "text/csv",
    "application/csv",
    "text/plain",
    "application/octet-stream",
    "",
];

/// Takes a file and queues its import.
///
/// The parameters are checked before the file is read: an inactive niche or an unknown entity is `NOT_FOUND`, an unknown mapping
/// `VALIDATION_ERROR`. A file that is not UTF-8 text is refused as soon as that shows, one that is too large when it is. An upload that ends early
/// leaves neither an import nor an object. Replaying the same idempotency key with the same file answers the first import. Emits `import.queued`.
pub async fn create_import(
    app: &App,
    ctx: &RequestContext,
    mut inbound: Inbound<pb::CreateImportRequest>,
) -> Result<pb::CreateImportResponse> {
    let first = timeout(SILENCE_MAX, inbound.next())
        .await
        .map_err(|_| too_slow())??;
    let mut first = first.ok_or_else(|| {
        Error::new(
            ErrorCode::MalformedRequest,
            "import.no_file",
            "send the file as the body",
        )
    })?;
    let body = first.file.take().unwrap_or_default();
    check_media_type(&body.content_type)?;
    let _seat = app.uploads.try_acquire().map_err(|_| busy())?;
    let object_key = format!("t/{}/{}", ctx.require_tenant()?, app.ids.next());
    in_database(begin(app, ctx, &first, &object_key)).await?;
    let outcome = match timeout(UPLOAD_MAX, receive(app, &object_key, body.data, inbound)).await {
        Ok(Ok(file)) => in_database(queue(app, ctx, first, (&object_key, file))).await,
        Ok(Err(error)) => Err(error),
        Err(_) => Err(too_slow()),
    };
    // While the store is away the caller does not wait for it once more; the sweep deletes what there may be.
    let is_away = matches!(&outcome, Err(error) if error.code() == Code::Unavailable);
    if (outcome.is_err() && !is_away) || ctx.is_replayed() {
        objects::delete_object(app, ctx, &object_key).await;
    }
    outcome
}

/// An upload has no deadline of its own, so each of its transactions gets one.
async fn in_database<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::unavailable("import", "the database did not answer in time");
    timeout(DATABASE_MAX, work).await.map_err(late)?
}

/// Checks what the parameters name, and notes the object so that it cannot be left behind.
async fn begin(
    app: &App,
    ctx: &RequestContext,
    input: &pb::CreateImportRequest,
    object_key: &str,
) -> Result<()> {
    let mut tx = app.db.tenant(ctx).await?;
    let form = niches::form(app, &mut tx, &input.niche, &input.entity).await?;
    if find_mapping(&form, &input.mapping).is_none() {
        let known = form
            .entity
            .import_mappings
            .iter()
            .map(|m| m.key.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        let message = format!("the entity has no such import mapping; it has: {known}");
        return Err(Error::invalid(vec![
            Violation::new("mapping", "import.mapping_unknown", message).with("known", known),
        ]));
    }
    store::insert_object(&mut tx, object_key, app.clock.now() + ABANDONED_AFTER).await?;
    tx.commit().await
}

struct ReceivedFile {
    bytes: u64,
    digest: [u8; 32],
}

/// Streams the file into the object store.
async fn receive(
    app: &App,
    object_key: &str,
    head: Bytes,
    mut inbound: Inbound<pb::CreateImportRequest>,
) -> Result<ReceivedFile> {
    let mut upload = app.objects.upload(object_key.to_owned());
    let (mut text, mut digest) = (TextCheck::default(), Sha256::new());
    let mut next = Some(head);
    while let Some(bytes) = next {
        if !bytes.is_empty() {
            text.push(&bytes)?;
            digest.update(&bytes);
            upload.write(bytes).await?;
        }
        let message = timeout(SILENCE_MAX, inbound.next())
            .await
            .map_err(|_| too_slow())??;
        next = message.map(|m| m.file.unwrap_or_default().data);
    }
    let bytes = text.finish()?;
    upload.finish().await?;
    Ok(ReceivedFile {
        bytes,
        digest: digest.finalize().into(),
    })
}

async fn queue(
    app: &App,
    ctx: &RequestContext,
    mut input: pb::CreateImportRequest,
    (object_key, file): (&str, ReceivedFile),
) -> Result<pb::CreateImportResponse> {
    // In the fingerprint of the command the digest stands for the file.
    input.file = Some(HttpBody {
        data: Bytes::copy_from_slice(&file.digest),
        ..HttpBody::default()
    });
    let mut tx = match app.db.once::<pb::CreateImportResponse>(ctx, &input).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::Fresh(tx) => tx,
    };
    if !store::keep_object(&mut tx, object_key).await? {
        return Err(Error::unavailable(
            "import",
            "the sweep took the object of an upload that lasted too long",
        ));
    }
    let import = queued(app, input, (object_key, file.bytes));
    store::insert_import(&mut tx, &import, ctx.principal().id()).await?;
    tx.emit(
        import.id,
        &pb::ImportQueued {
            import_id: import.id.to_string(),
        },
    )?;
    let facts = json!({"niche": import.niche, "entity": import.entity, "dryRun": import.dry_run, "fileBytes": import.file_bytes});
    tx.audit(AuditEntry::new("imports.create", "import", import.id).with(facts))?;
    let answer = pb::CreateImportResponse {
        data: Some(to_proto(&import, ctx.locale())),
    };
    tx.commit_with(&answer).await?;
    Ok(answer)
}

fn queued(app: &App, input: pb::CreateImportRequest, (object_key, bytes): (&str, u64)) -> Import {
    Import {
        id: app.ids.next(),
        niche: input.niche,
        entity: input.entity,
        mapping: input.mapping,
        dry_run: input.dry_run,
        status: "queued".to_owned(),
        object_key: object_key.to_owned(),
        file_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        processed_bytes: 0,
        last_row: 0,
        processed_rows: 0,
        created_rows: 0,
        updated_rows: 0,
        unchanged_rows: 0,
        failed_rows: 0,
        stored_errors: 0,
        failure_rule: None,
        failure_params: None,
        cancel_requested: false,
        locked_until: None,
        created_at: app.clock.now(),
        started_at: None,
        finished_at: None,
    }
}

fn check_media_type(content_type: &str) -> Result<()> {
    let mut parts = content_type
        .split(';')
        .map(|part| part.trim().to_ascii_lowercase());
    let media_type = parts.next().unwrap_or_default();
    let charset = parts.find_map(|part| {
        part.strip_prefix("charset=")
            .map(|c| c.trim_matches('"').to_owned())
    });
    let is_known = MEDIA_TYPES.contains(&media_type.as_str());
    if is_known
        && charset.is_none_or(|charset| matches!(charset.as_str(), "utf-8" | "utf8" | "us-ascii"))
    {
        return Ok(());
    }
    let message = "send the file as text/csv in UTF-8";
    Err(Error::new(
        ErrorCode::UnsupportedMediaType,
        "import.media_type",
        message,
    )
    .with_detail("expected", "text/csv; charset=utf-8"))
}

/// Checks that what goes by is UTF-8 text of a size that is taken.
#[derive(Debug, Default)]
struct TextCheck {
    /// The beginning of a character whose rest is in the next piece.
    carried: Vec<u8>,
    bytes: u64,
    lines: u64,
}

impl TextCheck {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        if self.bytes > FILE_BYTES_MAX {
            let message = format!("the file is larger than {FILE_BYTES_MAX} bytes; split it");
            return Err(Error::new(
                ErrorCode::PayloadTooLarge,
                "request.payload_too_large",
                message,
            )
            .with_detail("max", FILE_BYTES_MAX));
        }
        if bytes.contains(&0) {
            return Err(refused(
                "import.not_text",
                "the file is not text; export the table as CSV in UTF-8",
                None,
            ));
        }
        let joined;
        let bytes = if self.carried.is_empty() {
            bytes
        } else {
            joined = [self.carried.as_slice(), bytes].concat();
            joined.as_slice()
        };
        let valid = match std::str::from_utf8(bytes) {
            Ok(_) => bytes.len(),
            // An error without a length is a character that the next piece may complete.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(error) => {
                self.lines += newlines(&bytes[..error.valid_up_to()]);
                return Err(self.not_utf8());
            }
        };
        self.lines += newlines(&bytes[..valid]);
        self.carried = bytes[valid..].to_vec();
        Ok(())
    }

    fn finish(&self) -> Result<u64> {
        if !self.carried.is_empty() {
            return Err(self.not_utf8());
        }
        if self.bytes == 0 {
            return Err(refused(
                "import.empty",
                "the file is empty; it needs a header and rows",
                None,
            ));
        }
        Ok(self.bytes)
    }

    fn not_utf8(&self) -> Error {
        let line = self.lines + 1;
        let message = format!(
            "line {line} of the file is not UTF-8 text; save it as \"CSV UTF-8\" and send it again"
        );
        refused("import.not_utf8", &message, Some(line))
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn refused(rule: &str, message: &str, line: Option<u64>) -> Error {
    let violation = Violation::new("file", rule, message);
    Error::invalid(vec![match line {
        Some(line) => violation.with("line", line),
        None => violation,
    }])
}

fn too_slow() -> Error {
    Error::new(
        ErrorCode::RequestTimeout,
        "import.upload_timeout",
        "the file did not arrive in time; send it again",
    )
}

fn busy() -> Error {
    Error::new(
        ErrorCode::RateLimited,
        "import.uploads_busy",
        "many files are being uploaded right now; try again shortly",
    )
    .with_retry_after(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]]) -> Result<u64> {
        let mut text = TextCheck::default();
        for piece in pieces {
            text.push(piece)?;
        }
        text.finish()
    }

    #[test]
    fn text_is_text_however_it_is_cut() {
        let text = "Ação,São Paulo\nção,€\n".as_bytes();
        for piece in 1..=text.len() {
            let pieces: Vec<&[u8]> = text.chunks(piece).collect();
            assert_eq!(
                check(&pieces).unwrap(),
                text.len() as u64,
                "pieces of {piece}"
            );
        }
        let rule = |pieces: &[&[u8]]| {
            let error = check(pieces).unwrap_err();
            (
                error.violations()[0].rule.clone(),
                error.violations()[0].params.get("line").cloned(),
            )
        };
        assert_eq!(
            rule(&[b"a\n", b"b\nA\xe7\xe3o\n"]),
            ("import.not_utf8".into(), Some("3".into()))
        );
        assert_eq!(
            rule(&["é".as_bytes().split_at(1).0]),
            ("import.not_utf8".into(), Some("1".into()))
        );
        assert_eq!(rule(&[b"PK\x03\x04\0"]), ("import.not_text".into(), None));
        assert_eq!(rule(&[]), ("import.empty".into(), None));
    }

    #[test]
    fn tables_are_taken_by_any_of_their_names_and_only_in_utf8() {
        for good in [
            "text/csv",
            "text/csv; charset=UTF-8",
            "text/csv; header=present",
            "application/csv",
            "text/plain;charset=utf-8",
            "",
        ] {
            assert!(check_media_type(good).is_ok(), "{good}");
        }
        for bad in [
            "application/json",
            "text/csv; charset=windows-1252",
            "image/png",
        ] {
            assert_eq!(
                check_media_type(bad).unwrap_err().error_code(),
                ErrorCode::UnsupportedMediaType,
                "{bad}"
            );
        }
    }
}
