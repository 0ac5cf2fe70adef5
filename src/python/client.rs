//! HTTP as the Python host sends it: through httpx where it was replaced or chosen, else natively.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyUnicodeEncodeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};

use super::drive::Slot;
use super::host::PyHost;
use super::reply::PyReply;
use super::seams::{Name, Seams};
use super::values::{PyValue, failure, text_of};
use crate::dispatch::host::{Body, Failure, Fallible, GiteaClient, Host, Value};
use crate::http::{
    Method, Native, Repeat, Request, Response, SendError, Transport, split_userinfo,
};

/// An object with httpx's `get` and `post`, and the context manager that ends its life.
struct Opened {
    manager: Option<Py<PyAny>>,
    client: PyValue,
}

/// The client of one exchange with Gitea or an agent.
pub(super) struct PyClient {
    seams: Py<Seams>,
    slot: Arc<Slot>,
    timeout: Duration,
    authorization: Option<String>,
    headers: Option<Py<PyAny>>,
    opened: Mutex<Option<Opened>>,
}

impl PyClient {
    pub(super) fn new(
        host: &PyHost,
        timeout: Duration,
        authorization: Option<String>,
        headers: Option<Py<PyAny>>,
    ) -> Self {
        Self {
            seams: Python::attach(|py| host.seams.clone_ref(py)),
            slot: host.slot.clone(),
            timeout,
            authorization,
            headers,
            opened: Mutex::new(None),
        }
    }

    /// Drives a client that the caller gave, and never ends its life.
    pub(super) fn given(host: &PyHost, client: PyValue, headers: Py<PyAny>) -> Self {
        let made = Self::new(host, Duration::from_secs(15), None, Some(headers));
        *made.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(Opened {
            manager: None,
            client,
        });
        made
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    fn client(&self) -> Option<PyValue> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().map(|opened| opened.client.clone())
    }

    /// Opens the client that Python is to be driven with, where it is to be.
    pub(super) async fn open_if_chosen(&self) -> PyResult<Option<PyValue>> {
        if let Some(client) = self.client() {
            return Ok(Some(client));
        }
        let factory = Python::attach(|py| -> PyResult<Option<PyValue>> {
            let choice = self
                .seams
                .get()
                .get(py, name!("_http"))?
                .call_method0(intern!(py, "choose"))?;
            Ok((!choice.is_none()).then(|| choice.into()))
        })?;
        match factory {
            Some(factory) => self.open(factory).await.map(Some),
            None => Ok(None),
        }
    }

    /// Opens a client for a replaced function, which gets one in any case.
    pub(super) async fn open_for_helper(&self) -> PyResult<PyValue> {
        if let Some(client) = self.open_if_chosen().await? {
            return Ok(client);
        }
        let factory = Python::attach(|py| {
            self.seams
                .get()
                .get(py, name!("_http"))?
                .call_method0(intern!(py, "for_helpers"))
                .map(PyValue::from)
        })?;
        self.open(factory).await
    }

    async fn open(&self, factory: PyValue) -> PyResult<PyValue> {
        let (manager, entering) = Python::attach(|py| -> PyResult<_> {
            let keywords = PyDict::new(py);
            keywords.set_item(intern!(py, "timeout"), self.timeout.as_secs())?;
            let manager = factory.0.bind(py).call((), Some(&keywords))?;
            let entering = call_special(&manager, intern!(py, "__aenter__"), [])?;
            Ok((manager.unbind(), entering.unbind()))
        })?;
        let client = self.slot.ask(entering).await?;
        let shared = client.clone();
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(Opened {
            manager: Some(manager),
            client,
        });
        Ok(shared)
    }

    /// Ends the client's life as `async with` does; true where the client keeps what was raised.
    pub(super) async fn exit(self, raised: Option<&PyErr>) -> PyResult<bool> {
        let opened = self
            .opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(manager) = opened.and_then(|opened| opened.manager) else {
            return Ok(false);
        };
        let leaving = Python::attach(|py| -> PyResult<Py<PyAny>> {
            let manager = manager.bind(py);
            let none = py.None().into_bound(py);
            let arguments = match raised {
                None => [none.clone(), none.clone(), none],
                Some(error) => [
                    error.get_type(py).into_any(),
                    error.value(py).clone().into_any(),
                    error.traceback(py).map_or(none, Bound::into_any),
                ],
            };
            Ok(call_special(manager, intern!(py, "__aexit__"), arguments)?.unbind())
        })?;
        let kept = self.slot.ask(leaving).await?;
        Ok(raised.is_some() && Python::attach(|py| kept.is_true(py))?)
    }

