//! What holds for any file: the rows of another reader, wherever the bytes are cut and wherever reading goes on.

use proptest::prelude::*;

use super::*;

/// A row: its cells and the byte after it.
type Row = (Vec<String>, Place);

fn rows(bytes: &[u8], after: Place, delimiter: u8, cuts: &[usize]) -> Result<Vec<Row>, Failure> {
    let mut found = Vec::new();
    let mut take = |cells: &Cells, place: Place| {
        let texts = cells.texts().expect("the file is text");
        found.push((texts.into_iter().map(str::to_owned).collect(), place));
        Ok(())
    };
    let mut rows = Rows::after(after, delimiter);
    let mut start = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        if cut > start {
            rows.push(&bytes[start..cut], &mut take)?;
            start = cut;
        }
    }
    rows.finish(&mut take)?;
    Ok(found)
}

/// What the `csv` crate makes of the same bytes.
fn judged(bytes: &[u8], delimiter: u8) -> Vec<Vec<String>> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(bytes)
        .records()
        .map(|record| record.unwrap().iter().map(str::to_owned).collect())
        .collect()
}

/// A table as RFC 4180 has it: quoted where it must be and sometimes where it need not, with either line end.
fn file() -> impl Strategy<Value = (String, u8)> {
    let cell = prop_oneof![
        3 => "[a-zA-Z0-9 ]{0,8}",
        2 => "[\"\r\n,;\tçã€\u{1F600}x']{0,6}",
        1 => "\\PC{0,10}",
    ];
    let table = prop::collection::vec(prop::collection::vec((cell, any::<bool>()), 1..6), 0..12);
    let delimiter = prop::sample::select(vec![b',', b';', b'\t']);
    (table, delimiter, any::<bool>(), any::<bool>()).prop_map(|(table, delimiter, crlf, ends)| {
        let end = if crlf { "\r\n" } else { "\n" };
        let lines: Vec<String> = table
            .iter()
            .map(|row| line(row, char::from(delimiter)))
            .collect();
        let tail = if ends { end } else { "" };
        (lines.join(end) + tail, delimiter)
    })
}

fn line(row: &[(String, bool)], delimiter: char) -> String {
    let cells = row.iter().map(|(cell, quoted)| {
        let needs = cell.contains(['"', '\r', '\n', delimiter]);
        if needs || *quoted {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    });
    cells.collect::<Vec<_>>().join(&delimiter.to_string())
}

fn texts(rows: &[Row]) -> Vec<Vec<String>> {
    rows.iter().map(|(texts, _)| texts.clone()).collect()
}

proptest! {
    #[test]
    fn any_sound_file_has_the_rows_that_another_reader_finds((file, delimiter) in file()) {
        let ours = rows(file.as_bytes(), Place::default(), delimiter, &[]).unwrap();
        prop_assert_eq!(texts(&ours), judged(file.as_bytes(), delimiter), "{:?}", file);
    }

    #[test]
    fn any_cut_gives_the_same_rows((file, delimiter) in file(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let whole = rows(file.as_bytes(), Place::default(), delimiter, &[]).unwrap();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(file.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(&rows(file.as_bytes(), Place::default(), delimiter, &cuts).unwrap(), &whole);
        let every_byte: Vec<usize> = (0..file.len()).collect();
        prop_assert_eq!(&rows(file.as_bytes(), Place::default(), delimiter, &every_byte).unwrap(), &whole);
    }

    #[test]
    fn any_row_is_a_place_to_go_on_from((file, delimiter) in file()) {
        let whole = rows(file.as_bytes(), Place::default(), delimiter, &[]).unwrap();
        for (index, (_, place)) in whole.iter().enumerate() {
            let rest = &file.as_bytes()[usize::try_from(place.end).unwrap()..];
            let after = rows(rest, *place, delimiter, &[]).unwrap();
            prop_assert_eq!(&after[..], &whole[index + 1..], "after row {} of {:?}", place.row, file);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_the_same_wherever_they_are_cut(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..120), cut in any::<prop::sample::Index>()) {
        let read = |cuts: &[usize]| {
            let mut seen = Vec::new();
            let mut take = |cells: &Cells, place: Place| {
                seen.push((cells.texts().map(|texts| texts.join("|")), cells.len(), cells.is_malformed, place));
                Ok(())
            };
            let mut rows = Rows::after(Place::default(), b',');
            let mut start = 0;
            let mut outcome = Ok(());
            for end in cuts.iter().copied().chain([bytes.len()]) {
                outcome = outcome.and_then(|()| rows.push(&bytes[start..end], &mut take));
                start = end;
            }
            let outcome = outcome.and_then(|()| rows.finish(&mut take)).map_err(|failure| failure.rule);
            (seen, outcome)
        };
        prop_assert_eq!(read(&[]), read(&[cut.index(bytes.len() + 1)]));
        let _ = Header::read(&bytes, true);
        let _ = Header::read(&bytes, false);
    }

    #[test]
    fn any_file_is_held_one_bounded_row_at_a_time(byte in any::<u8>(), count in 1_usize..3_000_000) {
        let part = vec![byte; 64 * 1024];
        let mut rows = Rows::after(Place::default(), b',');
        for _ in 0..count.div_ceil(part.len()) {
            if rows.push(&part, |_, _| Ok(())).is_err() {
                break;
            }
            prop_assert!(rows.cells.text.len() <= ROW_BYTES_MAX + 1);
            prop_assert!(rows.cells.ends.len() <= COLUMNS_MAX + 1);
        }
    }
}
