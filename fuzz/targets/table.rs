//! A table that somebody imports is refused, or says the same when it is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::base::csv;

const CELLS: usize = 4;

fuzz_target!(|text: &str| {
    let Ok(rows) = csv::read(text) else { return };
    let lines = text.lines().count();
    assert!(rows.iter().all(|(line, _)| (1..=lines).contains(line)), "{text:?}");
    assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "{text:?}");
    // Written with commas: a first row that has semicolons and one cell would be divided by them.
    let rows = rows.into_iter().map(|(_, mut row)| {
        row.resize(CELLS, String::new());
        <[String; CELLS]>::try_from(row).expect("so many cells")
    });
    let rows: Vec<_> = rows.filter(|row| row.iter().any(|cell| !cell.is_empty())).collect();
    let again = csv::read(&csv::write(rows.clone())).expect("what we write can be read");
    let again: Vec<_> = again.into_iter().map(|(_, row)| row).collect();
    assert_eq!(again, rows, "{text:?}");
});
