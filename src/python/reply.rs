//! Answers as the flow reads them: of the native transport, or of an object like httpx's response.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyMapping, PyString, PyType};

use super::values::{PyValue, failure, first, string_of, text_of};
use crate::dispatch::host::{Cause, Failure, IssueState, LabelPage, Read, Reply, Value};
use crate::gitea::answer;
use crate::http::Response;

/// An answer: of the native transport, or an object like httpx's response.
pub(super) enum PyReply {
    Native(Response),
    Object {
        object: PyValue,
        /// Read once, as it came: what it is of a mock may change.
        status: PyValue,
    },
}

fn attribute<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> Option<Bound<'py, PyAny>> {
    object.getattr(name).ok()
}

fn unreadable(
    py: Python<'_>,
    reply: &Response,
    error: &serde_json::Error,
) -> Failure<PyValue, PyErr> {
    let text = answer::unreadable(reply, error);
    Failure::Failed(Cause {
        shown: PyValue::string(py, &text),
        text,
        transient: None,
    })
}

impl Reply for PyReply {
    type Value = PyValue;
    type Escape = PyErr;

    fn status(&self) -> Option<u16> {
        match self {
            Self::Native(response) => Some(response.status),
            Self::Object { status, .. } => {
                Python::attach(|py| status.0.bind(py).cast::<PyInt>().ok()?.extract().ok())
            }
        }
    }

    fn shown_status(&self) -> PyValue {
        Python::attach(|py| match self {
            Self::Native(response) => PyValue(PyInt::new(py, response.status).into_any().unbind()),
            Self::Object { status, .. } => status.clone(),
        })
    }

    fn header(&self, name: &str) -> Option<String> {
        match self {
            Self::Native(response) => response.header(name).map(str::to_owned),
            Self::Object { object, .. } => Python::attach(|py| header(object.0.bind(py), name)),
        }
    }

    fn text(&self, limit: usize) -> Read<PyValue, Self> {
        Python::attach(|py| match self {
            Self::Native(response) => Ok(PyValue::string(
                py,
                &response.text().chars().take(limit).collect::<String>(),
            )),
            Self::Object { object, .. } => {
                let text = object.0.bind(py).getattr(intern!(py, "text"));
                text.and_then(|text| first(&text, limit)).map_err(failure)
            }
        })
    }

    fn labels_named(&self, name: &PyValue) -> Read<LabelPage<PyValue>, Self> {
        Python::attach(|py| match self {
            Self::Native(response) => {
                let page = answer::labels_named(&response.body, &name.text());
                page.map(|page| page_of(py, page))
                    .map_err(|error| unreadable(py, response, &error))
            }
            Self::Object { object, .. } => {
                let (response, name) = (object.0.bind(py), name.0.bind(py));
                let page = body_of_httpx(response)
                    .and_then(|body| answer::labels_named(body.as_bytes(), &text_of(name)).ok());
                match page {
                    Some(page) => Ok(page_of(py, page)),
                    None => labels_named(response, name).map_err(failure),
                }
            }
        })
    }

    fn id(&self) -> Read<Option<PyValue>, Self> {
        Python::attach(|py| match self {
            Self::Native(response) => {
                let id = answer::id(&response.body);
                let id = id.map_err(|error| unreadable(py, response, &error))?;
                Ok(id.map(|id| PyValue::number(py, id)))
            }
            Self::Object { object, .. } => {
                let response = object.0.bind(py);
                let id = body_of_httpx(response).and_then(|body| answer::id(body.as_bytes()).ok());
                if let Some(id) = id {
                    return Ok(id.map(|id| PyValue::number(py, id)));
                }
                let id = response
                    .call_method0(intern!(py, "json"))
                    .and_then(|json| json.call_method1(intern!(py, "get"), (intern!(py, "id"),)));
                let id = id.map_err(failure)?;
                Ok((!id.is_none()).then(|| PyValue::from(id)))
            }
        })
    }

    fn lacks_label(&self, id: &PyValue) -> bool {
        Python::attach(|py| match self {
            Self::Native(response) => id
                .integer()
                .is_some_and(|id| answer::lacks_label(&response.body, id)),
            Self::Object { object, .. } => lacks_label(object.0.bind(py), id.0.bind(py)),
        })
    }

