//! Free-form data from JSON, without a tree in between.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};

use super::{BOOL, Document, FIELDS, LIST, NAME, NULL, NUMBER, STRING, STRUCT, VALUE, too_deep};
use crate::json::STRUCT_DEPTH_MAX;
use crate::wire;

/// From JSON that is known to be within the limits, such as what the database keeps.
impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut out = Vec::with_capacity(256);
        deserializer.deserialize_map(Members {
            out: &mut out,
            depth: 1,
        })?;
        Ok(Self(out))
    }
}

/// Writes the members of an object. Their values are so deep in the data.
struct Members<'o> {
    out: &'o mut Vec<u8>,
    depth: usize,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let depth = self.depth;
        while let Some(Text(name)) = members.next_key()? {
            let mut written = Ok(());
            wire::put_nested(self.out, FIELDS, |out| {
                wire::put_bytes(out, NAME, name.as_bytes());
                wire::put_nested(out, VALUE, |out| {
                    written = members.next_value_seed(Member { out, depth });
                });
            });
            written?;
        }
        Ok(())
    }
}

/// Writes the kind of a value.
struct Member<'o> {
    out: &'o mut Vec<u8>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth > STRUCT_DEPTH_MAX {
            return Err(D::Error::custom(too_deep()));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        wire::put_key(self.out, NULL, wire::VARINT);
        wire::put_varint(self.out, 0);
        Ok(())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<(), E> {
        wire::put_key(self.out, BOOL, wire::VARINT);
        wire::put_varint(self.out, u64::from(flag));
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        wire::put_key(self.out, NUMBER, wire::FIXED64);
        self.out.extend_from_slice(&number.to_le_bytes());
        Ok(())
    }

    // Both are exact: integers beyond 2^53 are refused when data comes in.
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        wire::put_bytes(self.out, STRING, text.as_bytes());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let depth = self.depth + 1;
        let mut written = Ok(Some(()));
        wire::put_nested(self.out, LIST, |out| {
            loop {
                let before = out.len();
                wire::put_nested(out, FIELDS, |out| {
                    written = items.next_element_seed(Member { out, depth });
                });
                if !matches!(written, Ok(Some(()))) {
                    // There was none: what was opened for it goes.
                    out.truncate(before);
                    return;
                }
            }
        });
        written.map(drop)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<(), A::Error> {
        let depth = self.depth + 1;
        let mut written = Ok(());
        wire::put_nested(self.out, STRUCT, |out| {
            written = Members { out, depth }.visit_map(members);
        });
        written
    }
}

/// A text that is borrowed where it stands without escapes.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}
