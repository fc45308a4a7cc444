//! Errors that another tenant's rows would cause: whoever asks such a question learns nothing, not even that there is a row.

use reqwest::Method;
use sqlx::AssertSqlSafe;

use super::attempts::{Attempt, Context, Promise, run};
use super::rows::Owner;
use super::two_houses::{RECORDS, two_houses};
use super::whole_database;

/// Statements that fail on the row of tenant B and on no other. `{t}` is the table.
const QUESTIONS: &[(&str, &str)] = &[
    (
        "division in a condition",
        "select id from {t} where 1 / (case when natural_key = 'secret' then 0 else 1 end) = 1",
    ),
    (
        "division in the output",
        "select 1 / (case when natural_key = 'secret' then 0 else 1 end) from {t}",
    ),
    (
        "division in an order",
        "select id from {t} order by 1 / (case when natural_key = 'secret' then 0 else 1 end)",
    ),
    (
        "division in an update",
        "update {t} set version = 1 / (case when natural_key = 'secret' then 0 else 1 end)",
    ),
    (
        "division in a delete",
        "delete from {t} where 1 / (case when natural_key = 'secret' then 0 else 1 end) = 1 returning id",
    ),
    (
        "division in a join",
        "select x.id from {t} x join {t} y on x.id = y.id and 1 / (case when y.natural_key = 'secret' then 0 else 1 end) = 1",
    ),
    (
        "division below an aggregate",
        "select id from {t} group by id having max(1 / (case when natural_key = 'secret' then 0 else 1 end)) = 1",
    ),
    (
        "division in a lateral",
        "select x.id from {t} x, lateral (select 1 / (case when x.natural_key = 'secret' then 0 else 1 end) as n) y where y.n = 1",
    ),
    (
        "cast to integer",
        "select id from {t} where natural_key::int > 0",
    ),
    (
        "cast to a date",
        "select id from {t} where (data ->> 'day')::date > '2000-01-01'",
    ),
    (
        "cast to uuid",
        "select id from {t} where (data ->> 'other')::uuid is not null",
    ),
    (
        "regular expression",
        "select id from {t} where 'x' ~ (data ->> 'pattern')",
    ),
    (
        "similar to",
        "select id from {t} where 'x' similar to (data ->> 'pattern')",
    ),
    (
        "like with an escape",
        "select id from {t} where 'x' like (data ->> 'like')",
    ),
    (
        "json path",
        "select id from {t} where jsonb_path_exists(data, (data ->> 'path')::jsonpath)",
    ),
    (
        "json of a text",
        "select id from {t} where (data ->> 'json')::jsonb is not null",
    ),
    (
        "elements of a scalar",
        "select id from {t} where (select count(*) from jsonb_array_elements(data -> 'list')) >= 0",
    ),
    (
        "overflow",
        "select id from {t} where version + 2147483000 > 0",
    ),
    (
        "logarithm",
        "select id from {t} where ln(2147483647 - version) >= 0",
    ),
    (
        "array subscript",
        "select id from {t} where (string_to_array(natural_key, '') )[1]::int >= 0",
    ),
];

#[tokio::test]
async fn a_statement_that_would_fail_on_a_foreign_row_does_not_fail() {
    let database = whole_database().await;
    let mut admin = database.admin().await;
    let (a, b) = (Owner::new("a"), Owner::new("b"));
    let harmless = r#"{"day": "2026-01-01", "other": "00000000-0000-4000-8000-000000000001", "pattern": "x", "like": "x", "path": "$.day", "json": "1", "list": []}"#;
    let secret = r#"{"day": "no day", "other": "no uuid", "pattern": "(", "like": "\\", "path": "$$$", "json": "{", "list": 1}"#;
    for (owner, key, version, data) in [
        (&a, "1", 1, harmless),
        (&a, "2", 2, harmless),
        (&b, "secret", i32::MAX, secret),
    ] {
        let sql = format!(
            "insert into niche.records (tenant_id, id, niche, entity, natural_key, data, version, created_at, updated_at) \
             values ('{}', gen_random_uuid(), 'n', 'e', '{key}', $1::jsonb, {version}, now(), now())",
            owner.id
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(data)
            .execute(&mut admin)
            .await
            .unwrap();
    }
    let mut session = database.role("niche_app").await;
    let mut silent = Vec::new();
    for (what, sql) in QUESTIONS {
        let attempt = |promise| Attempt {
            what,
            sql: sql.replace("{t}", "niche.records"),
            promise,
        };
        let own = run(
            &mut session,
            &Context::Of(a.clone()),
            &attempt(Promise::Rows(2)),
        )
        .await;
        assert_eq!(own, Ok(2), "{what}: the answer to A depends on a row of B");
        let of_b = run(
            &mut session,
            &Context::Of(b.clone()),
            &attempt(Promise::Rows(1)),
        )
        .await;
        if of_b.is_ok() {
            silent.push(*what);
        }
    }
    // A question that nobody's row can make fail proves nothing.
    assert!(silent.is_empty(), "these fail on no row: {silent:?}");
}

/// Values that would show if they reached SQL as text, as a pattern or as a cast.
const HOSTILE: &[&str] = &[
    "section:'",
    "section:' or 1=1 --",
    "section:web' and 1/(select 0)=1 --",
    "section:$$",
    "section:\\",
    "section:%25",
    "section:_",
    "section:(",
    "section:[",
    "section:{}",
    "section:null",
    "section:\u{0}",
    "section:::int",
    "name:1;select pg_sleep(5)",
    "section:${jndi:x}",
    "x:y:z",
    "section:web\u{202e}",
    "section:\u{fffd}",
    "section:-9223372036854775809",
    "tenant_id:x",
];

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_the_public_api_reveal_nothing_by_errors() {
    let (platform, [ana, bob]) = two_houses().await;
    let secret = serde_json::json!({"data": {"name": "only-bob", "section": "bobs-secret-section", "priority": "optional"}});
    bob.client.post(RECORDS, &secret).await.unwrap();
    ana.create("only-ana").await;
    let http = reqwest::Client::builder().build().unwrap();
    let base_url = platform.base_url.clone();
    let ask = async |path: String| ana.ask(&http, &base_url, (Method::GET, &path)).await;
    let encoded =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
    for hostile in HOSTILE {
        for path in [
            format!("{RECORDS}?facet={}", encoded(hostile)),
            format!("{RECORDS}?sort={}", encoded(hostile)),
            format!("{RECORDS}?cursor={}", encoded(hostile)),
            format!("{RECORDS}?createdAtFrom={}", encoded(hostile)),
            format!("{RECORDS}/{}", encoded(hostile)),
            format!("/v1/search?q={}", encoded(hostile)),
        ] {
            let (status, body) = ask(path.clone()).await;
            assert!(!status.is_server_error(), "{path}: {status} {body}");
            for word in [
                "SQLSTATE",
                "syntax error",
                "niche.records",
                "postgres",
                "invalid input",
            ] {
                assert!(!body.contains(word), "{path}: {body}");
            }
        }
    }
    // What Bob has and what nobody has look the same to Ana.
    let taken = ask(format!("{RECORDS}?facet=section:bobs-secret-section")).await;
    let free = ask(format!("{RECORDS}?facet=section:nobody-has-this-sec")).await;
    assert_eq!(taken, free);
    // A natural key that Bob has is free for Ana: no unique index reaches over tenants.
    ana.create("only-bob").await;
    platform.stop().await;
}
