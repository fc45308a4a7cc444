//! Rows out of bytes: RFC 4180, in whatever pieces the bytes come, with the exact place where each row ends.
//!
//! Written here rather than taken from a library because an import needs what none tells: the byte after each row, to go on there after a
//! crash; a bound on the length of a row; and that a quote was never closed.

use super::failures::Failure;

#[cfg(test)]
mod properties;

/// A record has 64 KiB at most; a row may be wider, since not every column needs to be imported.
pub const ROW_BYTES_MAX: usize = 256 * 1024;
/// More columns than this are no table that anybody made on purpose.
const COLUMNS_MAX: usize = 1_000;
/// The byte order mark that spreadsheets put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The cells of one row.
#[derive(Debug, Default)]
pub struct Cells {
    text: Vec<u8>,
    ends: Vec<usize>,
    /// Something stands after a closing quote.
    pub is_malformed: bool,
}

impl Cells {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// All cells as text; nothing when they are not UTF-8.
    pub fn texts(&self) -> Option<Vec<&str>> {
        let text = std::str::from_utf8(&self.text).ok()?;
        let mut start = 0;
        self.ends
            .iter()
            .map(|end| {
                let cell = text.get(start..*end);
                start = *end;
                cell
            })
            .collect()
    }

    fn is_blank(&self) -> bool {
        self.ends.len() == 1 && self.text.is_empty()
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.is_malformed = false;
    }
}

/// Where a row stands in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The number of the row; the first row of the file is 1, empty lines count.
    pub row: u64,
    /// The byte after the row.
    pub end: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    CellStart,
    Bare,
    Quoted,
    /// A quote inside a quoted cell: the end of the cell, or half of a doubled quote.
    QuoteInQuoted,
}

/// Takes bytes and gives rows.
#[derive(Debug)]
pub struct Rows {
    delimiter: u8,
    state: State,
    cells: Cells,
    /// The last row that is complete.
    last: Place,
    /// The byte after what was taken.
    position: u64,
}

impl Rows {
    /// Goes on after a row.
    pub fn after(last: Place, delimiter: u8) -> Self {
        Self {
            delimiter,
            state: State::CellStart,
            cells: Cells::default(),
            last,
            position: last.end,
        }
    }

    /// The byte from which it takes the file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes the next bytes of the file and hands out the rows that end in them; empty lines are left out.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&Cells, Place) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for byte in bytes {
            self.position += 1;
            match (self.state, *byte) {
                (State::CellStart, b'"') => self.state = State::Quoted,
                (State::Quoted, b'"') => self.state = State::QuoteInQuoted,
                (State::Quoted, byte) => self.cells.text.push(byte),
                (State::QuoteInQuoted, b'"') => {
                    self.cells.text.push(b'"');
                    self.state = State::Quoted;
                }
                (_, byte) if byte == self.delimiter => self.end_cell(),
                (_, b'\n') => self.end_row(&mut each)?,
                // The first half of a line end.
                (State::QuoteInQuoted, b'\r') => {}
                (state, byte) => {
                    self.cells.is_malformed |= state == State::QuoteInQuoted;
                    self.cells.text.push(byte);
                    self.state = State::Bare;
                }
            }
            if self.cells.text.len() > ROW_BYTES_MAX || self.cells.ends.len() > COLUMNS_MAX {
                return Err(self.endless_row());
            }
        }
        Ok(())
    }

    /// The end of the file, which also ends the last row.
    pub fn finish(
        &mut self,
        mut each: impl FnMut(&Cells, Place) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.state == State::Quoted {
            return Err(self.endless_row());
        }
        if self.position > self.last.end {
            self.end_row(&mut each)
        } else {
            Ok(())
        }
    }

    fn end_cell(&mut self) {
        self.cells.ends.push(self.cells.text.len());
        self.state = State::CellStart;
    }

    fn end_row(
        &mut self,
        each: &mut impl FnMut(&Cells, Place) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let cell_start = self.cells.ends.last().copied().unwrap_or(0);
        if self.state == State::Bare
            && self.cells.text.len() > cell_start
            && self.cells.text.last() == Some(&b'\r')
        {
            self.cells.text.pop();
        }
        let was_quoted = self.state == State::QuoteInQuoted;
        self.end_cell();
        self.last = Place {
            row: self.last.row + 1,
            end: self.position,
        };
        let outcome = if self.cells.is_blank() && !was_quoted {
            Ok(())
        } else {
            each(&self.cells, self.last)
        };
        self.cells.clear();
        outcome
    }

    fn endless_row(&self) -> Failure {
        let row = self.last.row + 1;
        match self.state {
            State::Quoted => Failure::new("unclosed_quote").with("row", row),
            _ => Failure::new("row_too_long")
                .with("row", row)
                .with("bytes", ROW_BYTES_MAX)
                .with("columns", COLUMNS_MAX),
        }
    }
}

