//! Whether bytes are free-form data.

use prost::DecodeError;

use super::{BOOL, FIELDS, LIST, NAME, NULL, NUMBER, STRING, STRUCT, VALUE, broken, too_deep};
use crate::json::STRUCT_DEPTH_MAX;
use crate::wire::{Fields, Raw};

/// The last value of each of two fields; an error when the bytes are no message of such fields.
pub(super) fn parts(bytes: &[u8]) -> Result<[Option<Raw<'_>>; 2], DecodeError> {
    let mut found = [None, None];
    let mut fields = Fields(bytes);
    for (number, raw) in &mut fields {
        match number {
            NAME => found[0] = Some(raw),
            VALUE => found[1] = Some(raw),
            _ => {}
        }
    }
    ended(&fields)?;
    Ok(found)
}

fn ended(fields: &Fields<'_>) -> Result<(), DecodeError> {
    match fields.0.is_empty() {
        true => Ok(()),
        false => Err(broken("free-form data is not well formed")),
    }
}

/// An entry of a map, whose value is so deep in the data.
pub(super) fn member(bytes: &[u8], depth: usize) -> Result<(), DecodeError> {
    let [name, value] = parts(bytes)?;
    match name {
        Some(Raw::Bytes(bytes)) => text(bytes)?,
        None => {}
        Some(Raw::Number(_)) => return Err(broken("a member's name is a number")),
    }
    match value {
        Some(Raw::Bytes(bytes)) => any(bytes, depth),
        None => Ok(()),
        Some(Raw::Number(_)) => Err(broken("a member's value is a bare number")),
    }
}

fn any(bytes: &[u8], depth: usize) -> Result<(), DecodeError> {
    if depth > STRUCT_DEPTH_MAX {
        return Err(broken(too_deep()));
    }
    let mut fields = Fields(bytes);
    for kind in &mut fields {
        match kind {
            (NULL | NUMBER | BOOL, Raw::Number(_)) => {}
            (STRING, Raw::Bytes(bytes)) => text(bytes)?,
            (STRUCT, Raw::Bytes(inner)) => each(inner, |part| member(part, depth + 1))?,
            (LIST, Raw::Bytes(inner)) => each(inner, |part| any(part, depth + 1))?,
            (NULL..=LIST, _) => return Err(broken("a value has the wrong type")),
            _ => {}
        }
    }
    ended(&fields)
}

fn each(
    bytes: &[u8],
    mut examine: impl FnMut(&[u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut fields = Fields(bytes);
    for (number, raw) in &mut fields {
        match (number, raw) {
            (FIELDS, Raw::Bytes(part)) => examine(part)?,
            (FIELDS, Raw::Number(_)) => return Err(broken("a bare number is no member")),
            _ => {}
        }
    }
    ended(&fields)
}

fn text(bytes: &[u8]) -> Result<(), DecodeError> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(broken("a text is not UTF-8")),
    }
}
