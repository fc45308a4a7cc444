//! The words of each mail, in the two languages of the product.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use kernel::Locale;
use uuid::Uuid;

use super::Kind;

/// What a mail is made of.
pub struct Letter<'a> {
    /// Also the `Message-ID`, so that a mail sent twice is known as one.
    pub id: Uuid,
    /// What it says.
    pub kind: Kind,
    /// A validated, normalised address.
    pub to: &'a str,
    /// In which language.
    pub locale: Locale,
    /// Where links lead; from the settings, never from a request.
    pub public_url: &'a str,
    /// Of a verification link.
    pub token: Option<&'a str>,
    /// Of a new tenant.
    pub tenant_name: &'a str,
    /// Now.
    pub now: DateTime<Utc>,
}

/// The whole message (RFC 5322), with CRLF.
pub fn compose(letter: &Letter<'_>) -> String {
    let (subject, body) = words(letter);
    let headers = [
        "From: Tenantry <no-reply@tenantry.local>".to_owned(),
        format!("To: <{}>", one_line(letter.to)),
        format!("Subject: =?UTF-8?B?{}?=", STANDARD.encode(subject)),
        format!("Date: {}", letter.now.to_rfc2822()),
        format!("Message-ID: <{}@tenantry.local>", letter.id),
        format!("Content-Language: {}", letter.locale.as_str()),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        "Content-Transfer-Encoding: 8bit".to_owned(),
        "Auto-Submitted: auto-generated".to_owned(),
    ];
    format!(
        "{}\r\n\r\n{}\r\n",
        headers.join("\r\n"),
        body.replace('\n', "\r\n")
    )
}

/// What a header may hold: no control characters, so that no value can start a new header.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn words(letter: &Letter<'_>) -> (&'static str, String) {
    let url = letter.public_url.trim_end_matches('/');
    let link = format!(
        "{url}/verify-email?token={}",
        letter.token.unwrap_or_default()
    );
    let tenant = one_line(letter.tenant_name);
    match (letter.kind, letter.locale) {
        (Kind::VerifyEmail, Locale::En) => (
            "Confirm your e-mail address",
            format!(
                "Welcome to Tenantry.\n\nOpen this link within 24 hours to confirm your address:\n\n{link}\n\nIf you did not sign up, ignore this mail: without the link nothing happens."
            ),
        ),
        (Kind::VerifyEmail, Locale::PtBr) => (
            "Confirme seu e-mail",
            format!(
                "Boas-vindas ao Tenantry.\n\nAbra este link em até 24 horas para confirmar seu endereço:\n\n{link}\n\nSe você não fez este cadastro, ignore esta mensagem: sem o link nada acontece."
            ),
        ),
        (Kind::AlreadyRegistered, Locale::En) => (
            "You already have an account",
            format!(
                "Somebody, perhaps you, signed up with this address. It has an account already, and nothing about it has changed.\n\nSign in at {url}"
            ),
        ),
        (Kind::AlreadyRegistered, Locale::PtBr) => (
            "Você já tem uma conta",
            format!(
                "Alguém, talvez você, fez um cadastro com este endereço. Ele já tem uma conta, e nada nela mudou.\n\nEntre em {url}"
            ),
        ),
        (Kind::TenantOwner, Locale::En) => (
            "Your workspace is ready",
            format!(
                "The workspace \"{tenant}\" has been created and you are its owner.\n\nSign in at {url} with this address; if you have no account yet, sign up with it first."
            ),
        ),
        (Kind::TenantOwner, Locale::PtBr) => (
            "Seu espaço está pronto",
            format!(
                "O espaço \"{tenant}\" foi criado e é seu.\n\nEntre em {url} com este endereço; se ainda não tem conta, cadastre-se com ele primeiro."
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(kind: Kind, locale: Locale) -> String {
        compose(&Letter {
            id: Uuid::from_u128(7),
            kind,
            to: "ana@example.com\r\nBcc: eve@example.com",
            locale,
            public_url: "https://app.example.com/",
            token: Some("TOKEN"),
            tenant_name: "Pousada\r\nAzul",
            now: DateTime::UNIX_EPOCH,
        })
    }

    #[test]
    fn the_link_leads_to_the_configured_address() {
        for locale in [Locale::En, Locale::PtBr] {
            assert!(
                letter(Kind::VerifyEmail, locale)
                    .contains("\r\n\r\nhttps://app.example.com/verify-email?token=TOKEN\r\n\r\n")
            );
        }
    }

    #[test]
    fn no_value_can_add_a_header() {
        for kind in [
            Kind::VerifyEmail,
            Kind::AlreadyRegistered,
            Kind::TenantOwner,
        ] {
            let message = letter(kind, Locale::PtBr);
            let headers = message.split("\r\n\r\n").next().unwrap();
            assert_eq!(headers.lines().count(), 10, "{headers}");
            assert!(
                !headers.lines().any(|line| line.starts_with("Bcc")),
                "{headers}"
            );
        }
    }

    #[test]
    fn a_token_is_in_verification_mails_only() {
        assert!(!letter(Kind::AlreadyRegistered, Locale::En).contains("TOKEN"));
        assert!(!letter(Kind::TenantOwner, Locale::En).contains("TOKEN"));
    }
}
