//! Reads JSON in one pass and refuses what other readers let through.
//!
//! A duplicate key, a lone surrogate, a NUL, a number that no double can hold, or nesting that only an attacker needs: each is an
//! [`Offence`] with the path of the place, so that a client can mend it.
//! Numbers stay text: only the field that takes one knows its range.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

/// Objects and arrays inside each other. Forms nest three or four deep; 32 leaves room and keeps the stack small.
pub const DEPTH_MAX: usize = 32;
/// Values in one document. A body of 1 MiB could hold half a million one-digit numbers, which would take 30 MB as nodes.
pub const VALUES_MAX: usize = 100_000;
/// Objects up to this size are searched key by key; a set pays only above it.
const LINEAR_KEYS: usize = 16;
/// A double has at most 309 digits before the point; a longer literal is an attack on the reader.
const NUMBER_BYTES_MAX: usize = 400;

/// A JSON value that borrows from the body wherever it has no escapes.
#[derive(Debug, PartialEq)]
pub enum Node<'a> {
    Null,
    Bool(bool),
    /// The literal as it was written.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl Node<'_> {
    /// `null`, `boolean`, `number`, `string`, `array` or `object`, as messages name it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

/// Why a document was refused, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Offence {
    /// For example `filters[0].facet`; empty for the document as a whole.
    pub path: String,
    /// A stable id, for example `json.duplicate_key`.
    pub rule: &'static str,
    /// In English.
    pub message: String,
}

/// Reads one document, which must be the whole of `body`.
pub fn parse(body: &[u8]) -> Result<Node<'_>, Offence> {
    match std::str::from_utf8(body) {
        Ok(text) => parse_text(text).map_err(Fault::into_offence),
        Err(invalid) => {
            // Reading the sound part ends exactly where the broken byte stands, which tells its path.
            let sound = std::str::from_utf8(&body[..invalid.valid_up_to()]).unwrap_or_default();
            let mut fault = parse_text(sound)
                .err()
                .unwrap_or_else(|| Fault::new("json.utf8", ""));
            if !matches!(
                fault.rule,
                "json.duplicate_key"
                    | "json.depth"
                    | "json.nul"
                    | "json.surrogate"
                    | "json.number_range"
            ) {
                fault.rule = "json.utf8";
                fault.message = format!(
                    "the body is not valid UTF-8 at byte {}",
                    invalid.valid_up_to()
                );
            }
            Err(fault.into_offence())
        }
    }
}

fn parse_text(text: &str) -> Result<Node<'_>, Fault> {
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        at: 0,
        values: 0,
    };
    reader.space();
    let node = reader.value(0)?;
    reader.space();
    if reader.at < reader.bytes.len() {
        return Err(reader.syntax("something follows the end of the document"));
    }
    Ok(node)
}

enum Step {
    Key(String),
    Index(usize),
}

/// An offence whose path is gathered while the calls return, so that sound documents pay nothing for it.
struct Fault {
    steps: Vec<Step>,
    rule: &'static str,
    message: String,
}

impl Fault {
    fn new(rule: &'static str, message: impl Into<String>) -> Self {
        Self {
            steps: Vec::new(),
            rule,
            message: message.into(),
        }
    }