    async fn native(
        &self,
        host: &PyHost,
        method: Method,
        url: &str,
        body: Option<(Vec<u8>, Repeat)>,
    ) -> Fallible<PyReply, PyHost> {
        let (body, repeat) =
            body.map_or((None, Repeat::Safe), |(body, repeat)| (Some(body), repeat));
        let request = Request {
            method,
            url: url.to_owned(),
            authorization: self.authorization.clone(),
            headers: Vec::new(),
            body,
            timeout: self.timeout,
            repeat,
        };
        send(&self.slot, request)
            .await?
            .map(PyReply::Native)
            .map_err(|error| Failure::Failed(host.send_error(&error)))
    }

    async fn driven(
        &self,
        client: &PyValue,
        method: Name,
        url: &PyValue,
        json: Option<PyValue>,
    ) -> Fallible<PyReply, PyHost> {
        let mut answer = self.ask(client, method, url, json.as_ref()).await;
        if let (Err(error), Some(json)) = (&answer, &json)
            && let Some(json) = Python::attach(|py| encodable(py, error, json))
        {
            answer = self.ask(client, method, url, Some(&json)).await;
        }
        answer.map_err(failure)
    }

    async fn ask(
        &self,
        client: &PyValue,
        method: Name,
        url: &PyValue,
        json: Option<&PyValue>,
    ) -> PyResult<PyReply> {
        let asked = Python::attach(|py| -> PyResult<Py<PyAny>> {
            let keywords = PyDict::new(py);
            let mut headers = self
                .headers
                .as_ref()
                .map(|headers| headers.bind(py).clone());
            let mut url = url.0.bind(py).clone();
            if has_userinfo(&url) {
                let none = py.None().into_bound(py);
                let given = (client.0.bind(py), &url, headers.as_ref().unwrap_or(&none));
                let http = self.seams.get().get(py, name!("_http"))?;
                let (shown, sent) = http
                    .call_method1(intern!(py, "addressed"), given)?
                    .extract()?;
                (url, headers) = (shown, sent);
            }
            if let Some(headers) = headers {
                keywords.set_item(intern!(py, "headers"), headers)?;
            }
            if let Some(json) = json {
                keywords.set_item(intern!(py, "json"), &json.0)?;
            }
            Ok(client
                .0
                .bind(py)
                .call_method(method(py), (url,), Some(&keywords))?
                .unbind())
        })?;
        let object = self.slot.ask(asked).await?;
        Python::attach(|py| {
            // What has no status is no answer.
            let status = object
                .0
                .bind(py)
                .getattr(intern!(py, "status_code"))?
                .into();
            Ok(PyReply::Object { object, status })
        })
    }

    /// Posts a JSON document to an agent.
    pub(super) async fn post_document(
        &self,
        host: &PyHost,
        url: &PyValue,
        payload: &PyValue,
    ) -> Fallible<PyReply, PyHost> {
        match self.open_if_chosen().await.map_err(failure)? {
            Some(client) => {
                self.driven(&client, name!("post"), url, Some(payload.clone()))
                    .await
            }
            None => {
                let body = Python::attach(|py| dumps(py, payload)).map_err(failure)?;
                self.native(
                    host,
                    Method::Post,
                    &url.text(),
                    Some((body, Repeat::FreshOnly)),
                )
                .await
            }
        }
    }

    /// Asks for an address with the headers of this client.
    pub(super) async fn fetch(&self, host: &PyHost, url: &str) -> Fallible<PyReply, PyHost> {
        match self.open_if_chosen().await.map_err(failure)? {
            Some(client) => {
                let url = Python::attach(|py| PyValue::string(py, url));
                self.driven(&client, name!("get"), &url, None).await
            }
            None => self.native(host, Method::Get, url, None).await,
        }
    }
}

