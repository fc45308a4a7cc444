//! What makes a secret no secret.

/// Values that stand in examples, in default installations and in the first line of every word list.
const WELL_KNOWN: &[&str] = &[
    "admin",
    "administrator",
    "changeme",
    "default",
    "dev",
    "development",
    "example",
    "guest",
    "minioadmin",
    "passw0rd",
    "password",
    "postgres",
    "rabbitmq",
    "redis",
    "root",
    "s3cret",
    "secret",
    "tenantry",
    "test",
    "token",
];

/// Says why a value cannot be a secret outside the dev profile; never repeats the value.
pub(super) fn secret_weakness(value: &str) -> Option<&'static str> {
    let lower = value.to_ascii_lowercase();
    if lower.contains("change_me") || lower.contains("change-me") {
        return Some("still has the placeholder change_me");
    }
    if WELL_KNOWN.contains(&lower.as_str())
        || url_password(&lower).is_some_and(|p| WELL_KNOWN.contains(&p))
    {
        return Some("has a well-known value");
    }
    let first = lower.chars().next()?;
    lower
        .chars()
        .all(|c| c == first)
        .then_some("repeats one character")
}

/// The password inside a URL such as a database DSN.
fn url_password(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (userinfo, _) = authority.rsplit_once('@')?;
    userinfo.split_once(':').map(|(_, password)| password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_secrets_are_seen_also_inside_a_url() {
        let check =
            |value, weak: bool| assert_eq!(secret_weakness(value).is_some(), weak, "{value}");
        check("change_me", true);
        check("prefix-CHANGE_ME-suffix", true);
        check("MinioAdmin", true);
        check("aaaaaaaaaaaa", true);
        check("postgres://auth_app:postgres@db/tenantry", true);
        check("postgres://auth_app:u8Zl0qkq5tZ@db/tenantry", false);
        check("amqp://guest:guest@mq:5672/%2f", true);
        check("redis://cache:6379", false);
        check("u8Zl0qkq5tZ", false);
    }
}
