//! Driver errors in the words of the contract.

use kernel::{Error, ErrorCode};
use sqlx::error::DatabaseError;
use std::time::Duration;

/// Turns a driver error into what a caller can act on. Use as `.map_err(db::classify)?`.
///
/// Unique violations become `Exists`; a use case that wants to say more asks [`unique_violation`] first. The driver's error stays as the cause, for the log.
pub fn classify(error: sqlx::Error) -> Error {
    crate::metrics::failed(&error);
    if is_unreachable(&error) {
        return Error::unavailable("database", error);
    }
    let Some(code) = error
        .as_database_error()
        .and_then(DatabaseError::code)
        .map(std::borrow::Cow::into_owned)
    else {
        return broken(error);
    };
    match code.as_str() {
        // query_canceled by statement_timeout, and the two transaction timeouts.
        "57014" | "25P03" | "25P04" => deadline_passed().caused_by(error),
        // serialization_failure, deadlock_detected, lock_not_available.
        "40001" | "40P01" | "55P03" => Error::conflict(
            "database.contention",
            "somebody else is changing the same thing; try again",
        )
        .with_retry_after(Duration::from_secs(1))
        .caused_by(error),
        "23505" => Error::exists(
            "database.duplicate",
            "something with this value exists already",
        )
        .caused_by(error),
        _ => broken(error),
    }
}

/// The caller has no time left, or the server has ended what took too long.
pub(crate) fn deadline_passed() -> Error {
    Error::new(
        ErrorCode::DeadlineExceeded,
        "service.deadline",
        "the operation took too long",
    )
}

fn broken(error: sqlx::Error) -> Error {
    Error::new(
        ErrorCode::DatabaseError,
        "internal",
        "something went wrong on our side",
    )
    .caused_by(error)
}

/// The name of the unique constraint or index that a statement violated.
pub fn unique_violation(error: &sqlx::Error) -> Option<&str> {
    violated(error, "23505")
}

/// The name of the foreign key that a statement violated.
pub fn foreign_key_violation(error: &sqlx::Error) -> Option<&str> {
    violated(error, "23503")
}

fn violated<'e>(error: &'e sqlx::Error, code: &str) -> Option<&'e str> {
    let error = error.as_database_error()?;
    if error.code().as_deref() == Some(code) {
        error.constraint()
    } else {
        None
    }
}

/// Whether the statement gave up waiting for a lock.
pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.as_deref() == Some("55P03")
}

/// Whether the server is down, going down, full, broken, a read-only replica, or could not be asked in time.
pub(crate) fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        // What came is not PostgreSQL's language: a connection that broke off in the middle of a greeting, a proxy without its server.
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // 08 connection, 53 out of a resource, 58 the system under it fails, 57P0x shutting down or starting, 25006 it takes no writes.
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("58")
                || code.starts_with("57P0")
                || code == "25006"
        }),
        _ => false,
    }
}

/// Whether the connection itself is gone, so that the same statement may work on another one.
pub(crate) fn is_broken_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        // 57P01..57P03: the server ended the session; 25P03: so did idle_in_transaction_session_timeout.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("57P0") || code.starts_with("08") || code == "25P03"
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Code;

    #[test]
    fn a_pool_without_a_free_connection_is_unavailable_and_keeps_its_cause() {
        let error = classify(sqlx::Error::PoolTimedOut);
        assert_eq!(error.code(), Code::Unavailable);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
        assert!(
            error.chain().contains("database") && error.chain().contains("pool timed out"),
            "{}",
            error.chain()
        );
    }

    #[test]
    fn a_refused_connection_is_unavailable() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(classify(sqlx::Error::Io(refused)).code(), Code::Unavailable);
    }

    #[test]
    fn what_nobody_foresaw_is_internal_and_says_nothing() {
        let error = classify(sqlx::Error::ColumnNotFound("secret_column".into()));
        assert_eq!(error.code(), Code::Internal);
        assert!(!error.to_string().contains("secret_column"));
        assert!(error.chain().contains("secret_column"));
    }
}
