//! Keeps personal data and secrets out of logs and traces, whoever writes them.
//!
//! Two lines of defence: a field whose *name* is declared as personal in the contract is masked, or removed when it is a secret;
//! and every text is searched for what *looks* like an address, a token or a tax number.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use proto::pii::Class;

/// What stands in the place of a masked value.
pub const MASK: &str = "***";

/// What happens to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Its value may be shown, after [`scrub`].
    Keep,
    /// Its value is replaced by [`MASK`].
    Mask,
    /// It is left out, name and all.
    Remove,
}

/// Names that are secrets although no message has a field of that name: headers, settings and what drivers call things.
const SECRET_NAMES: &[&str] = &[
    "api_key",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "dsn",
    "otp",
    "passwd",
    "password",
    "private_key",
    "pwd",
    "secret",
    "set_cookie",
    "token",
    "x_api_key",
];
const SECRET_ENDINGS: &[&str] = &[
    "_api_key",
    "_cookie",
    "_credential",
    "_dsn",
    "_password",
    "_private_key",
    "_secret",
    "_token",
];

/// Names that are personal although no message has a field of that name.
const PERSONAL_NAMES: &[&str] = &[
    "cnpj",
    "cpf",
    "e_mail",
    "email",
    "full_name",
    "phone",
    "phone_number",
    "tax_id",
    "user_agent",
];

/// Personal in some message, yet in logs these names mean things: `name = "worker"`, `title = "…"` of a kit.
/// What they hold is still searched by [`scrub`].
const COMMON_NAMES: &[&str] = &[
    "data", "message", "name", "query", "reason", "text", "title", "value", "values",
];

static BY_NAME: LazyLock<HashMap<&'static str, Treatment>> = LazyLock::new(|| {
    let mut by_name: HashMap<_, _> = PERSONAL_NAMES
        .iter()
        .map(|name| (*name, Treatment::Mask))
        .collect();
    for field in proto::pii::FIELDS {
        let is_secret = field.class == Class::Secret;
        if is_secret || !COMMON_NAMES.contains(&field.field) {
            // A name that is a secret anywhere is a secret everywhere.
            let treatment = by_name.entry(field.field).or_insert(Treatment::Mask);
            if is_secret {
                *treatment = Treatment::Remove;
            }
        }
    }
    by_name
});

/// Decides by the name of a field, in any spelling: `ownerEmail`, `owner_email`, `user.email`, `x-api-key`.
pub fn treatment(field: &str) -> Treatment {
    let last = field.rsplit('.').next().unwrap_or(field);
    let name = snake(last);
    if SECRET_NAMES.contains(&name.as_ref()) || SECRET_ENDINGS.iter().any(|end| name.ends_with(end))
    {
        return Treatment::Remove;
    }
    BY_NAME
        .get(name.as_ref())
        .copied()
        .unwrap_or(Treatment::Keep)
}

/// Replaces what looks like an e-mail address, a signed token, a bearer credential or a Brazilian tax number.
pub fn scrub(text: &str) -> Cow<'_, str> {
    // Nearly every text lacks all of the marks, and then costs one pass.
    if !text.bytes().any(|b| matches!(b, b'@' | b'-'))
        && !text.contains("eyJ")
        && !text.contains("earer ")
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut changed = false;
    let mut after_bearer = false;
    for piece in text.split_inclusive(is_boundary) {
        let (word, end) = match piece.char_indices().next_back() {
            Some((at, last)) if is_boundary(last) => piece.split_at(at),
            _ => (piece, ""),
        };
        let hide = !word.is_empty()
            && (after_bearer || is_address(word) || is_token(word) || is_tax_number(word));
        out.push_str(if hide { MASK } else { word });
        out.push_str(end);
        changed |= hide;
        if !word.is_empty() {
            after_bearer = word.eq_ignore_ascii_case("bearer");
        }
    }
    if changed {
        Cow::Owned(out)
    } else {
        Cow::Borrowed(text)
    }
}

fn is_boundary(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '"' | '\''
                | '`'
                | '<'
                | '>'
                | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | ','
                | ';'
                | '='
                | ':'
                | '/'
                | '?'
                | '&'
                | '|'
                | '\\'
        )
}

fn is_address(word: &str) -> bool {
    word.split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.'))
}

fn is_token(word: &str) -> bool {
    word.starts_with("eyJ") && word.len() > 20
}

/// CPF `000.000.000-00` and CNPJ `00.000.000/0000-00` (which the slash cuts in two, so its first half is enough).
fn is_tax_number(word: &str) -> bool {
    let shape = |pattern: &str| {
        word.len() == pattern.len()
            && word.bytes().zip(pattern.bytes()).all(|(b, p)| {
                if p == b'0' {
                    b.is_ascii_digit()
                } else {
                    b == p
                }
            })
    };
    shape("000.000.000-00") || shape("00.000.000")
}

fn snake(name: &str) -> Cow<'_, str> {
    if !name.bytes().any(|b| b.is_ascii_uppercase() || b == b'-') {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            if !out.is_empty() && !out.ends_with('_') {
                out.push('_');
            }
            out.push(c.to_ascii_lowercase());
        } else {
            out.push(if c == '-' { '_' } else { c });
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_treated_in_any_spelling() {
        let check = |name, expected| assert_eq!(treatment(name), expected, "{name}");
        check("email", Treatment::Mask);
        check("ownerEmail", Treatment::Mask);
        check("user.email", Treatment::Mask);
        check("password", Treatment::Remove);
        check("refreshToken", Treatment::Remove);
        check("X-Api-Key", Treatment::Remove);
        check("Authorization", Treatment::Remove);
        check("requestId", Treatment::Keep);
        check("name", Treatment::Keep);
        check("path", Treatment::Keep);
    }

    #[test]
    fn texts_lose_what_looks_personal_and_keep_the_rest() {
        let check = |text, expected| assert_eq!(scrub(text), expected);
        check("user ann@example.com not found", "user *** not found");
        check(
            r#"LoginRequest { email: "ann@example.com", n: 1 }"#,
            r#"LoginRequest { email: "***", n: 1 }"#,
        );
        check("authorization: Bearer abc.def", "authorization: Bearer ***");
        check("token eyJhbGciOiJFZERTQSIsInR5cCI6.e30.c2ln", "token ***");
        check("cpf 123.456.789-09", "cpf ***");
        check(
            "at 2026-01-02T03:04:05Z, 018f3c2e-0000-7000-8000-000000000001",
            "at 2026-01-02T03:04:05Z, 018f3c2e-0000-7000-8000-000000000001",
        );
        check(
            "postgres://app:pw@db/tenantry",
            "postgres://app:pw@db/tenantry",
        );
        check("mailto:a.b+c@sub.example.org?x", "mailto:***?x");
    }
}
