//! Classifying with a signal table: the built-in one, or a team's own.

use super::signals::SIGNALS;
use super::text::{Counter, Field, Lowered, Span, Unit};
use crate::route::select_agent;
use crate::task::{AgentName, TaskType};

/// A keyword that stands in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The keyword, lowered.
    pub keyword: String,
    /// The type that it speaks for.
    pub task_type: TaskType,
    /// Where it stands, in bytes: one span, or two where it runs from the end of the title into
    /// the description. The blank between the two belongs to neither, so a keyword that is
    /// nothing else has none there.
    pub spans: Vec<Span>,
}

/// A task type and what spoke for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The type of the text.
    pub task_type: TaskType,
    /// The agent that gets such tasks by the built-in routes.
    pub agent: AgentName,
    /// Every occurrence of every keyword, by position, then by priority.
    pub matches: Vec<Match>,
}

impl Explanation {
    /// The same with its spans, which are in bytes, counted otherwise; the texts are those that it
    /// explains.
    ///
    /// ```
    /// use timmy_dispatcher::infer::{Unit, explain_task_type};
    /// let explanation = explain_task_type("🦀 plan", "").in_unit("🦀 plan", "", Unit::Utf16);
    /// assert_eq!(explanation.matches[0].spans[0].start, 3);
    /// ```
    #[must_use]
    pub fn in_unit(mut self, title: &str, description: &str, unit: Unit) -> Self {
        let mut title = Counter::new(title, unit);
        let mut description = Counter::new(description, unit);
        for span in self.matches.iter_mut().flat_map(|found| &mut found.spans) {
            *span = match span.field {
                Field::Title => title.span(*span),
                Field::Description => description.span(*span),
            };
        }
        self
    }

    /// The matches that decided: those of the type itself.
    pub fn deciding(&self) -> impl Iterator<Item = &Match> {
        self.matches
            .iter()
            .filter(|found| found.task_type == self.task_type)
    }
}

/// What is wrong with a signal table, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A keyword that would match everywhere.
    #[error("a keyword of {0} is empty: remove it")]
    EmptyKeyword(TaskType),
    /// A problem in a TOML text. Lines and columns count from 1; columns count characters.
    #[error("line {line}, column {column}: {problem}")]
    Toml {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// A signal table: keywords of task types in order of priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classifier {
    signals: Vec<(TaskType, Vec<String>)>,
    default: TaskType,
}

impl Classifier {
    /// A table from values. An earlier entry wins; `default` is the answer without any keyword.
    ///
    /// # Errors
    /// [`TableError::EmptyKeyword`].
    ///
    /// ```
    /// use timmy_dispatcher::{infer::Classifier, task::TaskType};
    /// let table = [(TaskType::Research, ["CVE", "advisory"])];
    /// let classifier = Classifier::new(table, TaskType::Triage)?;
    /// assert_eq!(classifier.infer("Read the cve", ""), TaskType::Research);
    /// assert_eq!(classifier.infer("Anything else", ""), TaskType::Triage);
    /// # Ok::<(), timmy_dispatcher::infer::TableError>(())
    /// ```
    pub fn new<K>(
        signals: impl IntoIterator<Item = (TaskType, K)>,
        default: TaskType,
    ) -> Result<Self, TableError>
    where
        K: IntoIterator,
        K::Item: AsRef<str>,
    {
        let mut table = Vec::new();
        for (task_type, keywords) in signals {
            let keywords: Vec<String> = keywords
                .into_iter()
                .map(|k| k.as_ref().to_lowercase())
                .collect();
            if keywords.iter().any(String::is_empty) {
                return Err(TableError::EmptyKeyword(task_type));
            }
            table.push((task_type, keywords));
        }
        Ok(Self {
            signals: table,
            default,
        })
    }

    /// The built-in table.
    #[must_use]
    pub fn built_in() -> Self {
        let owned = |keywords: &[&str]| {
            keywords
                .iter()
                .map(|keyword| (*keyword).to_owned())
                .collect()
        };
        let signals = SIGNALS
            .iter()
            .map(|(task_type, keywords)| (*task_type, owned(keywords)))
            .collect();
        Self {
            signals,
            default: TaskType::RoutineCoding,
        }
    }

    /// The type of a text.
    #[must_use]
    pub fn infer(&self, title: &str, description: &str) -> TaskType {
        let text = format!("{title} {description}").to_lowercase();
        let found = self.signals.iter().find(|(_, keywords)| {
            keywords
                .iter()
                .any(|keyword| text.contains(keyword.as_str()))
        });
        found.map_or(self.default, |(task_type, _)| *task_type)
    }

    /// The type of a text, and every keyword in it.
    #[must_use]
    pub fn explain(&self, title: &str, description: &str) -> Explanation {
        let lowered = Lowered::of(title, description);
        let mut found = Vec::new();
        for (priority, (task_type, keywords)) in self.signals.iter().enumerate() {
            for keyword in keywords {
                for start in occurrences(&lowered.text, keyword) {
                    found.push((start, priority, *task_type, keyword));
                }
            }
        }
        let winner = found
            .iter()
            .map(|(_, priority, task_type, _)| (*priority, *task_type))
            .min();
        let task_type = winner.map_or(self.default, |(_, task_type)| task_type);
        found.sort_by_key(|(start, priority, _, keyword)| (*start, *priority, keyword.len()));
        let matches = found
            .into_iter()
            .map(|(start, _, task_type, keyword)| Match {
                keyword: keyword.clone(),
                task_type,
                spans: lowered.spans(start, start + keyword.len()),
            })
            .collect();
        Explanation {
            task_type,
            agent: select_agent(task_type),
            matches,
        }
    }

    /// A table from TOML:
    ///
    /// ```toml
    /// default = "routine_coding"      # may be omitted
    ///
    /// [[signal]]                      # an earlier one wins
    /// type = "research"
    /// keywords = ["cve", "advisory"]
    /// ```
    ///
    /// # Errors
    /// [`TableError`], which names the line and says what to do.
    #[cfg(feature = "tables")]
    pub fn from_toml(text: &str) -> Result<Self, TableError> {
        super::table::parse(text)
    }
}

/// Where a keyword begins, occurrences that overlap each other included.
fn occurrences<'a>(text: &'a str, keyword: &'a str) -> impl Iterator<Item = usize> + 'a {
    let step = keyword.chars().next().map_or(1, char::len_utf8);
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + text.get(from..)?.find(keyword)?;
        from = at + step;
        Some(at)
    })
}