/// The first row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The names of the columns, trimmed.
    pub columns: Vec<String>,
    pub delimiter: u8,
    pub place: Place,
}

impl Header {
    /// Reads the header from the first bytes of a file; `is_whole` says that these are all.
    pub fn read(bytes: &[u8], is_whole: bool) -> Result<Self, Failure> {
        let skipped = if bytes.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let bytes = &bytes[skipped..];
        let delimiter = sniff_delimiter(bytes);
        let mut rows = Rows::after(
            Place {
                row: 0,
                end: skipped as u64,
            },
            delimiter,
        );
        let mut found: Option<Result<Self, Failure>> = None;
        let mut take = |cells: &Cells, place: Place| {
            found.get_or_insert_with(|| Self::of(cells, place, delimiter));
            Ok(())
        };
        let mut outcome = rows.push(bytes, &mut take);
        if outcome.is_ok() && is_whole {
            outcome = rows.finish(&mut take);
        }
        match (found, outcome) {
            (Some(header), _) => header,
            (None, Err(failure)) => Err(failure),
            (None, Ok(())) if is_whole => Err(Failure::new("no_header")),
            (None, Ok(())) => Err(Failure::new("row_too_long")
                .with("row", 1)
                .with("bytes", bytes.len())
                .with("columns", COLUMNS_MAX)),
        }
    }

    fn of(cells: &Cells, place: Place, delimiter: u8) -> Result<Self, Failure> {
        let columns: Vec<String> = cells
            .texts()
            .ok_or_else(|| Failure::new("not_utf8").with("row", place.row))?
            .into_iter()
            .map(|name| name.trim().to_owned())
            .collect();
        if cells.is_malformed {
            return Err(Failure::new("header_quotes"));
        }
        let mut twice: Vec<&str> = Vec::new();
        for (i, name) in columns
            .iter()
            .enumerate()
            .filter(|(_, name)| !name.is_empty())
        {
            let is_known = columns[..i]
                .iter()
                .any(|earlier| earlier.eq_ignore_ascii_case(name));
            if is_known && !twice.contains(&name.as_str()) {
                twice.push(name);
            }
        }
        if !twice.is_empty() {
            return Err(Failure::new("duplicate_columns").with("columns", twice.join(", ")));
        }
        Ok(Self {
            columns,
            delimiter,
            place,
        })
    }
}

