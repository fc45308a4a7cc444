//! Mail to people about their identity: queued with the effect, written by the worker.
//!
//! The queue is a table of ids in the transaction that wants the mail. It needs neither broker nor mail server to accept a sign-up, holds
//! no address, and no token: the worker reads the address and derives the token when it writes the mail.

mod store;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Error, RequestContext, Result, UserId};
use uuid::Uuid;

use crate::App;
use crate::users;

pub use store::{count_since, delete_sent, enqueue};

/// Mails claimed at once.
const BATCH: i64 = 20;
/// How long a claimed mail is left alone before somebody else tries it; it doubles with each attempt, up to the longest pause.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(30);
const PAUSE_MAX: TimeDelta = TimeDelta::minutes(30);

/// A mail to queue.
#[derive(Clone, Debug)]
pub struct Mail {
    kind: Kind,
    user_id: UserId,
    verification_id: Option<Uuid>,
    tenant_name: Option<String>,
}

/// What a mail says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The link that proves the address.
    VerifyEmail,
    /// Somebody signed up with an address that has an account.
    AlreadyRegistered,
    /// A tenant was made for this person.
    TenantOwner,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::AlreadyRegistered => "already_registered",
            Self::TenantOwner => "tenant_owner",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        [
            Self::VerifyEmail,
            Self::AlreadyRegistered,
            Self::TenantOwner,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| Error::internal(format!("unknown kind of mail {text}")))
    }
}

impl Mail {
    /// The link of one sign-up.
    pub fn verify_email(user_id: UserId, verification_id: Uuid) -> Self {
        Self {
            kind: Kind::VerifyEmail,
            user_id,
            verification_id: Some(verification_id),
            tenant_name: None,
        }
    }

    /// Tells a person that they have an account already.
    pub fn already_registered(user_id: UserId) -> Self {
        Self {
            kind: Kind::AlreadyRegistered,
            user_id,
            verification_id: None,
            tenant_name: None,
        }
    }

    /// Tells a person that a tenant is theirs.
    pub fn tenant_owner(user_id: UserId, tenant_name: String) -> Self {
        Self {
            kind: Kind::TenantOwner,
            user_id,
            verification_id: None,
            tenant_name: Some(tenant_name),
        }
    }
}

/// Writes each mail as an `.eml` file into a folder: the laptop's mailbox.
#[derive(Clone)]
pub struct Mailer(Arc<PathBuf>);

impl Mailer {
    /// `folder` is made when the first mail is written.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(Arc::new(folder.into()))
    }

    /// Puts a finished message into the folder, whole or not at all. The same `name` again replaces the same file.
    async fn deliver(&self, name: &str, message: String) -> Result<()> {
        let folder: &Path = &self.0;
        let (part, file) = (
            folder.join(format!(".{name}.part")),
            folder.join(format!("{name}.eml")),
        );
        let write = async {
            tokio::fs::create_dir_all(folder).await?;
            tokio::fs::write(&part, message).await?;
            tokio::fs::rename(&part, &file).await
        };
        write
            .await
            .map_err(|error| Error::unavailable("mail folder", error))
    }
}

/// Sends what is due and answers how many mails left. A mail that fails is tried again later, with growing pauses.
pub async fn send_due(app: &App, ctx: &RequestContext) -> Result<usize> {
    let now = app.clock.now();
    let mut tx = app.db.across_tenants(ctx, "mail about identities").await?;
    // Claimed by a lease rather than by a lock: a slow mail server must not hold a transaction open.
    let due = store::claim(&mut tx, now, BATCH).await?;
    for mail in &due {
        store::update_next_attempt(&mut tx, mail.id, now + pause(mail.attempts)).await?;
    }
    tx.commit().await?;
    let mut sent = 0;
    for mail in due {
        match send(app, ctx, &mail).await {
            Ok(()) => sent += 1,
            Err(error) => {
                tracing::warn!(mail_id = %mail.id, attempts = mail.attempts, "a mail could not be sent yet: {}", error.chain())
            }
        }
    }
    Ok(sent)
}

fn pause(attempts: i32) -> TimeDelta {
    let doubled =
        FIRST_PAUSE * 2_i32.saturating_pow(u32::try_from(attempts.clamp(0, 10)).unwrap_or(0));
    doubled.min(PAUSE_MAX)
}

async fn send(app: &App, ctx: &RequestContext, mail: &store::Due) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.db.across_tenants(ctx, "mail about identities").await?;
    let token = match mail.verification_id {
        // The link lives from the moment it is sent; one that has been used in the meantime needs no mail.
        Some(id) if users::renew_attempt(&mut tx, id, now).await? => {
            Some(app.derivation.verification(id))
        }
        Some(_) => return finish(tx, mail.id, now).await,
        None => None,
    };
    let message = text::compose(&text::Letter {
        id: mail.id,
        kind: Kind::parse(&mail.kind)?,
        to: &mail.email,
        locale: mail.locale(),
        public_url: &app.rules.public_url,
        token: token.as_deref().map(String::as_str),
        tenant_name: mail.tenant_name.as_deref().unwrap_or_default(),
        now,
    });
    app.mailer.deliver(&mail.id.to_string(), message).await?;
    finish(tx, mail.id, now).await
}

async fn finish(mut tx: db::Tx, mail_id: Uuid, now: DateTime<Utc>) -> Result<()> {
    store::update_sent(&mut tx, mail_id, now).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_an_hour() {
        let seconds: Vec<i64> = [0, 1, 2, 9, 1000].map(|n| pause(n).num_seconds()).to_vec();
        assert_eq!(seconds, [30, 60, 120, 1800, 1800]);
    }
}
