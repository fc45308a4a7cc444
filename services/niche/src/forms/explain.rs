//! Why a record is refused, in words that its author can act on.

use std::collections::BTreeMap;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use kernel::Locale;
use serde_json::Value;

use super::{
    EntityForm, Field, FieldKind, FieldProblem, ItemKind, RECORD_BYTES_MAX, bytes_of, unstorable,
};

/// Options that a message lists before it says how many there are.
const OPTIONS_SHOWN: usize = 12;
/// Of a name that the form does not know, this much is repeated.
const NAME_CHARACTERS_SHOWN: usize = 60;
/// More problems than this help nobody, and an answer has a size.
const PROBLEMS_MAX: usize = 200;

type Params = BTreeMap<String, String>;

pub(super) fn problems(form: &EntityForm, data: &Value, locale: Locale) -> Vec<FieldProblem> {
    let writer = Writer { form, locale };
    let mut found: Vec<FieldProblem> = Vec::new();
    for error in form.validator.iter_errors(data).take(PROBLEMS_MAX) {
        writer.schema_error(&error, &mut found);
    }
    for (key, value) in data
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| form.by_key.contains_key(*key))
    {
        found.extend(unstorable(value).map(|rule| writer.problem(key, rule, Params::new())));
    }
    if bytes_of(data) > RECORD_BYTES_MAX {
        found.push(writer.problem(
            "",
            "size",
            Params::from([("max".into(), RECORD_BYTES_MAX.to_string())]),
        ));
    }
    // A value of the wrong type breaks the rules of the right type too; telling those only confuses.
    let mistyped: Vec<String> = found
        .iter()
        .filter(|p| p.rule == "type")
        .map(|p| p.field.clone())
        .collect();
    found.retain(|p| p.rule == "type" || !mistyped.contains(&p.field));
    let place = |p: &FieldProblem| {
        form.by_key
            .get(key_of(&p.field))
            .copied()
            .unwrap_or(usize::MAX)
    };
    found.sort_by(|a, b| (place(a), &a.field, a.rule).cmp(&(place(b), &b.field, b.rule)));
    found.dedup_by(|a, b| a.field == b.field && a.rule == b.rule);
    found
}

/// The message of a rule that was broken earlier. Parameters that are words of a language are found anew.
pub(super) fn message(
    form: &EntityForm,
    (path, rule): (&str, &str),
    params: &Params,
    locale: Locale,
) -> String {
    let writer = Writer { form, locale };
    let mut params = params.clone();
    if rule == "type" && !path.is_empty() {
        params.insert("expected".to_owned(), writer.expected(path).to_owned());
    }
    if rule == "one_of"
        && let Some(options) = options_of(form, path)
    {
        params.insert("options".to_owned(), list_options(options, locale));
    }
    writer.message(path, rule, &params)
}

fn options_of<'f>(form: &'f EntityForm, path: &str) -> Option<&'f Value> {
    let field = form.schema["properties"].get(key_of(path))?;
    let holder = if path.contains('[') {
        field.get("items")?
    } else {
        field
    };
    holder.get("enum")
}

/// The field of a path such as `tags[0]`.
fn key_of(path: &str) -> &str {
    path.split('[').next().unwrap_or(path)
}

struct Writer<'a> {
    form: &'a EntityForm,
    locale: Locale,
}