    fn issue_state(&self) -> Read<IssueState, Self> {
        Python::attach(|py| match self {
            Self::Native(response) => answer::issue_state(&response.body)
                .map_err(|error| unreadable(py, response, &error)),
            Self::Object { object, .. } => issue_state(object.0.bind(py)).map_err(failure),
        })
    }
}

impl PyReply {
    /// `json() if content else {}`, as Python's own parser reads it.
    pub(super) fn document(&self, py: Python<'_>) -> PyResult<PyValue> {
        static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        match self {
            Self::Native(response) if response.body.is_empty() => {
                Ok(PyValue(PyDict::new(py).into_any().unbind()))
            }
            Self::Native(response) => {
                let loads = LOADS.import(py, "json", "loads")?;
                Ok(loads.call1((PyBytes::new(py, &response.body),))?.into())
            }
            Self::Object { object, .. } => {
                let object = object.0.bind(py);
                if object.getattr(intern!(py, "content"))?.is_truthy()? {
                    return Ok(object.call_method0(intern!(py, "json"))?.into());
                }
                Ok(PyValue(PyDict::new(py).into_any().unbind()))
            }
        }
    }
}

/// `Retry-After` of `retry-after`.
fn as_on_the_wire(name: &str) -> String {
    let mut starts = true;
    let spelt = name.chars().map(|c| {
        let c = if starts { c.to_ascii_uppercase() } else { c };
        starts = c == '-';
        c
    });
    spelt.collect()
}

fn labels_named(
    response: &Bound<'_, PyAny>,
    name: &Bound<'_, PyAny>,
) -> PyResult<LabelPage<PyValue>> {
    let py = response.py();
    let mut page = LabelPage {
        ids: Vec::new(),
        entries: 0,
        found_last: false,
    };
    for label in response.call_method0(intern!(py, "json"))?.try_iter()? {
        let label = label?;
        page.entries += 1;
        let id = label
            .call_method1(intern!(py, "get"), (intern!(py, "name"),))
            .and_then(|own| own.eq(name))
            .and_then(|is_it| {
                if is_it {
                    label.get_item(intern!(py, "id")).map(Some)
                } else {
                    Ok(None)
                }
            });
        match id {
            Ok(Some(id)) if id.is_none() => page.found_last = false,
            Ok(Some(id)) => {
                page.found_last = true;
                page.ids.push(id.into());
            }
            Ok(None) => page.found_last = false,
            // Behind a label that was found nothing needs to be well formed.
            Err(_) if !page.ids.is_empty() => page.found_last = false,
            Err(error) => return Err(error),
        }
    }
    Ok(page)
}

/// The class of httpx's answers and its `json`, once such an answer came.
static OF_HTTPX: PyOnceLock<(Py<PyType>, Py<PyAny>)> = PyOnceLock::new();

fn is_of_httpx(response: &Bound<'_, PyAny>) -> bool {
    let (py, class) = (response.py(), response.get_type());
    if let Some((known, _)) = OF_HTTPX.get(py)
        && class.is(known)
    {
        return true;
    }
    let module = class.getattr(intern!(py, "__module__"));
    let httpx = intern!(py, "httpx");
    if !module.is_ok_and(|module| module.eq(httpx).unwrap_or(false)) {
        return false;
    }
    let http = py.import(intern!(py, "timmy.dispatcher._http"));
    let json = http.and_then(|http| http.call_method1(intern!(py, "own_json"), (&class,)));
    match json {
        Ok(json) if !json.is_none() => {
            let _ = OF_HTTPX.set(py, (class.unbind(), json.unbind()));
            true
        }
        _ => false,
    }
}

/// The body of an answer of httpx's own, which its own `json` would read, with more effort.
fn body_of_httpx<'py>(response: &Bound<'py, PyAny>) -> Option<Bound<'py, PyBytes>> {
    let py = response.py();
    if !is_of_httpx(response) {
        return None;
    }
    let (_, own) = OF_HTTPX.get(py)?;
    let json = attribute(response, intern!(py, "json"))?;
    if !attribute(&json, intern!(py, "__func__"))?.is(own) {
        return None;
    }
    attribute(response, intern!(py, "content"))?
        .cast_into()
        .ok()
}

