//! An S3 server for one test, over a folder of its own.

use std::path::{Path, PathBuf};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The bucket of every test.
const BUCKET: &str = "tenantry";
const ACCESS_KEY: &str = "testkit-access-key";
const SECRET_KEY: &str = "testkit-secret-key";

/// A running S3 server with an empty bucket. Ends, with everything in it, when this value goes.
pub struct ObjectStore {
    folder: TempDir,
    url: String,
    _serving: JoinSet<()>,
}

impl ObjectStore {
    /// Serves on a free port.
    ///
    /// # Panics
    /// When this machine has no room for temporary files.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("the machine has room for temporary files");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a new folder takes a folder");
        let files = FileSystem::new(folder.path()).expect("the folder exists");
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("the loopback address has a free port");
        let url = format!(
            "http://{}",
            listener
                .local_addr()
                .expect("a bound socket has an address")
        );
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, builder.build()));
        Self {
            folder,
            url,
            _serving: serving,
        }
    }

    /// Its address, for `S3_ENDPOINT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The settings of a client by their names in the environment, with `endpoint` in place of this server's address: a proxy, perhaps.
    pub fn settings(endpoint: &str) -> [(&'static str, String); 5] {
        [
            ("S3_ENDPOINT", endpoint.to_owned()),
            ("S3_REGION", "us-east-1".to_owned()),
            ("S3_BUCKET", BUCKET.to_owned()),
            ("S3_ACCESS_KEY", ACCESS_KEY.to_owned()),
            ("S3_SECRET_KEY", SECRET_KEY.to_owned()),
        ]
    }

    /// The keys of all objects, in alphabetical order.
    pub fn keys(&self) -> Vec<String> {
        let bucket = self.folder.path().join(BUCKET);
        let mut keys = Vec::new();
        collect(&bucket, &mut |file| {
            keys.push(
                file.strip_prefix(&bucket)
                    .expect("it lies in it")
                    .to_string_lossy()
                    .into_owned(),
            )
        });
        keys.sort();
        keys
    }
}

fn collect(folder: &Path, found: &mut dyn FnMut(PathBuf)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found)
        } else {
            found(path)
        }
    }
}

async fn serve(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let service = service.clone();
        connections.spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            // Clients come and go as the tests will have it.
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        });
        while connections.try_join_next().is_some() {}
    }
}
