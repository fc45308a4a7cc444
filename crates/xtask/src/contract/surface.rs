//! What the contract offers, read from descriptors: methods with policy and routes, messages, events and personal data.

use anyhow::{Result, bail};
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, FileDescriptor,
    MessageDescriptor, MethodDescriptor, ReflectMessage as _, ServiceDescriptor, Value,
};

use super::compile::Compiled;

/// The contract as the checks and the generators see it.
pub struct Surface {
    /// Every service, in the order of files.
    pub services: Vec<ServiceDescriptor>,
    /// Every method of every service.
    pub methods: Vec<Method>,
    /// Every message that the contract itself declares, nested ones included; no map entries.
    pub messages: Vec<MessageDescriptor>,
    /// The files of the contract, without `google/`.
    pub files: Vec<FileDescriptor>,
    pool: DescriptorPool,
}

/// One method with what it declares about itself.
pub struct Method {
    /// The descriptor.
    pub descriptor: MethodDescriptor,
    /// The `(tenantry.api.v1.policy)` option.
    pub policy: Option<Policy>,
    /// The `google.api.http` option: the rule and its additional bindings.
    pub routes: Vec<Route>,
}

/// The policy as it is written: enum values by name, absent ones as their zero value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub access: String,
    pub permission: String,
    pub rate: String,
    pub idempotency: String,
    pub meter: String,
    pub audited: bool,
    pub callers: Vec<String>,
    pub success_status: u64,
    pub platform_too: bool,
    pub body_bytes_max: u64,
}

/// One HTTP mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// In capitals.
    pub verb: &'static str,
    /// The template, for example `/v1/tenants/{tenant_id}`.
    pub path: String,
    /// `*`, the name of a field, or empty for no body.
    pub body: String,
}

/// A message with the `(tenantry.api.v1.event)` option.
pub struct Event {
    /// The message.
    pub message: MessageDescriptor,
    /// The public type, for example `user.created`.
    pub kind: String,
    /// The version of the payload's schema.
    pub version: u64,
}

impl Surface {
    /// Reads the compiled contract.
    pub fn read(compiled: &Compiled) -> Result<Self> {
        let pool = compiled.pool.clone();
        let own: Vec<FileDescriptor> = pool
            .files()
            .filter(|file| compiled.own_files.iter().any(|name| name == file.name()))
            .collect();
        let services: Vec<ServiceDescriptor> = own
            .iter()
            .flat_map(|file| file.services().collect::<Vec<_>>())
            .collect();
        let mut methods = Vec::new();
        for descriptor in services
            .iter()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
        {
            let policy = option(&pool, &descriptor.options(), "tenantry.api.v1.policy")
                .map(|message| Policy::read(&message));
            let routes = match option(&pool, &descriptor.options(), "google.api.http") {
                Some(rule) => Route::read_all(&rule, descriptor.full_name())?,
                None => Vec::new(),
            };
            methods.push(Method {
                descriptor,
                policy,
                routes,
            });
        }
        let mut messages = Vec::new();
        for file in &own {
            for message in file.messages() {
                collect(&message, &mut messages);
            }
        }
        let files = own
            .into_iter()
            .filter(|file| !file.name().starts_with("google/"))
            .collect();
        Ok(Self {
            services,
            methods,
            messages,
            files,
            pool,
        })
    }

    /// Every message that is an event.
    pub fn events(&self) -> Vec<Event> {
        let read = |message: &MessageDescriptor| {
            let event = option(&self.pool, &message.options(), "tenantry.api.v1.event")?;
            Some(Event {
                message: message.clone(),
                kind: text(&event, "type"),
                version: number(&event, "version"),
            })
        };
        self.messages.iter().filter_map(read).collect()
    }

