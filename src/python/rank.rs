//! Ranked inference for Python.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::infer::{invalid, text};
use crate::infer::{Field, Unit};
use crate::rank::{self, Example, TrainOptions, WordVectors};
use crate::task::TaskType;

type SpanParts = (&'static str, usize, usize);
/// Text, weight and spans in code points.
type EvidenceParts = (String, i32, Vec<SpanParts>);
/// Title, description, task type, weight, set.
type ExampleParts = (Text, Text, String, f32, Text);

/// Tasks, right types and agents by the model and by the rules, counts by type, confusions,
/// calibration, calibration error.
type EvaluationParts = (
    usize,
    (usize, usize),
    (usize, usize),
    Vec<(usize, usize, usize)>,
    Vec<(usize, usize, usize)>,
    Vec<(usize, usize, u64)>,
    u32,
);

/// The type, the likeliest, its probability, whether it is below the confidence, why somebody is
/// asked, what the log says, words.
type DecisionParts = (usize, usize, u32, bool, Option<String>, String, Vec<String>);

/// A string, with U+FFFD for lone surrogates as where it is ranked.
struct Text(String);

impl<'py> FromPyObject<'_, 'py> for Text {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let string: Bound<'py, PyString> = object.extract()?;
        Ok(Self(text(&string).into_owned()))
    }
}

/// A model.
#[pyclass(frozen)]
struct RankedClassifier(rank::RankedClassifier);

fn examples(parts: Vec<ExampleParts>) -> PyResult<Vec<Example>> {
    let example = |(title, description, task_type, weight, set): ExampleParts| {
        Ok(Example {
            title: title.0,
            description: description.0,
            task_type: task_type.parse().map_err(invalid)?,
            weight,
            set: set.0,
        })
    };
    parts.into_iter().map(example).collect()
}

#[pymethods]
impl RankedClassifier {
    #[staticmethod]
    fn built_in() -> Self {
        Self(rank::RankedClassifier::built_in().clone())
    }

    #[staticmethod]
    fn from_bytes(bytes: &[u8]) -> PyResult<Self> {
        rank::RankedClassifier::from_bytes(bytes)
            .map(Self)
            .map_err(invalid)
    }

    #[staticmethod]
    fn train(
        py: Python<'_>,
        tasks: Vec<ExampleParts>,
        seed: u64,
        features: usize,
        vectors: &[u8],
    ) -> PyResult<Self> {
        let options = TrainOptions {
            seed,
            features,
            vectors: Some(WordVectors::from_bytes(vectors).map_err(invalid)?),
            ..TrainOptions::default()
        };
        let tasks = examples(tasks)?;
        py.detach(|| rank::train(&tasks, &options))
            .map(Self)
            .map_err(invalid)
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.to_bytes())
    }

    #[getter]
    fn features(&self) -> usize {
        self.0.features()
    }

    /// Each type's index in `routes()` and its probability in 1/10,000, the likeliest first.
    fn types(
        &self,
        title: &Bound<'_, PyString>,
        description: &Bound<'_, PyString>,
    ) -> Vec<(usize, u32)> {
        let found = self.0.probabilities(&text(title), &text(description));
        let index = |(task_type, probability)| (task_type as usize, probability);
        found.into_iter().map(index).collect()
    }

    /// The words for and against the first type.
    fn evidence(
        &self,
        title: &Bound<'_, PyString>,
        description: &Bound<'_, PyString>,
    ) -> Vec<EvidenceParts> {
        let (title, description) = (text(title), text(description));
        let ranking = self.0.rank(&title, &description);
        let ranking = ranking.in_unit(&title, &description, Unit::CodePoints);
        let one = |found: &rank::Evidence| {
            let spans = found.spans.iter();
            let spans = spans.map(|span| (span.field.as_str(), span.start, span.end));
            (found.text.clone(), found.weight, spans.collect())
        };
        ranking.evidence().iter().map(one).collect()
    }

    /// What to dispatch a task as, with what stands in log and metadata.
    fn decide(
        &self,
        title: &Bound<'_, PyString>,
        description: &Bound<'_, PyString>,
        min_confidence: f64,
        below: &str,
    ) -> PyResult<DecisionParts> {
        let below = below.parse().map_err(invalid)?;
        let found = self.0.decide(
            &text(title),
            &text(description),
            rank::parts(min_confidence),
            below,
        );
        Ok((
            found.task_type as usize,
            found.likeliest as usize,
            found.probability,
            found.below.is_some(),
            found.reason(),
            found.to_string(),
            found.words,
        ))
    }

    /// For each type the weight of a word in a title and in a description.
    fn word_weights(&self, word: &Bound<'_, PyString>) -> Vec<(i32, i32)> {
        let word = text(word);
        let of = |field| self.0.word_weights(&word, field).into_iter();
        of(Field::Title)
            .zip(of(Field::Description))
            .map(|((_, title), (_, description))| (title, description))
            .collect()
    }

    fn evaluate(&self, py: Python<'_>, tasks: Vec<ExampleParts>) -> PyResult<EvaluationParts> {
        let tasks = examples(tasks)?;
        let found = py.detach(|| rank::evaluate(&self.0, &tasks));
        let index = |task_type: TaskType| task_type as usize;
        Ok((
            found.tasks,
            (found.ranked.types, found.ranked.agents),
            (found.exact.types, found.exact.agents),
            found.by_type.to_vec(),
            found
                .confusions
                .iter()
                .map(|(right, said, count)| (index(*right), index(*said), *count))
                .collect(),
            found
                .calibration
                .iter()
                .map(|bin| (bin.tasks, bin.right, bin.promised))
                .collect(),
            found.calibration_error(),
        ))
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RankedClassifier>()
}
