//! The laptop's object store: a real S3 endpoint over a folder. Clusters use a real store.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use runtime::{Process, Reader};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;

/// Where the store listens, what it is called and who may use it: the same settings as those of its clients.
pub struct StoreSettings {
    endpoint: String,
    bucket: String,
    access_key: String,
    secret_key: SecretString,
    folder: PathBuf,
}

/// A running store.
pub struct ObjectStore {
    /// Where it listens.
    pub address: SocketAddr,
}

impl StoreSettings {
    /// Reads the settings; problems are kept in `reader`.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            endpoint: reader.text(
                "S3_ENDPOINT",
                "http://127.0.0.1:21900",
                "address of the object store",
            ),
            bucket: reader.text("S3_BUCKET", "tenantry", "the bucket"),
            access_key: reader.required("S3_ACCESS_KEY", "access key of the object store"),
            secret_key: reader.secret("S3_SECRET_KEY", "secret key of the object store"),
            folder: PathBuf::from(reader.text(
                "S3_DATA_DIR",
                ".dev/s3",
                "the folder in which the embedded object store keeps objects",
            )),
        }
    }
}

impl ObjectStore {
    /// Serves until the process ends.
    pub async fn start(settings: &StoreSettings, process: &Process) -> anyhow::Result<Self> {
        let folder = &settings.folder;
        let bucket = folder.join(&settings.bucket);
        tokio::fs::create_dir_all(&bucket)
            .await
            .with_context(|| format!("cannot create {} (S3_DATA_DIR)", bucket.display()))?;
        let files = FileSystem::new(folder).map_err(|error| {
            anyhow::anyhow!("cannot use {} (S3_DATA_DIR): {error:?}", folder.display())
        })?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(
            settings.access_key.clone(),
            settings.secret_key.expose_secret(),
        ));
        let service = builder.build();
        let address = settings
            .endpoint
            .trim_start_matches("http://")
            .trim_end_matches('/');
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} (S3_ENDPOINT): another program has the port; choose another one with TENANTRY_S3_PORT"))?;
        let address = listener.local_addr()?;
        let (shutdown, tasks) = (process.shutdown.clone(), process.tasks.clone());
        process.tasks.spawn("object-store", async move {
            let serving = async {
                loop {
                    let Ok((stream, _)) = listener.accept().await else {
                        continue;
                    };
                    let service = service.clone();
                    let ended = shutdown.clone();
                    tasks.spawn("object-store.connection", async move {
                        let server = Builder::new(TokioExecutor::new());
                        let connection = server.serve_connection(TokioIo::new(stream), service);
                        // A client that goes away is no event worth a line.
                        ended.or(async { drop(connection.await) }).await;
                    });
                }
            };
            shutdown.or(serving).await;
        });
        Ok(Self { address })
    }
}
