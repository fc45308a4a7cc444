//! Mutual TLS between services on different machines.

use std::fmt;

use runtime::Reader;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig};

const SETTINGS: [(&str, &str); 3] = [
    (
        "INTERNAL_TLS_CA_FILE",
        "PEM file of the authority that signs every service; unset: calls between services are not encrypted",
    ),
    (
        "INTERNAL_TLS_CERT_FILE",
        "PEM file of this service's certificate and its chain",
    ),
    (
        "INTERNAL_TLS_KEY_FILE",
        "PEM file of the key of that certificate",
    ),
];

/// Who signs the certificates of services, and our own certificate. Both sides of a connection must show one.
#[derive(Clone)]
pub struct Tls {
    authority: String,
    certificate: String,
    key: String,
}

impl Tls {
    /// Takes three PEM texts and tries them. The error says what is wrong, without the key.
    pub fn from_pem(authority: &str, certificate: &str, key: &str) -> Result<Self, String> {
        let tls = Self {
            authority: authority.to_owned(),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        Endpoint::from_static("https://localhost")
            .tls_config(tls.client())
            .map_err(|error| format!("the certificates cannot be used: {error}"))?;
        Ok(tls)
    }

    /// Reads `INTERNAL_TLS_CA_FILE`, `INTERNAL_TLS_CERT_FILE` and `INTERNAL_TLS_KEY_FILE`: all or none. Problems are kept in `reader`.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let files = SETTINGS.map(|(name, doc)| (name, doc, reader.optional(name, doc)));
        if files.iter().all(|(_, _, file)| file.is_none()) {
            return None;
        }
        let texts = files.map(|(name, doc, file)| {
            let Some(file) = file else {
                reader.problem(
                    name,
                    "is not set although the other two of INTERNAL_TLS_* are",
                    doc,
                );
                return None;
            };
            std::fs::read_to_string(&file)
                .map_err(|error| {
                    reader.problem(name, format!("cannot be read: {file}: {error}"), doc)
                })
                .ok()
        });
        let [Some(authority), Some(certificate), Some(key)] = texts else {
            return None;
        };
        match Self::from_pem(&authority, &certificate, &key) {
            Ok(tls) => Some(tls),
            Err(problem) => {
                reader.problem(
                    SETTINGS[1].0,
                    problem,
                    "matching PEM files of authority, certificate and key",
                );
                None
            }
        }
    }

    pub(crate) fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.authority))
            .identity(Identity::from_pem(&self.certificate, &self.key))
    }

    pub(crate) fn server(&self) -> ServerTlsConfig {
        // A client without a certificate of the authority is refused in the handshake.
        ServerTlsConfig::new()
            .client_ca_root(Certificate::from_pem(&self.authority))
            .identity(Identity::from_pem(&self.certificate, &self.key))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
