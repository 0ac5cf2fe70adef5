//! Signal tables from TOML.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::classifier::{Classifier, TableError};
use crate::task::TaskType;

/// Parses a table; every error names its line.
pub(super) fn parse(text: &str) -> Result<Classifier, TableError> {
    let problem = |at: usize, problem: String| {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        TableError::Toml {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            problem,
        }
    };
    let table = DeTable::parse(text).map_err(|error| {
        problem(
            error.span().map_or(0, |span| span.start),
            error.message().to_owned(),
        )
    })?;
    let task_type = |value: &Spanned<DeValue<'_>>| {
        let at = value.span().start;
        let name = value
            .get_ref()
            .as_str()
            .ok_or_else(|| problem(at, "a task type must be a string".to_owned()))?;
        name.parse::<TaskType>()
            .map_err(|unknown| problem(at, unknown.to_string()))
    };

    let mut default = TaskType::RoutineCoding;
    let mut signals: Vec<(TaskType, Vec<String>)> = Vec::new();
    for (key, value) in table.get_ref() {
        match key.get_ref().as_ref() {
            "default" => default = task_type(value)?,
            "signal" => {
                let entries = value.get_ref().as_array();
                let entries = entries.ok_or_else(|| {
                    problem(
                        value.span().start,
                        "write [[signal]], with two brackets".to_owned(),
                    )
                })?;
                for entry in entries.iter() {
                    let at = entry.span().start;
                    let fields = entry.get_ref().as_table();
                    let fields =
                        fields.ok_or_else(|| problem(at, "a signal must be a table".to_owned()))?;
                    let mut of = None;
                    let mut keywords = None;
                    for (key, value) in fields {
                        match key.get_ref().as_ref() {
                            "type" => of = Some(task_type(value)?),
                            "keywords" => keywords = Some(words(value, &problem)?),
                            other => {
                                let known = "a signal has type and keywords";
                                return Err(problem(
                                    key.span().start,
                                    format!("unknown key {other:?}; {known}"),
                                ));
                            }
                        }
                    }
                    let of = of.ok_or_else(|| problem(at, "this signal has no type".to_owned()))?;
                    if signals.iter().any(|(known, _)| *known == of) {
                        return Err(problem(
                            at,
                            format!("{of} has a signal already: join their keywords"),
                        ));
                    }
                    let keywords = keywords
                        .ok_or_else(|| problem(at, "this signal has no keywords".to_owned()))?;
                    signals.push((of, keywords));
                }
            }
            other => {
                let known = "a table has default and [[signal]]";
                return Err(problem(
                    key.span().start,
                    format!("unknown key {other:?}; {known}"),
                ));
            }
        }
    }
    if signals.is_empty() {
        return Err(problem(0, "there is no [[signal]]".to_owned()));
    }
    Classifier::new(signals, default)
}

fn words(
    value: &Spanned<DeValue<'_>>,
    problem: &impl Fn(usize, String) -> TableError,
) -> Result<Vec<String>, TableError> {
    let array = value.get_ref().as_array();
    let array = array.ok_or_else(|| {
        problem(
            value.span().start,
            "keywords must be an array of strings".to_owned(),
        )
    })?;
    let mut words = Vec::new();
    for word in array.iter() {
        let at = word.span().start;
        match word.get_ref().as_str() {
            Some("") => {
                return Err(problem(
                    at,
                    "an empty keyword matches everything: remove it".to_owned(),
                ));
            }
            Some(word) => words.push(word.to_owned()),
            None => {
                return Err(problem(
                    at,
                    "a keyword must be a string: put it in quotes".to_owned(),
                ));
            }
        }
    }
    Ok(words)
}
