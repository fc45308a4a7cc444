//! The object store: files of any size in bounded memory, over the S3 protocol.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use kernel::{Error, Result};
use runtime::Tasks;
use runtime::settings::Reader;
use s3::creds::Credentials;
use s3::error::S3Error;
use s3::serde_types::Part;
use s3::{Bucket, Region};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The smallest part that S3 takes: an upload holds two of them, and 1 GiB is 205 of the 10,000 parts of an object.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// Messages between the caller and the store. With the 4 MiB that a message has at most this bounds what waits.
const QUEUE: usize = 2;
/// One part or one range, at half a megabyte a second. A store that takes longer is as good as down.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The store keeps files for our worker alone; what they are is known here, not there.
const MEDIA_TYPE: &str = "application/octet-stream";

/// Where the object store is and who may use it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its address, for example `https://s3.eu-central-1.amazonaws.com`.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket, which exists already.
    pub bucket: String,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: SecretString,
}

impl Config {
    /// Reads the settings; problems are kept in `reader`.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            endpoint: reader.text(
                "S3_ENDPOINT",
                "http://127.0.0.1:21900",
                "address of the object store",
            ),
            region: reader.text(
                "S3_REGION",
                "us-east-1",
                "the region that requests to the object store are signed for",
            ),
            bucket: reader.text("S3_BUCKET", "tenantry", "the bucket"),
            access_key: reader.required("S3_ACCESS_KEY", "access key of the object store"),
            secret_key: reader.secret("S3_SECRET_KEY", "secret key of the object store"),
        }
    }
}

/// A bucket. Cloning is cheap.
#[derive(Clone)]
pub struct Objects {
    bucket: Bucket,
    tasks: Tasks,
}

impl Objects {
    /// Connects lazily: a store that is down answers `Unavailable` until it is back.
    pub fn connect(config: &Config, tasks: Tasks) -> anyhow::Result<Self> {
        let region = Region::Custom {
            region: config.region.clone(),
            endpoint: config.endpoint.trim_end_matches('/').to_owned(),
        };
        let credentials = Credentials::new(
            Some(&config.access_key),
            Some(config.secret_key.expose_secret()),
            None,
            None,
            None,
        )
        .context("S3_ACCESS_KEY and S3_SECRET_KEY")?;
        let mut bucket = *Bucket::new(&config.bucket, region, credentials)
            .context("S3_ENDPOINT, S3_REGION and S3_BUCKET")?;
        bucket.set_path_style();
        bucket.set_request_timeout(Some(REQUEST_TIMEOUT));
        Ok(Self { bucket, tasks })
    }

    /// Begins an object. It comes into being with [`Upload::finish`]; an upload that is dropped before leaves nothing.
    pub fn upload(&self, key: String) -> Upload {
        let (parts, received) = mpsc::channel(QUEUE);
        let storing = self
            .tasks
            .spawn("object-upload", store(self.bucket.clone(), key, received));
        Upload { parts, storing }
    }

    /// Reads the bytes from `from` up to, not including, `until`. `NOT_FOUND` when there is no such object.
    pub async fn range(&self, key: &str, from: u64, until: u64) -> Result<Bytes> {
        if from >= until {
            return Ok(Bytes::new());
        }
        let answer = self
            .bucket
            .get_object_range(key, from, Some(until - 1))
            .await
            .map_err(failure)?;
        Ok(answer.into_bytes())
    }

    /// Deletes an object; one that is not there is deleted.
    pub async fn delete(&self, key: &str) -> Result<()> {
        match self.bucket.delete_object(key).await {
            Ok(_) | Err(S3Error::HttpFailWithBody(404, _)) => Ok(()),
            Err(error) => Err(failure(error)),
        }
    }
}

enum Piece {
    Bytes(Bytes),
    End,
}

/// An object that is being written. Writing waits while the store is slower than its source.
pub struct Upload {
    parts: mpsc::Sender<Piece>,
    storing: JoinHandle<Result<()>>,
}

impl Upload {
    /// Appends bytes.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if self.parts.send(Piece::Bytes(bytes)).await.is_ok() {
            return Ok(());
        }
        // The store gave up, and its task says why.
        let outcome = (&mut self.storing).await.map_err(Error::internal)?;
        outcome.and_then(|()| Err(Error::internal("an upload ended before its end")))
    }

    /// Makes the object readable.
    pub async fn finish(self) -> Result<()> {
        // A send that fails means that the task has ended, and its answer tells why.
        drop(self.parts.send(Piece::End).await);
        self.storing.await.map_err(Error::internal)?
    }
}

/// Takes the pieces until the end; an end that never comes is an abort.
async fn store(bucket: Bucket, key: String, mut pieces: mpsc::Receiver<Piece>) -> Result<()> {
    let mut multipart: Option<(String, Vec<Part>)> = None;
    let mut buffer: Vec<u8> = Vec::new();
    let outcome = loop {
        match pieces.recv().await {
            Some(Piece::Bytes(bytes)) => {
                buffer.extend_from_slice(&bytes);
                if buffer.len() >= PART_BYTES
                    && let Err(error) =
                        send_part(&bucket, &key, &mut multipart, std::mem::take(&mut buffer)).await
                {
                    break Err(failure(error));
                }
            }
            Some(Piece::End) => {
                break complete(&bucket, &key, &mut multipart, buffer)
                    .await
                    .map_err(failure);
            }
            None => break Err(Error::unavailable("upload", "the caller went away")),
        }
    };
    if let (Err(_), Some((upload_id, _))) = (&outcome, &multipart)
        && let Err(error) = bucket.abort_upload(&key, upload_id).await
    {
        // The sweep deletes by key; parts of an unfinished upload are what a lifecycle rule of the bucket is for.
        tracing::warn!(%error, "an unfinished upload could not be aborted");
    }
    outcome
}

async fn send_part(
    bucket: &Bucket,
    key: &str,
    multipart: &mut Option<(String, Vec<Part>)>,
    bytes: Vec<u8>,
) -> Result<(), S3Error> {
    let (upload_id, parts) = match multipart {
        Some(begun) => begun,
        None => multipart.insert((
            bucket
                .initiate_multipart_upload(key, MEDIA_TYPE)
                .await?
                .upload_id,
            Vec::new(),
        )),
    };
    let number = u32::try_from(parts.len() + 1).unwrap_or(u32::MAX);
    parts.push(
        bucket
            .put_multipart_chunk(bytes, key, number, upload_id, MEDIA_TYPE)
            .await?,
    );
    Ok(())
}

async fn complete(
    bucket: &Bucket,
    key: &str,
    multipart: &mut Option<(String, Vec<Part>)>,
    rest: Vec<u8>,
) -> Result<(), S3Error> {
    if multipart.is_none() {
        bucket
            .put_object_with_content_type(key, &rest, MEDIA_TYPE)
            .await?;
        return Ok(());
    }
    if !rest.is_empty() {
        send_part(bucket, key, multipart, rest).await?;
    }
    if let Some((upload_id, parts)) = multipart {
        bucket
            .complete_multipart_upload(key, upload_id, parts.clone())
            .await?;
    }
    Ok(())
}

/// A store that refuses our keys or our bucket is a mistake of the operator; everything else passes.
fn failure(error: S3Error) -> Error {
    match error {
        S3Error::HttpFailWithBody(404, _) => Error::not_found(
            "import.file_gone",
            "the file is not in the object store any more",
        ),
        S3Error::HttpFailWithBody(status @ 400..=499, body) if status != 408 && status != 429 => {
            Error::internal(format!("HTTP {status}: {body}")).context("object store")
        }
        other => Error::unavailable("object store", other),
    }
}
