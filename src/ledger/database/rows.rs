//! Many rows as one parameter.

use super::Fault;
use crate::ledger::store::LedgerError;

/// The values of a column, one for each row.
pub(in crate::ledger) enum Column {
    Text(Vec<Option<String>>),
    Int(Vec<Option<i64>>),
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<Option<String>> for Cell {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<Option<i64>> for Cell {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}

/// A value on its way into a column.
pub(in crate::ledger) enum Cell {
    Text(Option<String>),
    Int(Option<i64>),
}

/// Rows, column by column.
#[derive(Default)]
pub(in crate::ledger) struct Rows {
    columns: Vec<Column>,
    count: usize,
}

impl Rows {
    /// One more. Every row must have the columns of the first.
    pub(in crate::ledger) fn push<const N: usize>(&mut self, row: [Cell; N]) {
        for (place, cell) in row.into_iter().enumerate() {
            if self.count == 0 {
                self.columns.push(match cell {
                    Cell::Text(_) => Column::Text(Vec::new()),
                    Cell::Int(_) => Column::Int(Vec::new()),
                });
            }
            match (self.columns.get_mut(place), cell) {
                (Some(Column::Text(texts)), Cell::Text(text)) => texts.push(text),
                (Some(Column::Int(numbers)), Cell::Int(number)) => numbers.push(number),
                _ => debug_assert!(false, "rows of different shapes"),
            }
        }
        self.count += 1;
    }

    pub(in crate::ledger) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(in crate::ledger) const fn len(&self) -> usize {
        self.count
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// An array of arrays, row by row.
    pub(super) fn json(&self) -> Result<String, Fault> {
        let mut out = Vec::with_capacity(self.count * 64);
        out.push(b'[');
        for row in 0..self.count {
            out.extend_from_slice(if row == 0 { b"[" } else { b",[" });
            for (place, column) in self.columns.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                match column {
                    Column::Text(texts) => serde_json::to_writer(&mut out, &texts.get(row))?,
                    Column::Int(numbers) => serde_json::to_writer(&mut out, &numbers.get(row))?,
                }
            }
            out.push(b']');
        }
        out.push(b']');
        String::from_utf8(out).map_err(|error| LedgerError::Unreadable(error.to_string()).into())
    }
}

/// Values of one column, such as the ids that are asked for.
impl<T: Into<Cell>> FromIterator<T> for Rows {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut rows = Self::default();
        for value in values {
            rows.push([value.into()]);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn rows_are_an_array_of_arrays() {
        let mut rows = Rows::default();
        assert_eq!(rows.json().unwrap(), "[]");
        rows.push([Cell::from("a \"b\" \u{1}"), 1.into(), None::<String>.into()]);
        rows.push(["ü".into(), None::<i64>.into(), "x".into()]);
        let json = r#"[["a \"b\" \u0001",1,null],["ü",null,"x"]]"#;
        assert_eq!(rows.json().unwrap(), json);
        assert_eq!(
            serde_json::from_str::<Value>(json).unwrap()[1][1],
            Value::Null
        );
    }
}
