//! Objects of each kind that a request can name: standing ones of a tenant, fresh ones for calls that use them up, and ids of nothing.

use auth::secrets;
use serde_json::Value;
use uuid::Uuid;

use super::world::{House, World, new_id};

/// What `ids` in `data/methods.json` may say.
pub const KINDS: [&str; 6] = ["tenant", "user", "record", "import", "niche", "event"];

impl House {
    /// The id of an object of a kind in this tenant.
    pub fn id_of(&self, kind: &str) -> String {
        match kind {
            "tenant" => self.tenant_id.to_string(),
            "user" => self.owner.to_string(),
            "record" => self.record.clone(),
            "import" => self.import.clone(),
            "niche" => self.niche.clone(),
            // An event has the id of nothing that a tenant could know; a record's will do.
            "event" => self.record.clone(),
            other => panic!("{other} is not a kind of object"),
        }
    }
}

/// An id of the same shape that names nothing.
pub fn missing(kind: &str, like: &str) -> String {
    if kind == "niche" {
        return like
            .chars()
            .rev()
            .map(|c| if c == '-' { 'x' } else { c })
            .collect();
    }
    new_id().to_string()
}

impl World {
    /// A template with the objects of a tenant in the places of its `{…}`.
    pub async fn fill(&self, template: &Value, house: &House) -> Value {
        let mut texts = Vec::new();
        placeholders(template, &mut texts);
        let mut filled = template.clone();
        for text in texts {
            let object = self.object(&text, house).await;
            replace(&mut filled, &text, &object);
        }
        filled
    }

    async fn object(&self, placeholder: &str, house: &House) -> String {
        match placeholder.trim_matches(['{', '}']) {
            "tenant" => house.tenant_id.to_string(),
            "user" => house.owner.to_string(),
            "email" => house.email.clone(),
            "password" => {
                // Signing in to a tenant that is not one's own counts as an attempt; here the attempts are not the question.
                self.sql("delete from auth.login_attempts", &[]).await;
                campaign::ADMIN_PASSWORD.to_owned()
            }
            "record" => house.record.clone(),
            "import" => house.import.clone(),
            "credential" => self.fresh_token(house.owner, Some(house.tenant_id)).await,
            "fresh.record" => self.fresh_record(house).await,
            "fresh.import" => self.fresh_import(house).await,
            "fresh.tenant" => self.fresh_tenant().await,
            "fresh.email" => format!("{}@example.com", self.fresh("guest")),
            "fresh.slug" | "fresh.name" => self.fresh("new"),
            "fresh.refresh" => self.fresh_refresh(house).await,
            "fresh.verification" => self.fresh_verification().await,
            other => panic!("{{{other}}} of data/methods.json is not known here"),
        }
    }

    async fn fresh_record(&self, house: &House) -> String {
        let id = new_id().to_string();
        let name = self.fresh("fresh");
        self.sql_text(
            "insert into niche.records (tenant_id, id, niche, entity, natural_key, data, version, created_at, updated_at)
             values ($1::uuid, $2::uuid, 'software-catalog', 'packages', $3, jsonb_build_object('name', $3), 1, now(), now())",
            &[&house.tenant_id.to_string(), &id, &name],
        )
        .await;
        id
    }

    async fn fresh_import(&self, house: &House) -> String {
        let id = new_id().to_string();
        let key = format!("t/{}/{id}", house.tenant_id);
        self.sql_text(
            "insert into niche.imports (tenant_id, id, niche, entity, mapping, dry_run, status, object_key, file_bytes, created_at)
             values ($1::uuid, $2::uuid, 'software-catalog', 'packages', '', true, 'queued', $3, 10, now())",
            &[&house.tenant_id.to_string(), &id, &key],
        )
        .await;
        self.sql_text(
            "insert into niche.import_objects (tenant_id, object_key) values ($1::uuid, $2)",
            &[&house.tenant_id.to_string(), &key],
        )
        .await;
        id
    }

    async fn fresh_tenant(&self) -> String {
        let id = new_id().to_string();
        let slug = self.fresh("fresh");
        self.sql_text(
            "insert into tenant.tenants (tenant_id, slug, name, version, created_at, updated_at) values ($1::uuid, $2, $2, 1, now(), now())",
            &[&id, &slug],
        )
        .await;
        self.sql_text(
            "insert into auth.tenants (tenant_id, slug, name, status, entitled_actions, version, created_at, updated_at)
             values ($1::uuid, $2, $2, 'active', '{}', 1, now(), now())",
            &[&id, &slug],
        )
        .await;
        id
    }

    async fn fresh_refresh(&self, house: &House) -> String {
        let token = secrets::random_token().unwrap();
        let session = self.fresh_session(house.owner).await;
        self.sql_text(
            "insert into auth.refresh_tokens (id, hash, family_id, generation, session_id, bound_tenant, created_at, expires_at)
             values ($1::uuid, sha256(convert_to($2, 'UTF8')), $1::uuid, 0, $3::uuid, $4::uuid, now(), now() + interval '1 day')",
            &[&new_id().to_string(), &token, &session.to_string(), &house.tenant_id.to_string()],
        )
        .await;
        token.to_string()
    }

    async fn fresh_verification(&self) -> String {
        let token = secrets::random_token().unwrap();
        let person: Uuid = self.person("Unproved").await;
        self.sql(
            "update auth.users set email_verified_at = null where id = $1",
            &[person],
        )
        .await;
        self.sql_text(
            "insert into auth.email_verifications (id, user_id, token_hash, password_hash, name, locale, created_at, expires_at)
             select $1::uuid, user_id, sha256(convert_to($2, 'UTF8')), password_hash, 'Unproved', 'en', now(), now() + interval '1 day'
             from auth.credentials where user_id = $3::uuid",
            &[&new_id().to_string(), &token, &person.to_string()],
        )
        .await;
        self.sql("delete from auth.credentials where user_id = $1", &[person])
            .await;
        token.to_string()
    }
}

fn placeholders(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.starts_with('{') && text.ends_with('}') => {
            found.push(text.clone())
        }
        Value::Array(items) => items.iter().for_each(|item| placeholders(item, found)),
        Value::Object(members) => members
            .values()
            .for_each(|member| placeholders(member, found)),
        _ => {}
    }
}

fn replace(value: &mut Value, placeholder: &str, object: &str) {
    match value {
        Value::String(text) if text == placeholder => *text = object.to_owned(),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| replace(item, placeholder, object)),
        Value::Object(members) => members
            .values_mut()
            .for_each(|member| replace(member, placeholder, object)),
        _ => {}
    }
}