impl Writer<'_> {
    fn schema_error(&self, error: &ValidationError<'_>, into: &mut Vec<FieldProblem>) {
        let path = field_path(error.instance_path().as_str());
        let one =
            |key: &str, value: &dyn ToString| Params::from([(key.to_owned(), value.to_string())]);
        let (rule, params) = match error.kind() {
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                return into.push(self.problem(name, "required", Params::new()));
            }
            Kind::AdditionalProperties { unexpected } => {
                return into.extend(unexpected.iter().map(|name| {
                    let short: String = name
                        .chars()
                        .filter(|c| !c.is_control())
                        .take(NAME_CHARACTERS_SHOWN)
                        .collect();
                    self.problem(&short, "unknown_field", one("known", &self.known_fields()))
                }));
            }
            Kind::Type { .. } if path.is_empty() => {
                ("type", one("expected", &self.say("an object", "um objeto")))
            }
            Kind::Type { .. } => ("type", one("expected", &self.expected(&path))),
            Kind::Enum { options } => (
                "one_of",
                one("options", &list_options(options, self.locale)),
            ),
            Kind::MinLength { limit } => ("min_length", one("min", limit)),
            Kind::MaxLength { limit } => ("max_length", one("max", limit)),
            Kind::Minimum { limit } => ("minimum", one("min", limit)),
            Kind::Maximum { limit } => ("maximum", one("max", limit)),
            Kind::MinItems { limit } => ("min_items", one("min", limit)),
            Kind::MaxItems { limit } => ("max_items", one("max", limit)),
            Kind::UniqueItems => ("unique", Params::new()),
            Kind::Format { format } => (format_rule(format), Params::new()),
            Kind::Pattern { pattern } => ("pattern", one("pattern", pattern)),
            // Lint admits no keyword that could get here.
            _ => ("invalid", Params::new()),
        };
        into.push(self.problem(&path, rule, params));
    }

    fn problem(&self, path: &str, rule: &'static str, params: Params) -> FieldProblem {
        FieldProblem {
            field: path.to_owned(),
            rule,
            message: self.message(path, rule, &params),
            params,
        }
    }

    fn message(&self, path: &str, rule: &str, params: &Params) -> String {
        let field = self.form.field(key_of(path));
        let label = match field {
            Some(field) => field.label.get(self.locale).to_owned(),
            None if path.is_empty() => self.say("the record", "o registro").to_owned(),
            None => path.to_owned(),
        };
        let message = text(rule, self.locale, &label, params);
        if rule == "pattern" {
            return self.pattern_help(field).unwrap_or(message);
        }
        message
    }

    /// The help text of a field says more than a regular expression.
    fn pattern_help(&self, field: Option<&Field>) -> Option<String> {
        let field = field?;
        let help =
            self.form.schema["properties"][&field.key]["x-help"][self.locale.as_str()].as_str()?;
        let label = field.label.get(self.locale);
        Some(match self.locale {
            Locale::En => format!("{label} does not have the expected form. {help}"),
            Locale::PtBr => format!("{label} não está no formato esperado. {help}"),
        })
    }

    fn known_fields(&self) -> String {
        self.form
            .fields
            .iter()
            .map(|f| f.key.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn expected(&self, path: &str) -> &'static str {
        let kind = self.form.field(key_of(path)).map(|f| f.kind);
        let text = || self.say("a text", "um texto");
        let integer = || self.say("a whole number", "um número inteiro");
        let number = || self.say("a number", "um número");
        let boolean = || self.say("true or false", "verdadeiro (true) ou falso (false)");
        match kind {
            Some(FieldKind::List(_)) if !path.contains('[') => self.say("a list", "uma lista"),
            Some(FieldKind::Integer | FieldKind::List(ItemKind::Integer)) => integer(),
            Some(FieldKind::Number | FieldKind::List(ItemKind::Number)) => number(),
            Some(FieldKind::Boolean | FieldKind::List(ItemKind::Boolean)) => boolean(),
            Some(FieldKind::Text | FieldKind::List(ItemKind::Text)) | None => text(),
        }
    }

    fn say(&self, en: &'static str, pt: &'static str) -> &'static str {
        match self.locale {
            Locale::En => en,
            Locale::PtBr => pt,
        }
    }
}

/// `/tags/0` becomes `tags[0]`. Names of fields hold neither `/` nor `~`, so nothing is escaped.
fn field_path(pointer: &str) -> String {
    let mut parts = pointer.split('/').skip(1);
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        path.push_str(&format!("[{part}]"));
    }
    path
}

/// The rule of a format is its name. Lint admits no other.
fn format_rule(format: &str) -> &'static str {
    crate::kits::lint::FORMATS
        .into_iter()
        .chain(super::Format::ALL.map(super::Format::as_str))
        .find(|name| *name == format)
        .unwrap_or("format")
}

fn list_options(options: &Value, locale: Locale) -> String {
    let names: Vec<&str> = options
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let shown = names[..names.len().min(OPTIONS_SHOWN)].join(", ");
    match (names.len() > OPTIONS_SHOWN, locale) {
        (false, _) => shown,
        (true, Locale::En) => format!("{shown} … ({} in all)", names.len()),
        (true, Locale::PtBr) => format!("{shown} … ({} ao todo)", names.len()),
    }
}

/// The message of a rule. `{label}` and the parameters are put in.
fn text(rule: &str, locale: Locale, label: &str, params: &Params) -> String {
    let template = match locale {
        Locale::En => english(rule),
        Locale::PtBr => portuguese(rule),
    };
    // Parameters first: a label or a name that a caller sent is never searched for placeholders.
    let filled = params
        .iter()
        .fold(template.to_owned(), |text, (key, value)| {
            text.replace(&format!("{{{key}}}"), value)
        });
    filled.replacen("{label}", label, 1)
}

