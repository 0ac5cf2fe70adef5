//! Calls of Python's coroutine functions: begun in the thread of their event loop, where they are
//! tasks, and awaited here without the GIL.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::durable::agents::{LocalFailure, LocalTask};
use crate::durable::{Escalation, NamedCallback, NamedGate, Order, Question, Verdict};
use crate::http::Secrets;
use crate::python::mailbox::Results;
use crate::python::values::string_of;

/// A function of Python's, and the loop in which it is called.
pub(super) struct Function {
    /// Takes a text and a function for the answer, and returns the task that it began.
    begin: Py<PyAny>,
    results: Results,
}

/// The way back for the answer. What it is called with first counts; with None, or dropped before,
/// there is none.
#[pyclass(frozen)]
struct Answer(Mutex<Option<oneshot::Sender<String>>>);

#[pymethods]
impl Answer {
    fn __call__(&self, text: Option<&Bound<'_, PyString>>) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(sender), Some(text)) = (sender, text) {
            // Nobody may want it any more.
            let _ = sender.send(string_of(text));
        }
    }
}

/// Where a call is.
#[derive(Default)]
enum Stage {
    #[default]
    Waiting,
    Begun(Py<PyAny>),
    Withdrawn,
}

/// A call on its way. Dropped before its answer is there, its task is cancelled.
struct Call {
    stage: Arc<Mutex<Stage>>,
    results: Results,
    answered: oneshot::Receiver<String>,
    over: bool,
}

impl Call {
    /// Nothing: its task ended without an answer, or its loop is closed.
    async fn answer(&mut self) -> Option<String> {
        let answer = (&mut self.answered).await;
        self.over = true;
        answer.ok()
    }

    /// Cancels the task.
    fn withdraw(&self) {
        let stage = Arc::clone(&self.stage);
        self.results.post(Box::new(move |py| {
            let before = std::mem::replace(
                &mut *stage.lock().unwrap_or_else(PoisonError::into_inner),
                Stage::Withdrawn,
            );
            if let Stage::Begun(task) = before {
                task.call_method0(py, intern!(py, "cancel"))?;
            }
            Ok(())
        }));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.over {
            self.withdraw();
        }
    }
}

impl Function {
    pub(super) fn new(begin: Py<PyAny>, results: Results) -> Arc<Self> {
        Arc::new(Self { begin, results })
    }

    fn call(self: Arc<Self>, text: String) -> Call {
        let (sender, answered) = oneshot::channel();
        let call = Call {
            stage: Arc::default(),
            results: self.results.clone(),
            answered,
            over: false,
        };
        let stage = Arc::clone(&call.stage);
        call.results
            .post(Box::new(move |py| self.begin(py, &text, sender, &stage)));
        call
    }

    fn begin(
        &self,
        py: Python<'_>,
        text: &str,
        sender: oneshot::Sender<String>,
        stage: &Mutex<Stage>,
    ) -> PyResult<()> {
        let lock = || stage.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*lock(), Stage::Withdrawn) {
            return Ok(());
        }
        let answer = Bound::new(py, Answer(Mutex::new(Some(sender))))?;
        let task = self.begin.call1(py, (text, answer))?;
        *lock() = Stage::Begun(task);
        Ok(())
    }
}

fn question(id: uuid::Uuid, fence: u64, order: &Order, max_retries: u32) -> Value {
    json!({ "id": id.to_string(), "fence": fence, "task": order, "max_retries": max_retries })
}

/// What a local agent's function came to.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Worked {
    Result(Value),
    Error { reason: String, transient: bool },
}

type Worker = Pin<Box<dyn Future<Output = Result<Value, LocalFailure>> + Send>>;

/// A local agent.
pub(super) fn handler(
    function: Arc<Function>,
    secrets: Arc<Secrets>,
) -> impl Fn(LocalTask) -> Worker + Send + Sync + 'static {
    move |given| {
        let (function, secrets) = (Arc::clone(&function), Arc::clone(&secrets));
        let mut cancelled = given.cancelled.clone();
        let text =
            question(given.dispatch, given.fence, &given.order, given.max_retries).to_string();
        Box::pin(async move {
            let mut call = function.call(text);
            let answer = tokio::select! {
                answer = call.answer() => answer,
                () = cancelled.cancelled() => {
                    call.withdraw();
                    call.answer().await;
                    return Err("called off".into());
                }
            };
            let Some(answer) = answer else {
                return Err(LocalFailure {
                    lost: true,
                    ..LocalFailure::from("its event loop ended")
                });
            };
            match serde_json::from_str(&answer) {
                Ok(Worked::Result(result)) => Ok(result),
                Ok(Worked::Error { reason, transient }) => Err(LocalFailure {
                    reason: secrets.redact(&reason),
                    transient,
                    lost: false,
                }),
                Err(why) => Err(format!("its result cannot be kept: {why}").into()),
            }
        })
    }
}

/// What a gate's function came to.
#[derive(Deserialize)]
struct Judged {
    verdict: String,
    reason: String,
    evidence: Value,
}

/// A gate.
pub(super) fn gate(function: Arc<Function>, secrets: Arc<Secrets>) -> NamedGate {
    Arc::new(move |asked: Question| {
        let (function, secrets) = (Arc::clone(&function), Arc::clone(&secrets));
        Box::pin(async move {
            let mut question = question(asked.id, asked.fence, &asked.order, asked.max_retries);
            if let Some(question) = question.as_object_mut() {
                question.insert("agent".to_owned(), json!(asked.agent));
            }
            let Some(answer) = function.call(question.to_string()).answer().await else {
                let why = "its function did not come to an end".to_owned();
                return (Verdict::Pending(why), Value::Null);
            };
            let judged: Judged = match serde_json::from_str(&answer) {
                Ok(judged) => judged,
                Err(why) => {
                    let why = format!("its verdict cannot be kept: {why}");
                    return (Verdict::Pending(why), Value::Null);
                }
            };
            let reason = secrets.redact(&judged.reason);
            let verdict = match judged.verdict.as_str() {
                "pass" => Verdict::Passed,
                "fail" => Verdict::Failed(reason),
                _ => Verdict::Pending(reason),
            };
            (verdict, judged.evidence)
        })
    })
}

/// A function that tells an owner. It answers with an empty text, or with why it was not possible.
pub(super) fn callback(function: Arc<Function>) -> NamedCallback {
    Arc::new(move |told: Escalation| {
        let function = Arc::clone(&function);
        Box::pin(async move {
            let mut notice = question(told.id, told.fence, &told.order, told.max_retries);
            if let Some(notice) = notice.as_object_mut() {
                notice.insert("reason".to_owned(), json!(told.reason));
                notice.insert("attempts".to_owned(), json!(told.attempts));
            }
            match function.call(notice.to_string()).answer().await.as_deref() {
                Some("") => Ok(()),
                Some(why) => Err(why.to_owned()),
                None => Err("its event loop ended".to_owned()),
            }
        })
    })
}
