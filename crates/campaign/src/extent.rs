//! How much a proof does.

/// The setting by which `cargo xtask campaign` asks for the long form.
pub const LONG: &str = "TENANTRY_CAMPAIGN";

/// The short form belongs to every run of the tests; the long one is a campaign of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A few seconds.
    Short,
    /// As many rounds as the claim needs.
    Long,
}

impl Extent {
    /// What the environment asks for.
    #[expect(
        clippy::disallowed_methods,
        reason = "a choice between two lengths of a test, no setting of the product"
    )]
    pub fn of_this_run() -> Self {
        if std::env::var_os(LONG).is_some() {
            Self::Long
        } else {
            Self::Short
        }
    }

    /// One of two amounts.
    pub fn pick<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }

    /// Tells a measured figure: always to the terminal of a campaign, and with `--nocapture` in the short form.
    #[expect(clippy::print_stdout, reason = "the report of a campaign")]
    pub fn tell(self, what: &str, figure: impl std::fmt::Display) {
        println!("{what}: {figure}");
    }
}
