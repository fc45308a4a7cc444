//! Failures there and back.

use std::time::Duration;

use kernel::{Error, ErrorCode, Violation};
use proto::search::v1::{FacetFilter, SearchRequest, SearchResponse};
use tonic::{Code, Status};

use crate::stub::{as_ann, search, serve};

fn rich(code: ErrorCode) -> Error {
    Error::new(
        code,
        format!("demo.{}", code.as_str().to_lowercase()),
        "não deu; “try” again\nplease 100%",
    )
    .with_detail("toolAction", "search.query")
    .with_detail("empty", "")
    .with_retry_after(Duration::from_millis(1_500))
    .with_violations(vec![
        Violation::new(
            "filters[0].facet",
            "string.max_len",
            "must have at most 60 characters",
        )
        .with("max", 60)
        .with("código", "ção"),
        Violation::new("", "required", "is required"),
    ])
}

fn parts(error: &Error) -> impl PartialEq + std::fmt::Debug + use<> {
    let violations: Vec<_> = error.violations().to_vec();
    (
        error.error_code(),
        error.reason().to_owned(),
        error.message().to_owned(),
        violations,
        error.details().clone(),
        error.retry_after(),
    )
}

#[tokio::test]
async fn every_error_code_survives_the_way_with_all_it_carries() {
    let clock = testkit::clock();
    let (rpc, mut client) = serve(&clock, |_, message: SearchRequest| async move {
        Err::<SearchResponse, _>(rich(ErrorCode::parse(&message.query).unwrap()))
    })
    .await;
    for code in ErrorCode::ALL {
        let mut request = as_ann(&clock);
        request.get_mut().query = code.as_str().to_owned();
        let error = search(&mut client, request).await.unwrap_err();
        assert_eq!(parts(&error), parts(&rich(*code)));
    }
    rpc.stop().await;
}

#[test]
fn each_code_has_one_grpc_code_that_leads_back_to_it() {
    for code in ErrorCode::ALL {
        let there = rpc::status::grpc_code(code.code());
        assert_eq!(rpc::status::local_code(there), code.code(), "{code}");
    }
}

#[tokio::test]
async fn a_cause_never_leaves_the_service() {
    let clock = testkit::clock();
    let (rpc, mut client) = serve(&clock, |_, _| async {
        let cause = std::io::Error::other("password=hunter2 at 10.0.0.7");
        Err::<SearchResponse, _>(Error::internal(cause).context("while reading secrets"))
    })
    .await;
    let status = client.search(as_ann(&clock)).await.unwrap_err();
    let everything = format!(
        "{status:?} {:?} {}",
        status.metadata(),
        String::from_utf8_lossy(status.details())
    );
    assert!(
        !everything.contains("hunter2") && !everything.contains("secrets"),
        "{everything}"
    );
    assert_eq!(status.message(), "something went wrong on our side");
    rpc.stop().await;
}

#[tokio::test]
async fn all_broken_rules_are_told_at_once_with_ids_and_parameters() {
    let clock = testkit::clock();
    let (rpc, mut client) =
        serve(&clock, |_, _| async { panic!("the handler must not run") }).await;
    let mut request = as_ann(&clock);
    *request.get_mut() = SearchRequest {
        query: String::new(),
        niche: "n".repeat(61),
        limit: 101,
        mode: "magic".to_owned(),
        filters: vec![FacetFilter {
            facet: String::new(),
            values: vec![],
        }],
        ..SearchRequest::default()
    };
    let error = search(&mut client, request).await.unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::ValidationError);
    let mut found: Vec<_> = error
        .violations()
        .iter()
        .map(|v| (v.field.as_str(), v.rule.as_str()))
        .collect();
    found.sort_unstable();
    let expected = [
        ("filters[0].facet", "string.min_len"),
        ("filters[0].values", "repeated.min_items"),
        ("limit", "number.gte_lte"),
        ("mode", "string.in"),
        ("niche", "string.max_len"),
        ("query", "string.min_len"),
    ];
    assert_eq!(found, expected);
    let niche = error
        .violations()
        .iter()
        .find(|v| v.field == "niche")
        .unwrap();
    assert_eq!(niche.params["max"], "60");
    rpc.stop().await;
}