    fn within(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn into_offence(self) -> Offence {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => {
                    path.push('.');
                    path.push_str(key);
                }
                Step::Index(index) => {
                    write!(path, "[{index}]").expect("writing to a string cannot fail");
                }
            }
        }
        Offence {
            path,
            rule: self.rule,
            message: self.message,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn syntax(&self, what: &str) -> Fault {
        Fault::new(
            "json.syntax",
            format!("not valid JSON at byte {}: {what}", self.at),
        )
    }

    fn value(&mut self, depth: usize) -> Result<Node<'a>, Fault> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(Fault::new(
                "json.values",
                format!("the document has more than {VALUES_MAX} values"),
            ));
        }
        match self.peek() {
            Some(b'"') => self.string().map(Node::String),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Node::Bool(true)),
            Some(b'f') => self.literal("false", Node::Bool(false)),
            Some(b'n') => self.literal("null", Node::Null),
            Some(_) => Err(self.syntax("a value was expected")),
            None => Err(self.syntax("it ends too early")),
        }
    }

    fn literal(&mut self, word: &str, node: Node<'a>) -> Result<Node<'a>, Fault> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(node)
        } else {
            Err(self.syntax("a value was expected"))
        }
    }

    fn deeper(&self, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::new(
                "json.depth",
                format!("nested deeper than {DEPTH_MAX} levels"),
            ));
        }
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<Node<'a>, Fault> {
        self.deeper(depth)?;
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Node::Array(items));
        }
        loop {
            self.space();
            let item = self
                .value(depth)
                .map_err(|fault| fault.within(Step::Index(items.len())))?;
            items.push(item);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Node::Array(items));
                }
                Some(_) => return Err(self.syntax("`,` or `]` was expected")),
                None => {
                    return Err(self
                        .syntax("it ends too early")
                        .within(Step::Index(items.len() - 1)));
                }
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node<'a>, Fault> {
        self.deeper(depth)?;
        self.at += 1;
        let mut members: Vec<(Cow<'a, str>, Node<'a>)> = Vec::new();
        let mut seen: HashSet<Cow<'a, str>> = HashSet::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Node::Object(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.syntax("a key was expected"));
            }
            let key = self.string()?;
            if is_repeated(&members, &mut seen, &key) {
                let fault = Fault::new(
                    "json.duplicate_key",
                    "this key stands twice in the same object",
                );
                return Err(fault.within(Step::Key(key.into_owned())));
            }
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.syntax("`:` was expected"));
            }
            self.at += 1;
            self.space();
            match self.value(depth) {
                Ok(value) => members.push((key, value)),
                Err(fault) => return Err(fault.within(Step::Key(key.into_owned()))),
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Node::Object(members));
                }
                Some(_) => return Err(self.syntax("`,` or `}` was expected")),
                None => return Err(self.syntax("it ends too early")),
            }
        }
    }

    fn number(&mut self) -> Result<Node<'a>, Fault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.syntax("a digit was expected")),
        }
        let mut plain = true;
        if self.peek() == Some(b'.') {
            plain = false;
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            plain = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        let literal = &self.text[start..self.at];
        // Up to 300 plain digits always fit; only the rest needs the costly check.
        let finite = (plain && literal.len() < 300)
            || (literal.len() <= NUMBER_BYTES_MAX
                && literal.parse::<f64>().is_ok_and(f64::is_finite));
        if !finite {
            return Err(Fault::new(
                "json.number_range",
                "the number is larger than a double can hold",
            ));
        }
        Ok(Node::Number(literal))
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), Fault> {
        let before = self.at;
        self.digits();
        if self.at == before {
            Err(self.syntax("a digit was expected"))
        } else {
            Ok(())
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.at += 1;
        let mut start = self.at;
        let mut owned: Option<String> = None;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let tail = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(tail),
                        Some(mut text) => {
                            text.push_str(tail);
                            Cow::Owned(text)
                        }
                    });
                }
                Some(b'\\') => {
                    let text = owned.get_or_insert_default();
                    text.push_str(&self.text[start..self.at]);
                    self.at += 1;
                    let c = self.escape()?;
                    owned.get_or_insert_default().push(c);
                    start = self.at;
                }
                Some(0) => return Err(nul()),
                Some(0x01..=0x1f) => return Err(self.syntax("a control character must be escaped")),
                Some(_) => self.at += 1,
                None => return Err(self.syntax("it ends within a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.syntax("this escape does not exist")),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let surrogate = || Fault::new("json.surrogate", "half of a surrogate pair stands alone");
        let first = self.hex4()?;
        let scalar = match first {
            0 => return Err(nul()),
            0xD800..=0xDBFF => {
                if !self.bytes[self.at..].starts_with(b"\\u") {
                    return Err(surrogate());
                }
                self.at += 2;
                let second = self.hex4()?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return Err(surrogate());
                }
                0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            other => other,
        };
        char::from_u32(scalar).ok_or_else(surrogate)
    }

    fn hex4(&mut self) -> Result<u32, Fault> {
        let digits = self
            .bytes
            .get(self.at..self.at + 4)
            .filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else {
            return Err(self.syntax("four hexadecimal digits were expected"));
        };
        self.at += 4;
        Ok(digits.iter().fold(0, |sum, d| {
            sum * 16 + (*d as char).to_digit(16).unwrap_or(0)
        }))
    }
}