    /// The class of personal data of a field, by its name in the contract; `None` where nothing is declared.
    pub fn pii(&self, field: &FieldDescriptor) -> Option<String> {
        let extension = self.pool.get_extension_by_name("tenantry.api.v1.pii")?;
        let options = field.options();
        if !options.has_extension(&extension) {
            return None;
        }
        let number = options.get_extension(&extension).as_enum_number()?;
        let name = extension
            .kind()
            .as_enum()?
            .get_value(number)?
            .name()
            .to_owned();
        (name != "PII_NONE").then_some(name)
    }

    /// The `buf.validate` rules of a field.
    pub fn rules(&self, field: &FieldDescriptor) -> Option<DynamicMessage> {
        option(&self.pool, &field.options(), "buf.validate.field")
    }

    /// Every message that can be part of a request, with the method that takes it; messages of libraries are left out.
    pub fn request_messages(&self) -> Vec<MessageDescriptor> {
        let mut found: Vec<MessageDescriptor> = Vec::new();
        let mut open: Vec<MessageDescriptor> = self
            .methods
            .iter()
            .map(|method| method.descriptor.input())
            .collect();
        while let Some(message) = open.pop() {
            if is_foreign(&message) || found.contains(&message) {
                continue;
            }
            open.extend(
                message
                    .fields()
                    .filter_map(|field| field.kind().as_message().cloned()),
            );
            if !message.is_map_entry() {
                found.push(message);
            }
        }
        found.sort_by(|a, b| a.full_name().cmp(b.full_name()));
        found
    }
}

/// Whether a message comes from Google's or buf's packages: its fields are not ours to constrain.
pub fn is_foreign(message: &MessageDescriptor) -> bool {
    message.full_name().starts_with("google.") || message.full_name().starts_with("buf.")
}

impl Method {
    /// For example `/auth.v1.SessionService/Login`.
    pub fn path(&self) -> String {
        format!(
            "/{}/{}",
            self.descriptor.parent_service().full_name(),
            self.descriptor.name()
        )
    }

    /// Whether any HTTP mapping changes something: every verb but GET.
    pub fn writes(&self) -> bool {
        self.routes.iter().any(|route| route.verb != "GET")
    }

    /// The name that the audit log gives to a call: the permission, else the noun of the service and the verb of the method.
    ///
    /// `SessionService.VerifyEmail` becomes `sessions.verify-email`, `TenantService.CreateTenant` becomes `tenants.create`.
    pub fn action(&self) -> Option<String> {
        if let Some(policy) = self
            .policy
            .as_ref()
            .filter(|policy| !policy.permission.is_empty())
        {
            return Some(policy.permission.clone());
        }
        let service = self.descriptor.parent_service();
        let noun = service
            .name()
            .strip_suffix("Service")
            .filter(|noun| !noun.is_empty())?
            .to_owned();
        let verb = self
            .descriptor
            .name()
            .strip_suffix(noun.as_str())
            .filter(|verb| !verb.is_empty())
            .unwrap_or(self.descriptor.name());
        let plural = if noun.ends_with('s') { "" } else { "s" };
        Some(format!("{}{plural}.{}", kebab(&noun), kebab(verb)))
    }
}

impl Policy {
    fn read(message: &DynamicMessage) -> Self {
        let callers = message.get_field_by_name("callers");
        Self {
            access: word(message, "access"),
            permission: text(message, "permission"),
            rate: word(message, "rate"),
            idempotency: word(message, "idempotency"),
            meter: text(message, "meter"),
            audited: flag(message, "audited"),
            callers: callers
                .iter()
                .filter_map(|list| list.as_list())
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            success_status: number(message, "success_status"),
            platform_too: flag(message, "platform_too"),
            body_bytes_max: number(message, "body_bytes_max"),
        }
    }
}