#[tokio::test]
async fn more_broken_rules_than_headers_hold_are_cut_and_still_arrive() {
    let clock = testkit::clock();
    let (rpc, mut client) = serve(&clock, |_, _| async {
        let many = (0..5_000).map(|n| {
            Violation::new(format!("rows[{n}].value"), "string.max_len", "is too long")
                .with("max", n)
        });
        Err::<SearchResponse, _>(Error::invalid(many.collect()))
    })
    .await;
    let error = search(&mut client, as_ann(&clock)).await.unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::ValidationError);
    let count = error.violations().len();
    assert!((100..5_000).contains(&count), "{count}");
    assert_eq!(
        error.violations()[count - 1].params["max"],
        (count - 1).to_string()
    );
    rpc.stop().await;
}

#[test]
fn a_status_from_elsewhere_becomes_a_failure_without_its_text() {
    let check = |code: Code, expected: ErrorCode| {
        let error = rpc::from_status(Status::new(code, "internal text of a proxy"));
        assert_eq!(error.error_code(), expected, "{code:?}");
        assert!(!error.message().contains("proxy"), "{code:?}");
        assert!(error.chain().contains("proxy"), "{code:?}");
    };
    for code in [Code::Unavailable, Code::Unknown, Code::Cancelled] {
        check(code, ErrorCode::ServiceUnavailable);
    }
    check(Code::DeadlineExceeded, ErrorCode::DeadlineExceeded);
    check(Code::ResourceExhausted, ErrorCode::RateLimited);
    for code in [
        Code::InvalidArgument,
        Code::OutOfRange,
        Code::Unauthenticated,
        Code::PermissionDenied,
        Code::NotFound,
        Code::AlreadyExists,
        Code::Aborted,
        Code::FailedPrecondition,
        Code::Internal,
        Code::DataLoss,
        Code::Unimplemented,
    ] {
        check(code, ErrorCode::InternalError);
    }
}

#[test]
fn details_of_another_domain_or_garbage_are_not_believed() {
    let details = tonic_types::ErrorDetails::with_error_info(
        "x",
        "googleapis.com",
        [("code".to_owned(), "TENANT_SUSPENDED".to_owned())],
    );
    let foreign = <Status as tonic_types::StatusExt>::with_error_details(
        Code::PermissionDenied,
        "no",
        details,
    );
    assert_eq!(
        rpc::from_status(foreign).error_code(),
        ErrorCode::InternalError
    );
    let garbage = Status::with_details(
        Code::Unavailable,
        "no",
        bytes::Bytes::from_static(b"\xff\xfe\x00garbage"),
    );
    assert_eq!(
        rpc::from_status(garbage).error_code(),
        ErrorCode::ServiceUnavailable
    );
}

#[test]
fn a_refusal_of_our_own_token_is_our_trouble() {
    for (reason, code) in [
        ("access.token_invalid", ErrorCode::InvalidToken),
        ("access.token_expired", ErrorCode::TokenExpired),
    ] {
        let refused = rpc::to_status(&Error::new(code, reason, "the token is not valid"));
        let error = rpc::from_peer(refused);
        assert_eq!(error.error_code(), ErrorCode::ServiceUnavailable);
        assert!(error.retry_after().is_some());
        assert!(error.chain().contains("clocks"), "{}", error.chain());
    }
    // A credential that auth was asked about is another matter.
    let asked = Error::new(
        ErrorCode::InvalidToken,
        "auth.token_invalid",
        "the credential is not valid",
    );
    let error = rpc::from_peer(rpc::to_status(&asked));
    assert_eq!(error.error_code(), ErrorCode::InvalidToken);
}
