//! Signing up and proving the address.

use chrono::TimeDelta;
use futures::future::join_all;

use crate::service::{PASSWORD, Service, told};

const ANA: &str = "ana@example.com";

#[tokio::test]
async fn a_stranger_signs_up_proves_the_address_and_signs_in() {
    let service = Service::start().await;
    let client = service.client();
    let answer = client.register("  Ana@Example.com", PASSWORD).await;
    assert!(
        answer.is_err(),
        "an address with blanks is refused by the contract"
    );
    client.register("Ana@Example.com", PASSWORD).await.unwrap();
    assert_eq!(
        told(client.login(ANA, PASSWORD).await),
        (
            "EMAIL_NOT_VERIFIED".into(),
            "auth.email_not_verified".into()
        )
    );
    let token = service.link_token(ANA).await;
    client.verify(&token).await.unwrap();
    let pair = client.login("ANA@example.com", PASSWORD).await.unwrap();
    assert_eq!(
        (pair.token_type.as_str(), pair.expires_in, pair.tenant_id),
        ("Bearer", 900, None)
    );
    let context = service.resolve(&pair.access_token).await.unwrap();
    let me = client.me(&context).await.unwrap();
    assert_eq!(
        (
            me.email.as_str(),
            me.name.as_str(),
            me.r#type.as_str(),
            me.memberships.len()
        ),
        (ANA, "Ana", "user", 0)
    );
    let expected = [
        "user.created",
        "audit sessions.register",
        "user.email_verified",
        "audit sessions.verify-email",
        "audit sessions.login",
    ];
    assert_eq!(service.events().await, expected);
}

#[tokio::test]
async fn known_and_unknown_addresses_get_the_same_answer() {
    let service = Service::start().await;
    let client = service.client();
    service.sign_up(ANA).await;
    let known = client
        .register(ANA, "another long pass phrase")
        .await
        .unwrap();
    let unknown = client
        .register("bob@example.com", "another long pass phrase")
        .await
        .unwrap();
    assert_eq!(known, unknown);
    service.send_mails().await;
    let mails = service.mails_to(ANA);
    assert!(
        mails.last().unwrap().contains("It has an account already")
            && !mails.last().unwrap().contains("token="),
        "{mails:?}"
    );
    client
        .login(ANA, PASSWORD)
        .await
        .expect("nothing about the known account has changed");
}

#[tokio::test]
async fn of_fifty_parallel_uses_of_a_link_one_succeeds() {
    let service = Service::start().await;
    service.client().register(ANA, PASSWORD).await.unwrap();
    let token = service.link_token(ANA).await;
    let uses = (0..50).map(|_| {
        let (client, token) = (service.client(), token.clone());
        async move { client.verify(&token).await }
    });
    let answers = join_all(uses).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.into_iter().filter(Result::is_err) {
        // On a busy machine a few may be told to come back.
        let (code, _) = told(refused);
        let fair = ["INVALID_TOKEN", "SERVICE_UNAVAILABLE", "CONFLICT"];
        assert!(fair.contains(&code.as_str()), "{code}");
    }
}

#[tokio::test]
async fn a_link_lives_for_a_day_from_when_it_was_sent() {
    let service = Service::start().await;
    let client = service.client();
    client.register(ANA, PASSWORD).await.unwrap();
    // The mail server was down for two days.
    service.clock.advance(TimeDelta::days(2));
    let token = service.link_token(ANA).await;
    service.clock.advance(TimeDelta::hours(24));
    assert_eq!(
        told(client.verify(&token).await).1,
        "auth.verification_invalid"
    );
    client.register(ANA, PASSWORD).await.unwrap();
    let token = service.link_token(ANA).await;
    service
        .clock
        .advance(TimeDelta::hours(24) - TimeDelta::seconds(1));
    client.verify(&token).await.unwrap();
}

#[tokio::test]
async fn whoever_signs_up_with_somebody_elses_address_cannot_choose_the_password() {
    let service = Service::start().await;
    let client = service.client();
    client
        .register(ANA, "the attacker knows this one")
        .await
        .unwrap();
    let attackers = service.link_token(ANA).await;
    client.register(ANA, PASSWORD).await.unwrap();
    let own = service.link_token(ANA).await;
    assert_ne!(own, attackers);
    client.verify(&own).await.unwrap();
    assert_eq!(
        told(client.verify(&attackers).await).1,
        "auth.verification_invalid"
    );
    assert_eq!(
        told(client.login(ANA, "the attacker knows this one").await).0,
        "INVALID_CREDENTIALS"
    );
    client.login(ANA, PASSWORD).await.unwrap();
}

#[tokio::test]
async fn guessable_and_short_passwords_are_refused_by_rule() {
    let service = Service::start().await;
    let rule = async |password: &str| {
        let error = service.client().register(ANA, password).await.unwrap_err();
        error
            .violations()
            .iter()
            .map(|v| format!("{} {}", v.field, v.rule))
            .collect::<Vec<_>>()
    };
    assert_eq!(rule("too short").await, ["password string.min_len"]);
    assert_eq!(rule("passwordpassword").await, ["password password.common"]);
    assert_eq!(rule("ana@example.com!").await, ["password password.common"]);
    assert_eq!(service.count("select count(*) from auth.users").await, 0);
}

#[tokio::test]
async fn nobody_can_flood_a_mailbox_through_us() {
    let service = Service::start().await;
    for _ in 0..8 {
        service.client().register(ANA, PASSWORD).await.unwrap();
    }
    service.send_mails().await;
    assert_eq!(service.mails_to(ANA).len(), 5);
    service.clock.advance(TimeDelta::hours(1));
    service.client().register(ANA, PASSWORD).await.unwrap();
    service.send_mails().await;
    assert_eq!(service.mails_to(ANA).len(), 6);
}

#[tokio::test]
async fn no_table_and_no_event_holds_the_token_or_the_password() {
    let service = Service::start().await;
    service.client().register(ANA, PASSWORD).await.unwrap();
    let token = service.link_token(ANA).await;
    let mut admin = service.db.admin().await;
    for table in [
        "users",
        "credentials",
        "email_verifications",
        "mails",
        "outbox",
    ] {
        let sql = format!("select coalesce(string_agg(t::text, ' '), '') from auth.{table} t");
        let all: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut admin)
            .await
            .unwrap();
        assert!(
            !all.contains(&token) && !all.contains(PASSWORD),
            "{table} holds a secret"
        );
    }
    let events: Vec<String> = service
        .db
        .events()
        .await
        .iter()
        .map(|event| event.data.to_string())
        .collect();
    assert!(
        !events.join(" ").contains("ana@"),
        "events carry ids, never addresses: {events:?}"
    );
}

#[tokio::test]
async fn a_mail_that_cannot_be_written_is_sent_later() {
    let service = Service::start().await;
    let folder = &service.config.mail_dir;
    std::fs::write(folder, "a file where the folder should be").unwrap();
    service
        .client()
        .register(ANA, PASSWORD)
        .await
        .expect("a sign-up needs no mail server");
    assert_eq!(service.send_mails().await, 0);
    std::fs::remove_file(folder).unwrap();
    assert_eq!(service.send_mails().await, 0, "the mail rests for a while");
    service.clock.advance(TimeDelta::minutes(1));
    assert_eq!(service.send_mails().await, 1);
    assert_eq!(
        service.send_mails().await,
        0,
        "a sent mail is not sent again"
    );
    assert_eq!(service.mails_to(ANA).len(), 1);
}
