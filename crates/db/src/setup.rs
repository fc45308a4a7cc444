//! What can go wrong while a process starts, in words for the operator who reads it.

/// Why the database cannot be used as it is set up. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A connection string that cannot be read.
    #[error(
        "{setting} is not a PostgreSQL connection string ({cause}); it looks like postgres://user:password@host:5432/database"
    )]
    Url {
        /// The setting or argument that holds it.
        setting: String,
        /// The driver's word; never the string itself, which holds a password.
        cause: String,
    },
    /// The role that connects could see through row level security.
    #[error(
        "refusing to run as database role {role}: it {why}, so row level security would not hold; \
         connect as <service>_app, which `bootstrap` creates (never as superuser, owner or a role with BYPASSRLS)"
    )]
    Role {
        /// Who connected.
        role: String,
        /// What makes the role unfit.
        why: String,
    },
    /// Tables of tenants that are not protected as the catalogue gate demands.
    #[error("refusing to run, tenants would not be kept apart: {findings}")]
    Unprotected {
        /// Rule, table and problem, as the catalogue gate tells them.
        findings: String,
    },
    /// A migration cannot be applied.
    #[error("schema {schema}: {what}")]
    Migration {
        /// The schema of the service.
        schema: String,
        /// What happened and what to do.
        what: String,
        /// The driver's error.
        #[source]
        source: Option<Box<sqlx::migrate::MigrateError>>,
    },
    /// A name that cannot be a service's.
    #[error(
        "`{0}` cannot be the name of a service or schema: lower-case letters, digits and _, at most 40"
    )]
    Name(String),
    /// The server answers with an error, or not at all.
    #[error("{doing}: {source}")]
    Server {
        /// What was being done.
        doing: &'static str,
        /// The driver's error.
        #[source]
        source: sqlx::Error,
    },
}

impl SetupError {
    pub(crate) fn server(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Server { doing, source }
    }

    /// Whether the server was out of reach, so that trying again later makes sense.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Server { source, .. } => crate::classify::is_unreachable(source),
            Self::Url { .. }
            | Self::Role { .. }
            | Self::Unprotected { .. }
            | Self::Migration { .. }
            | Self::Name(_) => false,
        }
    }
}

impl From<SetupError> for kernel::Error {
    fn from(error: SetupError) -> Self {
        if error.is_unreachable() {
            Self::unavailable("database", error)
        } else {
            Self::internal(error)
        }
    }
}

/// Names go into statements as they are, so only plain identifiers pass.
pub(crate) fn checked_name(name: &str) -> Result<&str, SetupError> {
    let plain = name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain {
        Ok(name)
    } else {
        Err(SetupError::Name(name.to_owned()))
    }
}

/// Reads a connection string without ever repeating it in an error.
pub(crate) fn options(
    setting: &str,
    url: &str,
) -> Result<sqlx::postgres::PgConnectOptions, SetupError> {
    let unreadable = |cause: String| SetupError::Url {
        setting: setting.to_owned(),
        cause,
    };
    // The driver takes any scheme, and would then talk to whatever listens there.
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(unreadable("it begins otherwise".to_owned()));
    }
    url.parse()
        .map_err(|cause: sqlx::Error| unreadable(cause.to_string()))
}
