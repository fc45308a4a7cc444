//! What holds for any environment: every problem is told at once, and no secret ever is.

use std::time::Duration;

use proptest::prelude::*;
use runtime::Reader;

/// Any value that an environment can hold, the usual mistakes more often.
fn value() -> impl Strategy<Value = Option<String>> {
    let mistakes = vec![
        "",
        " ",
        "true",
        "TRUE",
        "0",
        "-1",
        "1e3",
        "5 ",
        "NaN",
        "change_me",
        "99999999999999999999",
        "a,,b",
        "postgres://u:p@h/d",
        "\"5\"",
        "５",
    ];
    prop_oneof![
        1 => Just(None),
        2 => "\\PC{0,20}".prop_map(Some),
        2 => prop::sample::select(mistakes).prop_map(|text| Some(text.to_owned())),
        1 => "[0-9]{1,6}".prop_map(Some),
    ]
}

/// A setting of each kind: what it is called and whether its value was taken without a problem.
fn read_all(values: &[(&str, Option<String>)]) -> Reader {
    let map: Vec<(String, String)> = values
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?)))
        .collect();
    let mut reader = Reader::from_map(map);
    reader.text("A_TEXT", "default", "a text");
    reader.required("A_REQUIRED", "a required text");
    reader.optional("AN_OPTION", "a text");
    reader.number("A_NUMBER", 5_u32, 1..=100, "a number");
    reader.number("A_RATIO", 0.5_f64, 0.0..=1.0, "a ratio");
    reader.duration_ms(
        "A_PAUSE_MS",
        Duration::from_secs(1),
        Duration::from_millis(10)..=Duration::from_secs(9),
        "a pause",
    );
    reader.flag("A_FLAG", false, "a flag");
    reader.choice("A_CHOICE", "one", &["one", "two"], "a choice");
    reader.list("A_LIST", "a,b", "a list");
    reader.parsed::<std::net::IpAddr>("AN_ADDRESS", "127.0.0.1", "an address");
    reader
}

const NAMES: [&str; 11] = [
    "TENANTRY_PROFILE",
    "A_TEXT",
    "A_REQUIRED",
    "AN_OPTION",
    "A_NUMBER",
    "A_RATIO",
    "A_PAUSE_MS",
    "A_FLAG",
    "A_CHOICE",
    "A_LIST",
    "AN_ADDRESS",
];

/// The names of the problems of an environment.
fn problems(values: &[(&str, Option<String>)]) -> Vec<String> {
    let mut names: Vec<String> = read_all(values)
        .finish()
        .err()
        .map(|problems| problems.0.into_iter().map(|problem| problem.name).collect())
        .unwrap_or_default();
    names.sort();
    names.dedup();
    names
}

/// A profile must be the same for all, or it would decide about the others.
fn profiled(name: &'static str, value: &Option<String>) -> Vec<(&'static str, Option<String>)> {
    let required = ("A_REQUIRED", Some("there".to_owned()));
    if name == "A_REQUIRED" {
        vec![(name, value.clone())]
    } else {
        vec![required, (name, value.clone())]
    }
}

proptest! {
    #[test]
    fn any_environment_tells_all_its_problems_at_once(values in prop::collection::vec(value(), NAMES.len())) {
        let all: Vec<(&str, Option<String>)> = NAMES.into_iter().zip(values).filter(|(name, _)| *name != "TENANTRY_PROFILE").collect();
        let mut one_by_one: Vec<String> = all
            .iter()
            .flat_map(|(name, value)| problems(&profiled(name, value)))
            .collect();
        one_by_one.sort();
        one_by_one.dedup();
        prop_assert_eq!(problems(&all), one_by_one);
    }

    #[test]
    fn any_value_of_any_setting_is_read_without_a_panic(values in prop::collection::vec(value(), NAMES.len())) {
        let reader = read_all(&NAMES.into_iter().zip(values).collect::<Vec<_>>());
        reader.describe();
        let _ = reader.finish();
    }

    #[test]
    fn no_secret_is_ever_told(secret in "[!-~]{1,60}", placed in 0_usize..4, dev in any::<bool>()) {
        // So that what is found is this secret and no word of a message.
        let secret = format!("q7{secret}7q");
        let name = ["A_SECRET", "A_KEY", "A_TOKEN", "NOT_READ"][placed];
        let profile = if dev { "dev" } else { "production" };
        let mut reader = Reader::from_map([("TENANTRY_PROFILE", profile), (name, secret.as_str())]);
        let mut held = format!("{:?}", reader.secret("A_SECRET", "a secret"));
        held += &format!("{:?}", reader.optional_secret("A_KEY", "a key"));
        held += &format!("{:?}", reader.secret_or_dev("A_TOKEN", "known", "a token"));
        let told = format!("{held}{}{reader:?}{:?}", reader.describe(), reader.finish());
        let shown = reader.finish().err().map(|problems| problems.to_string()).unwrap_or_default();
        prop_assert!(!told.contains(&secret) && !shown.contains(&secret), "{told}{shown}");
    }

    #[test]
    fn no_password_in_an_address_is_described(password in "[A-Za-z0-9:@%!$&*+=._~-]{1,30}", rest in "[a-z/?#=]{0,10}") {
        let password = format!("q7{password}7q");
        let url = format!("postgres://user:{password}@host:5432/{rest}");
        let mut reader = Reader::from_map([("TENANTRY_PROFILE", "dev"), ("A_URL", url.as_str())]);
        reader.text("A_URL", "", "an address");
        prop_assert!(!reader.describe().contains(&password), "{}", reader.describe());
    }
}