impl Route {
    fn read_all(rule: &DynamicMessage, method: &str) -> Result<Vec<Self>> {
        const VERBS: [(&str, &str); 5] = [
            ("get", "GET"),
            ("put", "PUT"),
            ("post", "POST"),
            ("delete", "DELETE"),
            ("patch", "PATCH"),
        ];
        let Some((field, verb)) = VERBS
            .into_iter()
            .find(|(field, _)| !text(rule, field).is_empty())
        else {
            bail!("{method}: google.api.http names none of get, put, post, delete, patch");
        };
        let mut routes = vec![Self {
            verb,
            path: text(rule, field),
            body: text(rule, "body"),
        }];
        if let Some(more) = rule.get_field_by_name("additional_bindings") {
            for binding in more
                .as_list()
                .into_iter()
                .flatten()
                .filter_map(Value::as_message)
            {
                routes.extend(Self::read_all(binding, method)?);
            }
        }
        Ok(routes)
    }

    /// The names in braces, in order.
    pub fn variables(&self) -> Vec<&str> {
        self.path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
            .collect()
    }

    /// The template with every variable replaced by `{}`: two routes with the same shape answer the same requests.
    pub fn shape(&self) -> String {
        let segments: Vec<&str> = self
            .path
            .split('/')
            .map(|segment| {
                if segment.starts_with('{') {
                    "{}"
                } else {
                    segment
                }
            })
            .collect();
        format!("{} {}", self.verb, segments.join("/"))
    }
}

/// Whether a field can stand in a query string: a scalar, an enum, a point in time, or a list of scalars or enums.
pub fn fits_a_query(field: &FieldDescriptor) -> bool {
    const TEXTUAL: [&str; 3] = [
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "google.protobuf.FieldMask",
    ];
    match field.kind().as_message() {
        Some(message) => {
            field.cardinality() != Cardinality::Repeated && TEXTUAL.contains(&message.full_name())
        }
        None => true,
    }
}

/// The place of a descriptor in its file: `proto/auth/v1/session.proto:12`.
pub fn place(file: &FileDescriptor, path: &[i32]) -> String {
    let line = location(file, path).and_then(|location| location.span.first().copied());
    match line {
        Some(line) => format!("proto/{}:{}", file.name(), line + 1),
        None => format!("proto/{}", file.name()),
    }
}

/// The comment above a descriptor, without the comment signs; empty when there is none.
pub fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    location(file, path)
        .and_then(|location| location.leading_comments)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn location(
    file: &FileDescriptor,
    path: &[i32],
) -> Option<prost_types::source_code_info::Location> {
    let info = file.file_descriptor_proto().source_code_info.as_ref()?;
    info.location
        .iter()
        .find(|location| location.path == path)
        .cloned()
}

fn collect(message: &MessageDescriptor, into: &mut Vec<MessageDescriptor>) {
    if message.is_map_entry() {
        return;
    }
    into.push(message.clone());
    for child in message.child_messages() {
        collect(&child, into);
    }
}

fn option(pool: &DescriptorPool, options: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    let extension = pool.get_extension_by_name(name)?;
    if !options.has_extension(&extension) {
        return None;
    }
    options.get_extension(&extension).as_message().cloned()
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message
        .get_field_by_name(field)
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn flag(message: &DynamicMessage, field: &str) -> bool {
    message
        .get_field_by_name(field)
        .and_then(|value| value.as_bool())
        .unwrap_or_default()
}

fn number(message: &DynamicMessage, field: &str) -> u64 {
    let value = message.get_field_by_name(field);
    value
        .and_then(|value| value.as_u64().or_else(|| value.as_u32().map(u64::from)))
        .unwrap_or_default()
}

fn word(message: &DynamicMessage, field: &str) -> String {
    let found = message
        .descriptor()
        .get_field_by_name(field)
        .and_then(|descriptor| {
            let number = message.get_field(&descriptor).as_enum_number()?;
            Some(
                descriptor
                    .kind()
                    .as_enum()?
                    .get_value(number)?
                    .name()
                    .to_owned(),
            )
        });
    found.unwrap_or_default()
}

/// `VerifyEmail` becomes `verify-email`.
fn kebab(camel: &str) -> String {
    let mut out = String::new();
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