/// Which of comma, semicolon and tab stands most often in the first line, outside quotes; spreadsheets write each of them.
fn sniff_delimiter(bytes: &[u8]) -> u8 {
    const CANDIDATES: [u8; 3] = [b',', b';', b'\t'];
    let mut counts = [0_usize; 3];
    let mut is_quoted = false;
    for byte in bytes {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' if !is_quoted && counts.iter().any(|n| *n > 0) => break,
            byte if !is_quoted => {
                if let Some(i) = CANDIDATES.iter().position(|c| c == byte) {
                    counts[i] += 1;
                }
            }
            _ => {}
        }
    }
    // A tie goes to the rarer character: a comma is also punctuation within a name.
    let mut best = 0;
    for i in 1..counts.len() {
        if counts[i] > 0 && counts[i] >= counts[best] {
            best = i;
        }
    }
    CANDIDATES[best]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows as `number@end cell|cell`, with the file cut into pieces of `piece` bytes.
    fn read(text: &[u8], piece: usize) -> Result<Vec<String>, Failure> {
        let mut rows = Rows::after(Place::default(), b',');
        let mut found = Vec::new();
        let mut take = |cells: &Cells, place: Place| {
            let mark = if cells.is_malformed { "!" } else { "" };
            found.push(format!(
                "{}@{} {}{mark}",
                place.row,
                place.end,
                cells.texts().unwrap().join("|")
            ));
            Ok(())
        };
        for bytes in text.chunks(piece) {
            rows.push(bytes, &mut take)?;
        }
        rows.finish(&mut take)?;
        Ok(found)
    }

    #[test]
    fn rows_are_the_same_however_the_bytes_are_cut() {
        let check = |text: &str, expected: &[&str]| {
            for piece in [1, 2, 3, 7, 1000] {
                assert_eq!(
                    read(text.as_bytes(), piece).unwrap(),
                    expected,
                    "{text:?} in pieces of {piece}"
                );
            }
        };
        check("a,b\n1,2\n", &["1@4 a|b", "2@8 1|2"]);
        check("a,b\r\n1,2", &["1@5 a|b", "2@8 1|2"]);
        check(
            "\"a\",\"b \"\"c\"\", d\"\r\n\"1\n2\",3\n",
            &["1@18 a|b \"c\", d", "2@26 1\n2|3"],
        );
        check("a\n\n\r\nb\n", &["1@2 a", "4@7 b"]);
        check("a,,\n,\n", &["1@4 a||", "2@6 |"]);
        check("5\" disk,x\n", &["1@10 5\" disk|x"]);
        check("\"a\"b,c\nd,e\n", &["1@7 ab|c!", "2@11 d|e"]);
        check("\"\"\nx\n", &["1@3 ", "2@5 x"]);
        check("São,ção\n", &["1@11 São|ção"]);
        check("", &[]);
    }

    #[test]
    fn a_row_without_end_is_refused_before_it_fills_the_memory() {
        let failure = |text: &[u8]| read(text, 4096).unwrap_err().rule;
        assert_eq!(failure(b"a,b\n\"1,2\n3,4\n"), "unclosed_quote");
        assert_eq!(
            failure(&[b"a\n\"".as_slice(), &vec![b'x'; ROW_BYTES_MAX + 1]].concat()),
            "unclosed_quote"
        );
        assert_eq!(failure(&vec![b'x'; ROW_BYTES_MAX + 1]), "row_too_long");
        assert_eq!(failure(&vec![b','; COLUMNS_MAX + 2]), "row_too_long");
    }

    #[test]
    fn the_header_tells_the_delimiter_and_what_is_wrong_with_it() {
        let header = |text: &str| {
            Header::read(text.as_bytes(), true)
                .map(|h| (h.columns.join("|"), h.delimiter, h.place.end))
        };
        let is = |text: &str, columns: &str, delimiter: u8, end: u64| {
            assert_eq!(header(text).unwrap(), (columns.to_owned(), delimiter, end))
        };
        is("Name,City\n1,2", "Name|City", b',', 10);
        is("Nome;Cidade, UF\n", "Nome|Cidade, UF", b';', 16);
        is("\u{feff}a\tb\n", "a|b", b'\t', 7);
        is("\"a,b,c\";d", "a,b,c|d", b';', 9);
        is("\n only \n", "only", b',', 8);
        let fails =
            |text: &str, rule: &str| assert_eq!(header(text).unwrap_err().rule, rule, "{text:?}");
        fails("", "no_header");
        fails("\n\n", "no_header");
        fails("a,B,b,A\n", "duplicate_columns");
        fails("\"a,b\n", "unclosed_quote");
        assert_eq!(
            Header::read(b"a,b", false).unwrap_err().rule,
            "row_too_long"
        );
        assert_eq!(
            Header::read(b"a,\xe7\n", true).unwrap_err().rule,
            "not_utf8"
        );
    }
}
