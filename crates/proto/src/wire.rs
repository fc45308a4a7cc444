//! The protobuf wire format: the few primitives that transcoding needs.

/// A varint.
pub const VARINT: u8 = 0;
/// Eight bytes, little-endian.
pub const FIXED64: u8 = 1;
/// A length and that many bytes.
pub const BYTES: u8 = 2;
/// Four bytes, little-endian.
pub const FIXED32: u8 = 5;

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field's key.
pub fn put_key(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, (u64::from(number) << 3) | u64::from(wire_type));
}

/// Appends a field of bytes.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_key(out, number, BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a field whose content `fill` writes.
///
/// One byte is kept for the length, which suffices for most messages; a longer content is moved to make room.
pub fn put_nested(out: &mut Vec<u8>, number: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    put_key(out, number, BYTES);
    put_length_of(out, fill);
}

/// Appends a length and the content that `fill` writes.
pub fn put_length_of(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(0);
    fill(out);
    let length = out.len() - start - 1;
    if length < 0x80 {
        out[start] = length as u8;
        return;
    }
    let mut prefix = Vec::with_capacity(5);
    put_varint(&mut prefix, length as u64);
    let extra = prefix.len() - 1;
    let end = out.len();
    out.resize(end + extra, 0);
    out.copy_within(start + 1..end, start + prefix.len());
    out[start..start + prefix.len()].copy_from_slice(&prefix);
}

/// Folds a signed number so that small negative ones stay short.
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
pub const fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// The content of one field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raw<'a> {
    /// A varint, or the bits of a fixed-width number.
    Number(u64),
    /// A text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
}

/// Walks over the fields of a message. Ends early on bytes that are no protobuf, which our own services never send; these are then what is left.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Raw<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.0;
        let key = take_varint(&mut rest)?;
        let number = u32::try_from(key >> 3).ok()?;
        let raw = match (key & 7) as u8 {
            VARINT => Raw::Number(take_varint(&mut rest)?),
            FIXED64 => Raw::Number(u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?)),
            FIXED32 => Raw::Number(u64::from(u32::from_le_bytes(
                take(&mut rest, 4)?.try_into().ok()?,
            ))),
            BYTES => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                Raw::Bytes(take(&mut rest, length)?)
            }
            _ => return None,
        };
        self.0 = rest;
        Some((number, raw))
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(length)?;
    *bytes = tail;
    Some(head)
}

/// Reads a varint off the front.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_any_size_read_back() {
        for length in [0, 1, 127, 128, 300, 16_383, 16_384, 70_000] {
            let mut out = Vec::new();
            put_nested(&mut out, 3, |out| out.resize(out.len() + length, 7));
            put_key(&mut out, 4, VARINT);
            put_varint(&mut out, 99);
            let fields: Vec<_> = Fields(&out).collect();
            assert_eq!(
                fields,
                [(3, Raw::Bytes(&vec![7; length][..])), (4, Raw::Number(99))]
            );
        }
    }

    #[test]
    fn broken_bytes_end_the_walk() {
        for bytes in [&[0x0a, 0x05, 1][..], &[0x08], &[0x0f]] {
            let mut fields = Fields(bytes);
            assert_eq!(fields.next(), None);
            assert_eq!(fields.0, bytes, "what is broken is left");
        }
        assert_eq!(Fields(&[0xff; 12]).next(), None);
        assert_eq!(unzigzag(zigzag(-5)), -5);
    }
}
