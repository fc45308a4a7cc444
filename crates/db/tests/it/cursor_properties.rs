//! What holds for any cursor: it opens as what was sealed, or not at all.

use db::cursor::{Scope, Sealer};
use kernel::ErrorCode;
use proptest::prelude::*;
use proptest::sample::Index;
use testkit::{TENANT_A, TENANT_B};

use crate::probe::in_tenant;

type Position = (String, i64, Option<String>);

fn sealer() -> Sealer {
    let secret = "a secret of at least thirty-two characters".to_owned();
    Sealer::new(&secret.into(), testkit::clock())
}

fn position() -> impl Strategy<Value = Position> {
    ("\\PC{0,30}", any::<i64>(), prop::option::of("[a-z]{0,8}"))
}

proptest! {
    #[test]
    fn any_position_comes_back_and_only_within_its_scope(position in position(), route in "/[a-z.]{1,12}/[A-Z][a-z]{0,8}", other in "/[a-z.]{1,12}/[A-Z][a-z]{0,8}", filters in "\\PC{0,12}", others in "\\PC{0,12}") {
        let (sealer, ctx) = (sealer(), in_tenant(TENANT_A));
        let scope = Scope::new(&route, &filters);
        let cursor = sealer.seal(&ctx, &scope, &position).unwrap();
        prop_assert_eq!(sealer.open::<Position>(&ctx, &scope, &cursor).unwrap(), Some(position));
        let code = |outcome: kernel::Result<Option<Position>>| outcome.err().map(|error| error.error_code());
        let refused = Some(ErrorCode::ValidationError);
        prop_assert_eq!(code(sealer.open(&in_tenant(TENANT_B), &scope, &cursor)), refused);
        if route != other {
            prop_assert_eq!(code(sealer.open(&ctx, &Scope::new(&other, &filters), &cursor)), refused);
        }
        if filters != others {
            prop_assert_eq!(code(sealer.open(&ctx, &Scope::new(&route, &others), &cursor)), refused);
        }
        prop_assert_eq!(code(sealer.open(&ctx, &Scope { route: &route, filters: [0; 32] }, &cursor)), refused);
    }

    #[test]
    fn any_change_to_a_cursor_is_refused(position in position(), at in any::<Index>(), to in "\\PC{0,4}", cut in 0_usize..6) {
        let (sealer, ctx, scope) = (sealer(), in_tenant(TENANT_A), Scope::new("/a/B", &()));
        let cursor = sealer.seal(&ctx, &scope, &position).unwrap();
        let at = at.index(cursor.len() + 1);
        let end = (at + cut).min(cursor.len());
        let changed = format!("{}{to}{}", &cursor[..at], &cursor[end..]);
        prop_assume!(changed != cursor && !changed.is_empty());
        let opened = sealer.open::<Position>(&ctx, &scope, &changed);
        prop_assert_eq!(opened.err().map(|error| error.error_code()), Some(ErrorCode::ValidationError), "{}", changed);
    }

    #[test]
    fn any_text_is_no_cursor(text in prop_oneof!["\\PC{1,80}", "[A-Za-z0-9_-]{1,3000}"]) {
        let opened = sealer().open::<Position>(&in_tenant(TENANT_A), &Scope::new("/a/B", &()), &text);
        prop_assert_eq!(opened.err().map(|error| error.error_code()), Some(ErrorCode::ValidationError));
    }

    #[test]
    fn two_cursors_cannot_be_spliced(a in position(), b in position(), at in any::<Index>()) {
        let (sealer, ctx, scope) = (sealer(), in_tenant(TENANT_A), Scope::new("/a/B", &()));
        let [a, b] = [&a, &b].map(|position| sealer.seal(&ctx, &scope, position).unwrap());
        let at = at.index(a.len().min(b.len()));
        let spliced = format!("{}{}", &a[..at], &b[at..]);
        prop_assume!(spliced != a && spliced != b);
        prop_assert!(sealer.open::<Position>(&ctx, &scope, &spliced).is_err());
    }
}