fn nul() -> Fault {
    Fault::new("json.nul", "a text must not contain the character NUL")
}

fn is_repeated<'a>(
    members: &[(Cow<'a, str>, Node<'a>)],
    seen: &mut HashSet<Cow<'a, str>>,
    key: &str,
) -> bool {
    if members.len() < LINEAR_KEYS {
        return members.iter().any(|(known, _)| known == key);
    }
    if seen.is_empty() {
        seen.extend(members.iter().map(|(known, _)| known.clone()));
    }
    !seen.insert(Cow::Owned(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: impl AsRef<[u8]>, path: &str, rule: &str) {
        let offence = parse(body.as_ref()).expect_err("must be refused");
        assert_eq!(
            (offence.path.as_str(), offence.rule),
            (path, rule),
            "{}",
            offence.message
        );
    }

    #[test]
    fn each_offence_is_told_with_its_path() {
        check("", "", "json.syntax");
        check("\u{feff}{}", "", "json.syntax");
        check(r#"{"a":1}x"#, "", "json.syntax");
        check(r#"{"a":01}"#, "", "json.syntax");
        check(
            r#"{"a":{"b":[1,{"c":1,"c":2}]}}"#,
            "a.b[1].c",
            "json.duplicate_key",
        );
        check(r#"{"a":"\u0000"}"#, "a", "json.nul");
        check(b"{\"a\":[\"\0\"]}", "a[0]", "json.nul");
        check(r#"{"a":["x","\ud800"]}"#, "a[1]", "json.surrogate");
        check(r#"{"a":"\udc00"}"#, "a", "json.surrogate");
        check(r#"{"a":"\ud800\u0041"}"#, "a", "json.surrogate");
        check(r#"{"a":{"n":1e400}}"#, "a.n", "json.number_range");
        check(
            format!("{{\"a\":{}}}", "9".repeat(500)),
            "a",
            "json.number_range",
        );
        check(b"{\"a\":[0,\"x\xff\"]}", "a[1]", "json.utf8");
        check(b"{\"a\":\"\xed\xa0\x80\"}", "a", "json.utf8");
    }

    #[test]
    fn depth_is_bounded_without_recursion_reaching_the_stack() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(
            parse(nested(DEPTH_MAX + 1).as_bytes()).unwrap_err().rule,
            "json.depth"
        );
        assert_eq!(
            parse("[".repeat(1_000_000).as_bytes()).unwrap_err().rule,
            "json.depth"
        );
    }

    #[test]
    fn many_keys_are_still_checked_for_repetition() {
        let mut body: String = (0..1000).map(|n| format!("\"k{n}\":0,")).collect();
        body = format!("{{{body}\"k500\":1}}");
        check(&body, "k500", "json.duplicate_key");
        // The same key in two spellings is the same key.
        check(r#"{"name":1,"n\u0061me":2}"#, "name", "json.duplicate_key");
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let body = format!("[{}0]", "0,".repeat(VALUES_MAX));
        assert_eq!(parse(body.as_bytes()).unwrap_err().rule, "json.values");
    }
}
