//! Where a service is.

use std::fmt;
use std::str::FromStr;

/// The address of a service: `http://host:port`, `https://host:port`, or `mem:<name>` within the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Net(tonic::transport::Uri),
    Memory(String),
}

impl Endpoint {
    /// A service in this process.
    pub fn memory(name: &str) -> Self {
        Self {
            place: Place::Memory(name.to_owned()),
        }
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
