//! Where a service is.

use std::fmt;
use std::str::FromStr;

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// The address of a service: `http://host:port`, `https://host:port` with [`Tls`], or `mem:<name>` within the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) place: Place,
    pub(crate) tls: Option<Tls>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Net(tonic::transport::Uri),
    Memory(String),
}

/// Mutual TLS: who signs certificates, and our own. All are PEM texts.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// The authority that both sides must be signed by.
    pub authority: String,
    /// Our certificate, with its chain.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Endpoint {
    /// A service in this process.
    pub fn memory(name: &str) -> Self {
        Self {
            place: Place::Memory(name.to_owned()),
            tls: None,
        }
    }

    /// Uses mutual TLS; for `https://` endpoints. Fails when the certificates cannot be read.
    pub fn with_tls(mut self, tls: Tls) -> Result<Self, String> {
        let Place::Net(uri) = &self.place else {
            return Err("only a network endpoint has TLS".to_owned());
        };
        tonic::transport::Endpoint::from(uri.clone())
            .tls_config(tls.client())
            .map_err(|error| format!("the certificates cannot be used: {error}"))?;
        self.tls = Some(tls);
        Ok(self)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("mem:") {
            return if name.is_empty() {
                Err("mem: needs a name".to_owned())
            } else {
                Ok(Self::memory(name))
            };
        }
        let uri: tonic::transport::Uri = text
            .parse()
            .map_err(|error| format!("not an address ({error})"))?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(_)) => Ok(Self {
                place: Place::Net(uri),
                tls: None,
            }),
            _ => Err("not http://host:port, https://host:port or mem:<name>".to_owned()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Net(uri) => uri.fmt(f),
            Place::Memory(name) => write!(f, "mem:{name}"),
        }
    }
}

impl Tls {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_nonsense_is_refused() {
        let check =
            |text: &str, good: bool| assert_eq!(text.parse::<Endpoint>().is_ok(), good, "{text}");
        check("http://127.0.0.1:7001", true);
        check("https://auth.internal:443", true);
        check("mem:auth", true);
        check("mem:", false);
        check("auth:7001", false);
        check("ftp://auth", false);
        check("", false);
        assert_eq!(
            "mem:auth".parse::<Endpoint>().unwrap().to_string(),
            "mem:auth"
        );
    }
}
