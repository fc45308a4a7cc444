//! Mutual TLS: who shows no certificate of our authority does not get as far as a token.

use std::path::Path;
use std::process::Command;

use kernel::{Clock, ErrorCode};
use proto::search::v1::SearchResponse;
use proto::search::v1::search_service_client::SearchServiceClient;
use proto::search::v1::search_service_server::SearchServiceServer;
use rpc::{Endpoint, Keyring, Listener, Peer, Server, Tls, connect};
use runtime::{Reader, Shutdown, Tasks};
use tempfile::TempDir;

use crate::stub::{Client, as_ann, search, stub};

/// An authority with certificates that it has signed, as files.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let authority = Self(tempfile::tempdir().unwrap());
        let config = "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=test\n";
        std::fs::write(authority.0.path().join("openssl.cnf"), config).unwrap();
        authority.sign("ca", &["-addext", "basicConstraints=critical,CA:TRUE"]);
        authority.sign(
            "service",
            &[
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-addext",
                "basicConstraints=CA:FALSE",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ],
        );
        authority
    }

    fn sign(&self, name: &str, more: &[&str]) {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let made = Command::new("openssl")
            .current_dir(self.0.path())
            .args([
                "req",
                "-x509",
                "-config",
                "openssl.cnf",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-keyout", &key, "-out", &certificate])
            .args(more)
            .output()
            .expect("openssl is installed; ./dev up installs it");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.0.path().join(file)
    }

    fn tls(&self) -> Tls {
        self.tls_trusting(self.0.path())
    }

    /// Our certificate, with another authority to believe.
    fn tls_trusting(&self, authority: &Path) -> Tls {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        Tls::from_pem(
            &read(&authority.join("ca.pem")),
            &read(&self.path("service.pem")),
            &read(&self.path("service.key")),
        )
        .unwrap()
    }
}

fn keyring(service: &str, tls: Tls) -> Keyring {
    testkit::keyring(service).with_tls(tls)
}

async fn attempt(mut client: Client, clock: &Clock) -> Result<(), ErrorCode> {
    search(&mut client, as_ann(clock))
        .await
        .map(|_| ())
        .map_err(|error| error.error_code())
}

#[tokio::test]
async fn a_connection_without_a_certificate_of_the_authority_is_refused() {
    let (ours, strangers, clock) = (Authority::new(), Authority::new(), testkit::clock());
    let server = Server::new("search", keyring("search", ours.tls()), clock.clone()).service(
        SearchServiceServer::new(stub(|_, _| async { Ok(SearchResponse::default()) })),
    );
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.endpoint().unwrap();
    let secured: Endpoint = plain
        .to_string()
        .replace("http://", "https://")
        .parse()
        .unwrap();
    let shutdown = Shutdown::new();
    let serving = Tasks::new().spawn("rpc", server.serve(listener, shutdown.clone()));

    let with = |tls: Tls| {
        SearchServiceClient::new(
            Peer::new(keyring("gateway", tls), "search", clock.clone()).connect(&secured),
        )
    };
    assert_eq!(attempt(with(ours.tls()), &clock).await, Ok(()));
    let unavailable = Err(ErrorCode::ServiceUnavailable);
    let stranger = strangers.tls_trusting(ours.0.path());
    assert_eq!(
        attempt(with(stranger), &clock).await,
        unavailable,
        "a certificate of a stranger"
    );
    let distrustful = ours.tls_trusting(strangers.0.path());
    assert_eq!(
        attempt(with(distrustful), &clock).await,
        unavailable,
        "a server that the client does not believe"
    );
    let bare = SearchServiceClient::new(connect(&secured));
    assert_eq!(attempt(bare, &clock).await, unavailable, "no certificate");
    let clear = SearchServiceClient::new(connect(&plain));
    assert_eq!(attempt(clear, &clock).await, unavailable, "no TLS");
    shutdown.begin();
    serving.await.unwrap().unwrap();
}

#[test]
fn the_settings_are_all_or_none_and_must_fit_together() {
    let authority = Authority::new();
    let file = |name: &str| authority.path(name).display().to_string();
    let read = |files: [(&str, String); 3]| {
        let mut reader = Reader::from_map(files.into_iter().filter(|(_, file)| !file.is_empty()));
        let tls = Tls::read(&mut reader);
        reader
            .finish()
            .map(|()| tls.is_some())
            .map_err(|problems| problems.to_string())
    };
    let [ca, certificate, key] = [
        "INTERNAL_TLS_CA_FILE",
        "INTERNAL_TLS_CERT_FILE",
        "INTERNAL_TLS_KEY_FILE",
    ];
    let none = String::new;
    assert_eq!(
        read([(ca, none()), (certificate, none()), (key, none())]),
        Ok(false)
    );
    assert_eq!(
        read([
            (ca, file("ca.pem")),
            (certificate, file("service.pem")),
            (key, file("service.key"))
        ]),
        Ok(true)
    );
    let problem = read([
        (ca, file("ca.pem")),
        (certificate, file("service.pem")),
        (key, none()),
    ])
    .unwrap_err();
    assert!(
        problem.contains("INTERNAL_TLS_KEY_FILE is not set"),
        "{problem}"
    );
    let problem = read([
        (ca, file("ca.pem")),
        (certificate, file("absent.pem")),
        (key, file("service.key")),
    ])
    .unwrap_err();
    assert!(problem.contains("absent.pem"), "{problem}");
    let problem = read([
        (ca, file("ca.pem")),
        (certificate, file("service.pem")),
        (key, file("ca.key")),
    ])
    .unwrap_err();
    assert!(problem.contains("cannot be used"), "{problem}");
}