/// Calls a method as `async with` finds it: on the type, bound where it binds (a mock does not).
fn call_special<'py, const N: usize>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    arguments: [Bound<'py, PyAny>; N],
) -> PyResult<Bound<'py, PyAny>> {
    static FUNCTION: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = object.py();
    let class = object.get_type();
    let mut method = class.getattr(name)?;
    if method
        .get_type()
        .is(FUNCTION.import(py, "types", "FunctionType")?)
    {
        let bound = std::iter::once(object.clone()).chain(arguments);
        return method.call1(PyTuple::new(py, bound.collect::<Vec<_>>())?);
    }
    if method.get_type().hasattr(intern!(py, "__get__"))? {
        method = method.call_method1(intern!(py, "__get__"), (object, class))?;
    }
    method.call1(PyTuple::new(py, arguments)?)
}

/// Whether a URL has a user in it, perhaps with a password.
fn has_userinfo(url: &Bound<'_, PyAny>) -> bool {
    let text = url.cast::<PyString>();
    let plain = text.is_ok_and(|text| text.to_str().is_ok_and(|text| !text.contains('@')));
    !plain && split_userinfo(&text_of(url)).is_some()
}

/// The exception that a step ended with.
pub(super) fn raised<T>(result: &Result<T, Failure<PyValue, PyErr>>) -> Option<PyErr> {
    Python::attach(|py| match result {
        Ok(_) => None,
        Err(Failure::Escaped(error)) => Some(error.clone_ref(py)),
        Err(Failure::Failed(cause)) => Some(PyErr::from_value(cause.shown.0.bind(py).clone())),
    })
}

/// A request on the native transport, awaited by asyncio.
pub(super) async fn send(slot: &Slot, request: Request) -> PyResult<Result<Response, SendError>> {
    // Boxed, for what is spawned is moved from place to place.
    let sending = |transport: Native| Box::pin(async move { transport.send(request).await });
    slot.wait(sending).await
}

/// The document as it can be encoded, where its lone surrogates are why it could not.
fn encodable(py: Python<'_>, error: &PyErr, document: &PyValue) -> Option<PyValue> {
    if !error.is_instance_of::<PyUnicodeEncodeError>(py) {
        return None;
    }
    let json = dumps(py, document).ok()?;
    let clean = py
        .import("json")
        .ok()?
        .call_method1("loads", (json,))
        .ok()?;
    let same = clean.eq(&document.0).ok()?;
    (!same).then(|| clean.into())
}

/// JSON as httpx writes it; lone surrogates become U+FFFD.
fn dumps(py: Python<'_>, document: &PyValue) -> PyResult<Vec<u8>> {
    let keywords = PyDict::new(py);
    keywords.set_item(intern!(py, "ensure_ascii"), false)?;
    keywords.set_item(intern!(py, "allow_nan"), false)?;
    keywords.set_item(intern!(py, "separators"), (",", ":"))?;
    let text =
        py.import("json")?
            .call_method(intern!(py, "dumps"), (&document.0,), Some(&keywords))?;
    Ok(PyValue::from(text).text().into_bytes())
}

impl GiteaClient<PyHost> for (&PyClient, &PyHost) {
    async fn get(&self, url: &str) -> Fallible<PyReply, PyHost> {
        self.0.fetch(self.1, url).await
    }

    async fn post(&self, url: &str, body: Body<'_, PyValue>) -> Fallible<PyReply, PyHost> {
        let (client, host) = *self;
        let (document, repeat) = Python::attach(|py| -> PyResult<_> {
            let document = PyDict::new(py);
            let repeat = match &body {
                Body::NewLabel { name, color } => {
                    document.set_item(intern!(py, "name"), &name.0)?;
                    document.set_item(intern!(py, "color"), &color.0)?;
                    Repeat::Unsafe
                }
                Body::AddLabel { id } => {
                    document.set_item(intern!(py, "labels"), PyList::new(py, [&id.0])?)?;
                    Repeat::Safe
                }
                Body::Comment { text } => {
                    document.set_item(intern!(py, "body"), &text.0)?;
                    Repeat::Unsafe
                }
            };
            Ok((PyValue::from(document.into_any()), repeat))
        })?;
        match client.open_if_chosen().await.map_err(failure)? {
            Some(opened) => {
                let url = Python::attach(|py| PyValue::string(py, url));
                client
                    .driven(&opened, name!("post"), &url, Some(document))
                    .await
            }
            None => {
                let json = Python::attach(|py| dumps(py, &document)).map_err(failure)?;
                client
                    .native(host, Method::Post, url, Some((json, repeat)))
                    .await
            }
        }
    }
}