fn page_of(py: Python<'_>, page: LabelPage<i64>) -> LabelPage<PyValue> {
    let ids = page.ids.into_iter().map(|id| PyValue::number(py, id));
    LabelPage {
        ids: ids.collect(),
        entries: page.entries,
        found_last: page.found_last,
    }
}

fn header(response: &Bound<'_, PyAny>, name: &str) -> Option<String> {
    let py = response.py();
    let headers = attribute(response, intern!(py, "headers"))?;
    if is_of_httpx(response)
        && let Some(fields) = attribute(&headers, intern!(py, "raw"))
        && let Ok(fields) = fields.cast_into::<PyList>()
    {
        // Its `get` asks each field for its encoding first.
        let value = fields.iter().find_map(|field| {
            let (key, value) = field
                .extract::<(Bound<'_, PyBytes>, Bound<'_, PyBytes>)>()
                .ok()?;
            key.as_bytes()
                .eq_ignore_ascii_case(name.as_bytes())
                .then_some(value)
        });
        return value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let headers = headers.cast::<PyMapping>().ok()?;
    let get = |name: &str| headers.call_method1(intern!(py, "get"), (name,)).ok();
    let mut value = get(name)?;
    if value.is_none() {
        // A mock's headers may be a plain dict, spelt as on the wire.
        value = get(&as_on_the_wire(name))?;
    }
    value.cast::<PyString>().ok().map(string_of)
}

fn lacks_label(response: &Bound<'_, PyAny>, id: &Bound<'_, PyAny>) -> bool {
    let py = response.py();
    // The body first, and no json() that counts down: a mock's next answer is another step's.
    // The `text` of httpx would look for a charset.
    let name = if is_of_httpx(response) {
        intern!(py, "content")
    } else {
        intern!(py, "text")
    };
    let read = |body: &[u8]| {
        let id = id.extract::<i64>().ok().filter(|_| !body.is_empty())?;
        Some(answer::lacks_label(body, id))
    };
    let lacks = match attribute(response, name) {
        Some(body) => match (body.cast::<PyBytes>(), body.cast::<PyString>()) {
            (Ok(bytes), _) => read(bytes.as_bytes()),
            (_, Ok(text)) => read(string_of(text).as_bytes()),
            _ => None,
        },
        None => None,
    };
    if let Some(lacks) = lacks {
        return lacks;
    }
    let Some(json) = attribute(response, intern!(py, "json")) else {
        return false;
    };
    if attribute(&json, intern!(py, "side_effect")).is_some_and(|effect| !effect.is_none()) {
        return false;
    }
    let Ok(json) = json.call0() else {
        return false;
    };
    let Ok(labels) = json.cast::<PyList>() else {
        if json.hasattr(intern!(py, "cr_code")).unwrap_or(false)
            && json.hasattr(intern!(py, "cr_await")).unwrap_or(false)
        {
            // An AsyncMock's coroutine; closed, or Python warns that nobody awaited it.
            let _ = json.call_method0(intern!(py, "close"));
        }
        return false;
    };
    !labels.iter().any(|label| {
        label
            .get_item(intern!(py, "id"))
            .and_then(|own| own.eq(id))
            .unwrap_or(false)
    })
}

fn issue_state(response: &Bound<'_, PyAny>) -> PyResult<IssueState> {
    let py = response.py();
    let json = response.call_method0(intern!(py, "json"))?;
    let state = json.call_method1(intern!(py, "get"), (intern!(py, "state"),))?;
    if let Ok(issue) = json.cast::<PyDict>() {
        let zero =
            |number: Bound<'_, PyAny>| number.extract::<i64>().is_ok_and(|number| number == 0);
        if issue.get_item(intern!(py, "number"))?.is_some_and(zero) {
            return Ok(IssueState::NoAnswer);
        }
    }
    Ok(if state.eq("closed")? {
        IssueState::Closed
    } else {
        IssueState::Open
    })
}
