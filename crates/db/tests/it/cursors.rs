//! Sealed cursors.

use chrono::TimeDelta;
use db::cursor::{Scope, Sealer};
use kernel::{ErrorCode, RequestContext};
use testkit::{TENANT_A, TENANT_B};

use crate::probe::in_tenant;

const ROUTE: &str = "/probe.v1.NoteService/ListNotes";
type Position = (String, u32);

fn sealer() -> (Sealer, kernel::Clock) {
    let clock = testkit::clock();
    (
        Sealer::new(
            &"a secret of at least thirty-two characters"
                .to_owned()
                .into(),
            clock.clone(),
        ),
        clock,
    )
}

fn open(
    sealer: &Sealer,
    ctx: &RequestContext,
    scope: &Scope<'_>,
    cursor: &str,
) -> Result<Option<Position>, ErrorCode> {
    sealer
        .open(ctx, scope, cursor)
        .map_err(|error| error.error_code())
}

#[test]
fn what_was_sealed_opens_again_in_the_same_scope() {
    let (sealer, _) = sealer();
    let (ctx, scope) = (in_tenant(TENANT_A), Scope::new(ROUTE, &("active", "desc")));
    let position: Position = ("2026".to_owned(), 7);
    let cursor = sealer.seal(&ctx, &scope, &position).unwrap();
    assert_eq!(open(&sealer, &ctx, &scope, &cursor), Ok(Some(position)));
    assert_eq!(open(&sealer, &ctx, &scope, ""), Ok(None));
    assert!(
        cursor
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'),
        "{cursor} fits into a URL"
    );
}

#[test]
fn it_opens_for_no_other_tenant_route_or_filter() {
    let (sealer, _) = sealer();
    let (ctx, scope) = (in_tenant(TENANT_A), Scope::new(ROUTE, &"active"));
    let cursor = sealer.seal(&ctx, &scope, &("x", 1)).unwrap();
    let refused = Err(ErrorCode::ValidationError);
    assert_eq!(
        open(&sealer, &in_tenant(TENANT_B), &scope, &cursor),
        refused
    );
    assert_eq!(
        open(
            &sealer,
            &ctx,
            &Scope::new("/probe.v1.NoteService/Other", &"active"),
            &cursor
        ),
        refused
    );
    assert_eq!(
        open(&sealer, &ctx, &Scope::new(ROUTE, &"archived"), &cursor),
        refused
    );
    let other_key = Sealer::new(
        &"another secret of thirty-two characters!".to_owned().into(),
        testkit::clock(),
    );
    assert_eq!(open(&other_key, &ctx, &scope, &cursor), refused);
}

#[test]
fn every_altered_character_is_noticed() {
    let (sealer, _) = sealer();
    let (ctx, scope) = (in_tenant(TENANT_A), Scope::new(ROUTE, &()));
    let cursor = sealer.seal(&ctx, &scope, &("x", 1)).unwrap();
    for at in 0..cursor.len() {
        let mut altered = cursor.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert_eq!(
            open(&sealer, &ctx, &scope, &altered),
            Err(ErrorCode::ValidationError),
            "character {at}"
        );
        assert_eq!(
            open(&sealer, &ctx, &scope, &cursor[..at]).is_ok(),
            at == 0,
            "cut at {at}"
        );
    }
    for garbage in ["!", "ä", "AAAA", "=", &"A".repeat(5_000)] {
        assert_eq!(
            open(&sealer, &ctx, &scope, garbage),
            Err(ErrorCode::ValidationError),
            "{garbage}"
        );
    }
}

#[test]
fn it_expires_after_a_day() {
    let (sealer, clock) = sealer();
    let (ctx, scope) = (in_tenant(TENANT_A), Scope::new(ROUTE, &()));
    let cursor = sealer.seal(&ctx, &scope, &("x", 1)).unwrap();
    clock.advance(TimeDelta::hours(24));
    assert!(open(&sealer, &ctx, &scope, &cursor).is_ok());
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(
        open(&sealer, &ctx, &scope, &cursor),
        Err(ErrorCode::ValidationError)
    );
}
