//! Tables as text (RFC 4180), for spreadsheets and back.
//!
//! A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, and obeys it. Such a cell is written
//! with a `'` in front, and read without it, so that a table survives the round.

/// What a spreadsheet takes for the beginning of a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Rows as text.
pub fn write<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |row: [String; N]| row.map(|cell| quoted(&cell)).join(",");
    rows.into_iter().map(line).collect::<Vec<_>>().join("\r\n")
}

fn quoted(cell: &str) -> String {
    let guard = if needs_guard(cell) { "'" } else { "" };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{guard}{}\"", cell.replace('"', "\"\""))
    } else {
        format!("{guard}{cell}")
    }
}

/// A text that begins with guards before a formula gets one more: it has to lose one when it is read.
fn needs_guard(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(FORMULA)
}

/// A row and the line that it begins on, from 1.
pub type Row = (usize, Vec<String>);

/// Reads a table; rows without any text are left out. Where the first row has semicolons between its cells and no comma,
/// they divide all: spreadsheets write that where a comma divides decimals. The error names a line.
pub fn read(text: &str) -> Result<Vec<Row>, (usize, &'static str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let divider = divider(text);
    let mut rows = Vec::new();
    let mut chars = text.chars().peekable();
    let (mut line, mut begun, mut row, mut cell) = (1, 1, Vec::new(), String::new());
    loop {
        match chars.next() {
            Some('"') if cell.is_empty() => {
                loop {
                    match chars.next() {
                        None => return Err((begun, "has a quoted cell that does not end")),
                        Some('"') if chars.next_if_eq(&'"').is_none() => break,
                        Some(c) => {
                            line += usize::from(c == '\n');
                            cell.push(c);
                        }
                    }
                }
                if chars.peek().is_some_and(|next| ![divider, '\r', '\n'].contains(next)) {
                    return Err((line, "has text behind a quoted cell"));
                }
            }
            Some(c) if c == divider => row.push(unguarded(std::mem::take(&mut cell))),
            Some('\r') if chars.peek() == Some(&'\n') => {}
            end @ (Some('\n') | None) => {
                row.push(unguarded(std::mem::take(&mut cell)));
                let row = std::mem::take(&mut row);
                if row.iter().any(|cell| !cell.is_empty()) {
                    rows.push((begun, row));
                }
                if end.is_none() {
                    return Ok(rows);
                }
                line += 1;
                begun = line;
            }
            Some(c) => cell.push(c),
        }
    }
}

/// What divides the cells of the first row. What stands between quotes divides nothing.
fn divider(text: &str) -> char {
    let (mut quoted, mut begins, mut semicolons) = (false, true, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted => quoted = chars.next_if_eq(&'"').is_some(),
            '"' if begins => (quoted, begins) = (true, false),
            _ if quoted => {}
            ',' => return ',',
            '\n' => break,
            _ => {
                begins = c == ';';
                semicolons |= begins;
            }
        }
    }
    if semicolons { ';' } else { ',' }
}

fn unguarded(cell: String) -> String {
    match cell.strip_prefix('\'') {
        Some(rest) if needs_guard(rest) => rest.to_owned(),
        Some(_) | None => cell,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{read, write};

    #[test]
    fn a_spreadsheet_finds_no_formula() {
        let row = ["=1+1", "+1", "-1", "@a", "\t=1", "'=1", "a,=b", "say \"hi\"", "a'b"].map(String::from);
        let text = write([row]);
        assert_eq!(text, "'=1+1,'+1,'-1,'@a,'\t=1,''=1,\"a,=b\",\"say \"\"hi\"\"\",a'b");
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let rows = read("\u{feff}a,b\r\n\n\"x\ny\",\n,,\nlast").unwrap();
        let lines: Vec<_> = rows.iter().map(|(line, row)| (*line, row.join("|"))).collect();
        assert_eq!(lines, [(1, "a|b".into()), (3, "x\ny|".into()), (6, "last".to_owned())]);
        assert_eq!(read("a\n\"b"), Err((2, "has a quoted cell that does not end")));
        assert_eq!(read("\"a\"b"), Err((1, "has text behind a quoted cell")));
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(
            read("a;b\nc,d;\"e;f\""),
            Ok(vec![(1, vec!["a".into(), "b".into()]), (2, vec!["c,d".into(), "e;f".into()])])
        );
    }

    #[test]
    fn what_stands_between_quotes_divides_nothing() {
        for first in [";\n", "a;\"\n;", ";"] {
            let row = [first.to_owned(), "b".into()];
            assert_eq!(read(&write([row.clone()])), Ok(vec![(1, row.to_vec())]), "{first:?}");
            let semicolons = format!("\"{}\";b", first.replace('"', "\"\""));
            assert_eq!(read(&semicolons), Ok(vec![(1, row.to_vec())]), "{first:?}");
        }
        assert_eq!(read("\",\";b"), Ok(vec![(1, vec![",".into(), "b".into()])]));
        assert_eq!(read("a\";b"), Ok(vec![(1, vec!["a\"".into(), "b".into()])]), "a quote within a cell is text");
    }

    proptest! {
        #[test]
        fn a_table_survives_the_round(cells in proptest::collection::vec("[=+@'\",;\r\n\ta-]{0,6}", 3)) {
            let row: [String; 3] = cells.try_into().unwrap();
            prop_assume!(row.iter().any(|cell| !cell.is_empty()));
            let read = read(&write([row.clone()])).unwrap();
            prop_assert_eq!(read, vec![(1, row.to_vec())]);
        }
    }
}
