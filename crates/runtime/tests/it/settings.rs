//! All problems at once, and nothing secret told.

use std::time::Duration;

use runtime::settings::{Profile, Reader};
use secrecy::ExposeSecret;

fn reader<const N: usize>(map: [(&str, &str); N]) -> Reader {
    Reader::from_map(map)
}

#[test]
fn every_problem_is_told_at_once_with_what_to_do() {
    let mut r = reader([
        ("A_POOL", "many"),
        ("A_MODE", "fast"),
        ("A_WAIT_MS", "99999"),
        ("A_URL", "postgres://a:change_me@db/x"),
    ]);
    r.number("A_POOL", 10, 1..=100, "connections");
    r.choice("A_MODE", "safe", &["safe", "quick"], "mode");
    r.duration_ms(
        "A_WAIT_MS",
        Duration::from_secs(1),
        Duration::ZERO..=Duration::from_secs(5),
        "wait",
    );
    r.required("A_NAME", "the public name");
    r.secret("A_KEY", "32 random bytes");
    r.secret("A_URL", "where the database is");
    let text = r.finish().unwrap_err().to_string();
    for part in [
        "6 settings must be mended",
        "A_POOL is 'many'. Set it to: a number from 1 to 100",
        "A_MODE is 'fast'. Set it to: one of safe, quick",
        "A_WAIT_MS is '99999'",
        "A_NAME is not set. Set it to: the public name",
        "A_KEY is not set",
        "A_URL still has the placeholder change_me",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("postgres://"), "{text}");
}

#[test]
fn good_settings_and_defaults_are_read() {
    let mut r = reader([("A_POOL", " 7 "), ("A_LIST", "x, y,,z"), ("A_ON", "true")]);
    assert_eq!(r.number("A_POOL", 10, 1..=100, ""), 7);
    assert_eq!(r.number("A_OTHER", 10, 1..=100, ""), 10);
    assert_eq!(r.list("A_LIST", "", ""), ["x", "y", "z"]);
    assert_eq!(r.list("A_NONE", "", ""), [""; 0]);
    assert!(r.flag("A_ON", false, ""));
    assert_eq!(r.optional("A_MAYBE", ""), None);
    assert_eq!(
        r.duration_ms(
            "A_MS",
            Duration::from_millis(5),
            Duration::ZERO..=Duration::from_secs(1),
            ""
        ),
        Duration::from_millis(5)
    );
    assert_eq!(
        r.parsed::<std::net::IpAddr>("A_IP", "127.0.0.1", "")
            .unwrap()
            .to_string(),
        "127.0.0.1"
    );
    assert_eq!(
        r.profile(),
        Profile::Production,
        "nothing said means the careful one"
    );
    r.finish().unwrap();
}

#[test]
fn what_serves_on_a_laptop_is_refused_elsewhere() {
    let read = |profile: &str, key: Option<&str>| {
        let mut map = vec![("TENANTRY_PROFILE", profile)];
        map.extend(key.map(|key| ("A_KEY", key)));
        let mut r = Reader::from_map(map);
        let value = r
            .secret_or_dev("A_KEY", "dev-only-key", "a key")
            .expose_secret()
            .to_owned();
        r.finish()
            .map(|()| value)
            .map_err(|problems| problems.to_string())
    };
    assert_eq!(read("dev", None).unwrap(), "dev-only-key");
    assert_eq!(read("dev", Some("minioadmin")).unwrap(), "minioadmin");
    assert!(read("production", None).unwrap_err().contains("is not set"));
    assert!(
        read("production", Some("dev-only-key"))
            .unwrap_err()
            .contains("dev profile")
    );
    assert!(
        read("production", Some("minioadmin"))
            .unwrap_err()
            .contains("well-known")
    );
    assert!(
        read("production", Some("change_me"))
            .unwrap_err()
            .contains("change_me")
    );
    assert_eq!(
        read("production", Some("q8ZkP2xLw0")).unwrap(),
        "q8ZkP2xLw0"
    );
    assert!(
        read("prod", Some("q8ZkP2xLw0"))
            .unwrap_err()
            .contains("TENANTRY_PROFILE")
    );
}

#[test]
fn the_description_shows_every_setting_and_no_secret() {
    let mut r = reader([
        ("A_KEY", "q8ZkP2xLw0"),
        ("A_POOL", "7"),
        ("A_DSN", "amqp://user:hidden@mq/x"),
    ]);
    r.secret("A_KEY", "a key.");
    r.optional_secret("A_TOKEN", "a token");
    r.number("A_POOL", 10, 1..=100, "connections");
    r.text("A_NAME", "demo", "the name");
    r.text("A_DSN", "", "the broker");
    let text = r.describe();
    for part in [
        "A_KEY=[set, secret]\n    a key.",
        "A_TOKEN=[not set, secret]",
        "A_POOL=7\n    connections. Default: 10.",
        "A_NAME=demo (default)",
        "A_DSN=amqp://user:***@mq/x",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(
        !text.contains("q8ZkP2xLw0") && !text.contains("hidden"),
        "{text}"
    );
}
