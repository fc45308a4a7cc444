//! Single values: what a field takes, from JSON and from texts in a path or a query.

use chrono::{DateTime, Datelike as _, Utc};

use crate::strict_json::Node;
use proto::shape::{Coding, Int, Kind, Shapes};
use proto::wire;

/// What a field takes, in words and as the id of the broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// For example `type.integer`.
    pub rule: &'static str,
    /// For example `a whole number`.
    pub words: &'static str,
}

const fn expected(rule: &'static str, words: &'static str) -> Expected {
    Expected { rule, words }
}

/// What a field of this kind takes.
pub fn expectation(kind: Kind) -> Expected {
    match kind {
        Kind::Bool => expected("type.boolean", "`true` or `false`"),
        Kind::String => expected("type.string", "a string"),
        Kind::Bytes => expected("type.base64", "a string in base64"),
        Kind::Float | Kind::Double => expected("type.number", "a number"),
        Kind::Int(Int { bits: 32, .. }) => expected("type.integer", "a whole number of 32 bits"),
        Kind::Int(_) => expected("type.integer", "a whole number of 64 bits"),
        Kind::Enum(_) => expected("type.enum", "one of the listed values"),
        Kind::Message(_) => expected("type.object", "an object"),
    }
}

/// Appends the value of a JSON node, without a key. `Err` says what the field takes.
pub fn put_node(
    out: &mut Vec<u8>,
    shapes: &Shapes,
    kind: Kind,
    node: &Node<'_>,
) -> Result<(), Expected> {
    let wrong = || expectation(kind);
    match (kind, node) {
        (Kind::Bool, Node::Bool(value)) => out.push(u8::from(*value)),
        (Kind::String, Node::String(text)) => put_text(out, text.as_bytes()),
        (Kind::Bytes, Node::String(text)) => put_text(out, &base64(text).ok_or_else(wrong)?),
        (Kind::Int(int), Node::Number(literal)) => {
            put_int(out, int, whole(literal).ok_or_else(wrong)?).ok_or_else(wrong)?
        }
        // Numbers beyond 2^53 lose digits in many clients, so 64-bit fields also take them as strings (proto3 JSON).
        (Kind::Int(int), Node::String(text)) if int.bits == 64 => {
            put_int(out, int, text.parse().map_err(|_| wrong())?).ok_or_else(wrong)?;
        }
        (Kind::Float | Kind::Double, Node::Number(literal)) => {
            put_float(out, kind, literal).ok_or_else(wrong)?
        }
        (Kind::Enum(id), Node::String(text)) => {
            put_enum(out, shapes, id, text).ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    }
    Ok(())
}

/// Appends the value of a text that stood in a path or a query.
pub fn put_plain(
    out: &mut Vec<u8>,
    shapes: &Shapes,
    kind: Kind,
    text: &str,
) -> Result<(), Expected> {
    let wrong = || expectation(kind);
    match kind {
        Kind::String => put_text(out, text.as_bytes()),
        Kind::Bool => out.push(match text {
            "true" => 1,
            "false" => 0,
            _ => return Err(wrong()),
        }),
        Kind::Bytes => put_text(out, &base64(text).ok_or_else(wrong)?),
        Kind::Int(int) => {
            put_int(out, int, plain_integer(text).ok_or_else(wrong)?).ok_or_else(wrong)?
        }
        Kind::Float | Kind::Double => put_float(out, kind, text).ok_or_else(wrong)?,
        Kind::Enum(id) => put_enum(out, shapes, id, text).ok_or_else(wrong)?,
        Kind::Message(_) => return Err(wrong()),
    }
    Ok(())
}

fn put_text(out: &mut Vec<u8>, bytes: &[u8]) {
    wire::put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_int(out: &mut Vec<u8>, int: Int, value: i128) -> Option<()> {
    let fits = match (int.bits, int.signed) {
        (32, true) => i32::try_from(value).is_ok(),
        (32, false) => u32::try_from(value).is_ok(),
        (_, true) => i64::try_from(value).is_ok(),
        (_, false) => u64::try_from(value).is_ok(),
    };
    if !fits {
        return None;
    }
    // The cast keeps the bits of a negative number, which the wire format sign-extends to 64.
    let bits = value as u64;
    match int.coding {
        Coding::Varint => wire::put_varint(out, bits),
        Coding::Zigzag => wire::put_varint(out, wire::zigzag(bits as i64)),
        Coding::Fixed if int.bits == 32 => out.extend_from_slice(&(bits as u32).to_le_bytes()),
        Coding::Fixed => out.extend_from_slice(&bits.to_le_bytes()),
    }
    Some(())
}

fn put_float(out: &mut Vec<u8>, kind: Kind, text: &str) -> Option<()> {
    let written_as_number = text
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let value: f64 = text
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && written_as_number)?;
    if kind == Kind::Float {
        let value = value as f32;
        if !value.is_finite() {
            return None;
        }
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        out.extend_from_slice(&value.to_le_bytes());
    }
    Some(())
}

fn put_enum(out: &mut Vec<u8>, shapes: &Shapes, id: usize, text: &str) -> Option<()> {
    let (_, number) = shapes.values(id).iter().find(|(name, _)| name == text)?;
    wire::put_varint(out, i64::from(*number) as u64);
    Some(())
}

fn base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')))
        .ok()
}

