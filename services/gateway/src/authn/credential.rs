//! Credentials as they stand in headers.

use actix_http::header::{self, HeaderMap};
use kernel::{Error, ErrorCode, Result};
use sha2::{Digest as _, Sha256};

/// The longest credential; an access token has about 800 bytes.
const CREDENTIAL_BYTES_MAX: usize = 8192;

/// A bearer token or an API key, and the tenant that its sender names.
#[derive(Clone, Copy)]
pub struct Credential<'h> {
    pub(super) secret: &'h str,
    pub(super) tenant: Option<&'h str>,
}

impl<'h> Credential<'h> {
    /// Reads `Authorization: Bearer` or `X-API-Key`; nothing when neither is there, an error when the headers contradict each other.
    pub fn read(headers: &'h HeaderMap) -> Result<Option<Self>> {
        let bearer = single(headers, header::AUTHORIZATION.as_str())?;
        let key = single(headers, "x-api-key")?;
        let secret = match (bearer, key) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                let message = "send either Authorization or X-API-Key, not both";
                return Err(Error::new(
                    ErrorCode::MalformedRequest,
                    "access.two_credentials",
                    message,
                ));
            }
            (Some(bearer), None) => {
                let (scheme, token) = bearer.split_once(' ').ok_or_else(malformed)?;
                if !scheme.eq_ignore_ascii_case("bearer") {
                    return Err(malformed());
                }
                token.trim_start_matches(' ')
            }
            (None, Some(key)) => key,
        };
        if secret.is_empty()
            || secret.len() > CREDENTIAL_BYTES_MAX
            || !secret.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(malformed());
        }
        let tenant = single(headers, "x-tenant-id")?;
        if tenant.is_some_and(|tenant| tenant.is_empty() || tenant.len() > 64) {
            return Err(bad_header("X-Tenant-Id"));
        }
        Ok(Some(Self { secret, tenant }))
    }

    /// What the credential is remembered by. The credential itself is not kept.
    pub(super) fn key(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        // Visible ASCII cannot contain the separator.
        hash.update([0]);
        hash.update(self.tenant.unwrap_or_default());
        hash.finalize().into()
    }
}

/// The value of a header that may stand once.
fn single<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| bad_header(name)),
        (Some(_), Some(_)) => Err(bad_header(name)),
    }
}

/// A header that is repeated or unreadable.
pub fn bad_header(name: &str) -> Error {
    Error::new(
        ErrorCode::MalformedRequest,
        "request.bad_header",
        format!("the header {name} is not valid"),
    )
    .with_detail("header", name)
}

/// In the words of auth: an answer does not tell how far a credential got.
fn malformed() -> Error {
    Error::new(
        ErrorCode::InvalidToken,
        "auth.token_invalid",
        "the credential is not valid",
    )
}

#[cfg(test)]
mod tests {
    use actix_http::header::{HeaderName, HeaderValue};

    use super::*;

    fn read(lines: &[(&str, &str)]) -> Result<Option<String>> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        Ok(Credential::read(&headers)?.map(|credential| credential.secret.to_owned()))
    }

    #[test]
    fn one_credential_is_taken_and_contradictions_are_refused() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(
            read(&[("authorization", "Bearer abc")]).unwrap().as_deref(),
            Some("abc")
        );
        assert_eq!(
            read(&[("authorization", "bearer  abc")])
                .unwrap()
                .as_deref(),
            Some("abc")
        );
        assert_eq!(
            read(&[("x-api-key", "tk_1")]).unwrap().as_deref(),
            Some("tk_1")
        );
        let code = |lines: &[(&str, &str)]| read(lines).unwrap_err().error_code();
        assert_eq!(
            code(&[("authorization", "Bearer a"), ("x-api-key", "b")]),
            ErrorCode::MalformedRequest
        );
        assert_eq!(
            code(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]),
            ErrorCode::MalformedRequest
        );
        assert_eq!(
            code(&[("x-api-key", "a"), ("x-tenant-id", "")]),
            ErrorCode::MalformedRequest
        );
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "Bearer a b",
            "Bearer a\u{e9}",
        ] {
            assert!(read(&[("authorization", value)]).is_err(), "{value}");
        }
        assert_eq!(
            code(&[("x-api-key", &"x".repeat(8193))]),
            ErrorCode::InvalidToken
        );
    }
}