fn english(rule: &str) -> &'static str {
    match rule {
        "required" => "{label} is required: fill it in",
        "unknown_field" => "{label} is not a field of this form: remove it; the fields are {known}",
        "type" => "{label} must be {expected}",
        "one_of" => "{label} must be one of: {options}",
        "min_length" => "{label} must have at least {min} character(s)",
        "max_length" => "{label} may have at most {max} characters: shorten it",
        "minimum" => "{label} must be {min} or more",
        "maximum" => "{label} must be {max} or less",
        "min_items" => "{label} must have at least {min} item(s)",
        "max_items" => "{label} may have at most {max} items",
        "unique" => "{label} must not repeat an item",
        "pattern" => "{label} must match {pattern}",
        "characters" => "{label} holds the character NUL, which cannot be stored: remove it",
        "integer_range" => {
            "{label} is a number that JSON cannot hold exactly: stay within 9007199254740992"
        }
        "size" => "{label} is larger than {max} bytes: shorten it",
        "cpf" => {
            "{label} must be a valid CPF: 11 digits whose last two are the check digits, for example 529.982.247-25"
        }
        "cnpj" => {
            "{label} must be a valid CNPJ: 14 characters whose last two are the check digits, for example 11.222.333/0001-81"
        }
        "uf" => "{label} must be one of the 27 state codes, for example SP",
        "cep" => "{label} must be a CEP: 8 digits, for example 01310-100",
        "phone-br" => {
            "{label} must be a Brazilian phone with area code, for example (11) 98765-4321"
        }
        "ibge" => {
            "{label} must be the IBGE code of a municipality: 7 digits with check digit, for example 3550308"
        }
        "cnae" => "{label} must be a CNAE class or subclass, for example 6201-5/01",
        "ncm" => "{label} must be an NCM code: 8 digits, for example 8471.30.12",
        "url" => "{label} must be a full web address, for example https://example.com",
        "date" => "{label} must be a date as year-month-day, for example 2026-01-31",
        "date-time" => {
            "{label} must be a date and time with zone, for example 2026-01-31T12:00:00Z"
        }
        "time" => "{label} must be a time with zone, for example 12:00:00Z",
        "email" => "{label} must be an e-mail address, for example ana@example.com",
        "uuid" => "{label} must be a UUID",
        _ => "{label} is not valid",
    }
}

fn portuguese(rule: &str) -> &'static str {
    match rule {
        "required" => "{label} é obrigatório: preencha o campo",
        "unknown_field" => {
            "{label} não é um campo deste formulário: remova-o; os campos são {known}"
        }
        "type" => "{label} deve ser {expected}",
        "one_of" => "{label} deve ser um destes valores: {options}",
        "min_length" => "{label} deve ter pelo menos {min} caractere(s)",
        "max_length" => "{label} pode ter no máximo {max} caracteres: encurte o texto",
        "minimum" => "{label} deve ser {min} ou mais",
        "maximum" => "{label} deve ser {max} ou menos",
        "min_items" => "{label} deve ter pelo menos {min} item(ns)",
        "max_items" => "{label} pode ter no máximo {max} itens",
        "unique" => "{label} não pode repetir um item",
        "pattern" => "{label} deve seguir o padrão {pattern}",
        "characters" => "{label} contém o caractere NUL, que não pode ser guardado: remova-o",
        "integer_range" => {
            "{label} é um número que JSON não guarda com exatidão: fique dentro de 9007199254740992"
        }
        "size" => "{label} tem mais de {max} bytes: reduza o conteúdo",
        "cpf" => {
            "{label} deve ser um CPF válido: 11 dígitos, sendo os dois últimos verificadores, por exemplo 529.982.247-25"
        }
        "cnpj" => {
            "{label} deve ser um CNPJ válido: 14 caracteres, sendo os dois últimos verificadores, por exemplo 11.222.333/0001-81"
        }
        "uf" => "{label} deve ser uma das 27 siglas de UF, por exemplo SP",
        "cep" => "{label} deve ser um CEP: 8 dígitos, por exemplo 01310-100",
        "phone-br" => {
            "{label} deve ser um telefone brasileiro com DDD, por exemplo (11) 98765-4321"
        }
        "ibge" => {
            "{label} deve ser o código do IBGE de um município: 7 dígitos com verificador, por exemplo 3550308"
        }
        "cnae" => "{label} deve ser uma classe ou subclasse da CNAE, por exemplo 6201-5/01",
        "ncm" => "{label} deve ser um código NCM: 8 dígitos, por exemplo 8471.30.12",
        "url" => "{label} deve ser um endereço completo, por exemplo https://example.com",
        "date" => "{label} deve ser uma data no formato ano-mês-dia, por exemplo 2026-01-31",
        "date-time" => "{label} deve ser data e hora com fuso, por exemplo 2026-01-31T12:00:00Z",
        "time" => "{label} deve ser uma hora com fuso, por exemplo 12:00:00Z",
        "email" => "{label} deve ser um endereço de e-mail, por exemplo ana@example.com",
        "uuid" => "{label} deve ser um UUID",
        _ => "{label} não é válido",
    }
}