/// The value of a JSON number when it is whole; `1.0` and `1e2` are, as proto3 JSON has it.
fn whole(literal: &str) -> Option<i128> {
    if let Ok(value) = literal.parse::<i128>() {
        return Some(value);
    }
    let value: f64 = literal.parse().ok()?;
    // Beyond 2^53 a double stands for several integers, so only the plain notation above is exact there.
    (value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0).then_some(value as i128)
}

fn plain_integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || digits.len() > 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The content of a `google.protobuf.Timestamp` from RFC 3339.
pub fn put_timestamp(out: &mut Vec<u8>, text: &str) -> Result<(), Expected> {
    let wrong = expected(
        "type.timestamp",
        "a time in RFC 3339 such as `2026-01-31T12:00:00Z`",
    );
    let time: DateTime<Utc> = DateTime::parse_from_rfc3339(text)
        .map_err(|_| wrong)?
        .to_utc();
    if !(1..=9999).contains(&time.year()) {
        return Err(wrong);
    }
    put_seconds(
        out,
        time.timestamp(),
        i64::from(time.timestamp_subsec_nanos().min(999_999_999)),
    );
    Ok(())
}

/// The content of a `google.protobuf.Duration` from `3.5s`.
pub fn put_duration(out: &mut Vec<u8>, text: &str) -> Result<(), Expected> {
    let wrong = expected("type.duration", "a duration in seconds such as `3.5s`");
    let number = text.strip_suffix('s').ok_or(wrong)?;
    let (negative, number) = number
        .strip_prefix('-')
        .map_or((false, number), |rest| (true, rest));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err(wrong);
    }
    let seconds: i64 = whole.parse().map_err(|_| wrong)?;
    let nanos: i64 = format!("{fraction:0<9}").parse().map_err(|_| wrong)?;
    // 10,000 years, the range of the type.
    if seconds > 315_576_000_000 {
        return Err(wrong);
    }
    let sign = if negative { -1 } else { 1 };
    put_seconds(out, sign * seconds, sign * nanos);
    Ok(())
}

fn put_seconds(out: &mut Vec<u8>, seconds: i64, nanos: i64) {
    if seconds != 0 {
        wire::put_key(out, 1, wire::VARINT);
        wire::put_varint(out, seconds as u64);
    }
    if nanos != 0 {
        wire::put_key(out, 2, wire::VARINT);
        wire::put_varint(out, nanos as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_may_be_written_as_decimals_but_keep_their_digits() {
        assert_eq!(whole("1.0"), Some(1));
        assert_eq!(whole("1e2"), Some(100));
        assert_eq!(whole("1.5"), None);
        assert_eq!(whole("9223372036854775807"), Some(i128::from(i64::MAX)));
        assert_eq!(whole("9.223372036854775807e18"), None);
    }

    #[test]
    fn numbers_in_a_query_are_plain() {
        for text in [
            "",
            "-",
            "+1",
            " 1",
            "1.0",
            "0x10",
            "1_000",
            "999999999999999999999",
        ] {
            assert_eq!(plain_integer(text), None, "{text}");
        }
        assert_eq!(plain_integer("-7"), Some(-7));
    }

    #[test]
    fn out_of_range_is_not_silently_cut() {
        let int = |bits, signed| Int {
            bits,
            signed,
            coding: Coding::Varint,
        };
        assert!(put_int(&mut Vec::new(), int(32, true), 1 << 31).is_none());
        assert!(put_int(&mut Vec::new(), int(32, false), -1).is_none());
        assert!(put_int(&mut Vec::new(), int(64, false), i128::from(u64::MAX)).is_some());
        assert!(put_float(&mut Vec::new(), Kind::Float, "1e39").is_none());
        assert!(put_float(&mut Vec::new(), Kind::Double, "inf").is_none());
    }

    #[test]
    fn times_outside_the_contract_are_refused() {
        assert!(put_timestamp(&mut Vec::new(), "2026-01-31T12:00:00Z").is_ok());
        assert!(put_timestamp(&mut Vec::new(), "2026-01-31").is_err());
        assert!(put_timestamp(&mut Vec::new(), "+10000-01-01T00:00:00Z").is_err());
        assert!(put_duration(&mut Vec::new(), "-3.5s").is_ok());
        assert!(put_duration(&mut Vec::new(), "3").is_err());
    }
}
