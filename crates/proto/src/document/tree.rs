//! Free-form data as a tree of JSON values.

use serde_json::{Map, Number, Value};

use super::examine::parts;
use super::{BOOL, FIELDS, LIST, NULL, NUMBER, STRING, STRUCT};
use crate::json::INTEGER_MAX;
use crate::wire::{Fields, Raw};

pub(super) fn object(bytes: &[u8]) -> Value {
    let mut members = Map::new();
    for entry in each(bytes) {
        let Ok([name, value]) = parts(entry) else {
            continue;
        };
        let value = match value {
            Some(Raw::Bytes(value)) => plain(value),
            _ => Value::Null,
        };
        let name = match name {
            Some(Raw::Bytes(name)) => text(name),
            _ => String::new(),
        };
        members.insert(name, value);
    }
    Value::Object(members)
}

fn plain(bytes: &[u8]) -> Value {
    let known = Fields(bytes).filter(|(number, _)| (NULL..=LIST).contains(number));
    match known.last() {
        Some((NUMBER, Raw::Number(bits))) => number(f64::from_bits(bits)),
        Some((STRING, Raw::Bytes(bytes))) => Value::String(text(bytes)),
        Some((BOOL, Raw::Number(flag))) => Value::Bool(flag != 0),
        Some((STRUCT, Raw::Bytes(inner))) => object(inner),
        Some((LIST, Raw::Bytes(inner))) => Value::Array(each(inner).map(plain).collect()),
        _ => Value::Null,
    }
}

fn each(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    Fields(bytes).filter_map(|field| match field {
        (FIELDS, Raw::Bytes(part)) => Some(part),
        _ => None,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// JSON has no NaN and no infinity.
fn number(number: f64) -> Value {
    match whole(number) {
        Some(whole) => Value::from(whole),
        None => Number::from_f64(number).map_or(Value::Null, Value::Number),
    }
}

/// A double as the integer that it is; `None` for fractions, for what is beyond 2^53, and for negative zero, which no integer is.
fn whole(number: f64) -> Option<i64> {
    #[expect(clippy::cast_precision_loss, reason = "2^53 is exact in a double")]
    let limit = INTEGER_MAX as f64;
    let is_integer = number.fract() == 0.0
        && number.abs() <= limit
        && !(number == 0.0 && number.is_sign_negative());
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    is_integer.then_some(number as i64)
}
