//! A stranger who signs up, creates a tenant and fills it a little.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::http::Caller;
use super::patiently;
use super::platform::Surroundings;

const EMAIL: &str = "bench@example.com";
const PASSWORD: &str = "as fast as it must be, not faster";
/// Enough that not every read finds the same page of the index in the processor's cache.
const RECORDS: usize = 100;
const MAIL_PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(50);

/// A signed-in caller with a tenant, a niche and some records.
pub(super) struct Resident {
    stranger: Caller,
    pub(super) tenant_id: String,
    pub(super) record_ids: Vec<String>,
}

impl Resident {
    /// Signs in anew: an access token lasts fifteen minutes.
    pub(super) fn caller(&self) -> Result<Caller> {
        self.caller_in(&self.tenant_id)
    }

    /// The same in another tenant of theirs.
    pub(super) fn caller_in(&self, tenant_id: &str) -> Result<Caller> {
        let signed_in = sign_in(&self.stranger)?;
        let switch = json!({ "tenantId": tenant_id });
        let session = signed_in.post("/v1/auth/switch-tenant", &switch)?;
        with_token(&self.stranger, &session)
    }
}

/// Signs up, creates the tenant, activates the niche and creates records.
pub(super) fn settle(surroundings: &Surroundings) -> Result<Resident> {
    let stranger = surroundings.caller();
    stranger.post(
        "/v1/auth/register",
        &json!({ "email": EMAIL, "password": PASSWORD, "name": "Bench" }),
    )?;
    let token = patiently(MAIL_PATIENCE, STEP, || {
        let mails = surroundings.mails()?;
        let rest = mails
            .iter()
            .find_map(|mail| Some(mail.split_once("token=")?.1));
        Ok(rest.map(|rest| {
            rest.chars()
                .take_while(|c| !c.is_whitespace())
                .collect::<String>()
        }))
    })?;
    stranger.post(
        "/v1/auth/verify-email",
        &json!({ "token": token.context("no mail arrived")? }),
    )?;
    let signed_in = sign_in(&stranger)?;
    let tenant = signed_in.post("/v1/tenants", &json!({ "slug": "bench", "name": "Bench" }))?;
    let tenant_id = text(&tenant, "/data/id")?;
    let mut resident = Resident {
        stranger,
        tenant_id,
        record_ids: Vec::new(),
    };
    let caller = resident.caller()?;
    caller.post("/v1/niches", &json!({ "kit": "software-catalog" }))?;
    for n in 0..RECORDS {
        let data = json!({
            "name": format!("probe-{n}"), "version": "1.0-1", "section": "utils",
            "homepage": "https://example.org/probe", "summary": "a package that is read again and again",
        });
        let record = caller.post(
            "/v1/niches/software-catalog/packages/records",
            &json!({ "data": data }),
        )?;
        resident.record_ids.push(text(&record, "/data/id")?);
    }
    Ok(resident)
}

fn sign_in(stranger: &Caller) -> Result<Caller> {
    let session = stranger.post(
        "/v1/auth/login",
        &json!({ "email": EMAIL, "password": PASSWORD }),
    )?;
    with_token(stranger, &session)
}

fn with_token(stranger: &Caller, session: &Value) -> Result<Caller> {
    Ok(Caller {
        token: Some(text(session, "/data/accessToken")?),
        ..stranger.clone()
    })
}

/// A text in an answer.
pub(super) fn text(value: &Value, pointer: &str) -> Result<String> {
    match value.pointer(pointer) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => bail!("{pointer} is no text in {value}"),
    }
}
