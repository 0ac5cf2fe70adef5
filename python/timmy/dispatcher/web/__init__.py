"""The browser preview of :func:`timmy.dispatcher.infer_task_type`, for a web application to mount.

::

    from timmy.dispatcher.web import preview_app

    app.mount("/preview", preview_app())

and in the page, beside a form::

    <script type="module" src="/preview/preview.js"></script>
    <task-type-preview name="task_type" for-title="title" for-description="description">
    </task-type-preview>

It needs the extra ``[web]`` (Starlette); the dispatcher itself does not.
"""

__all__ = ["preview_app"]

try:
    from ._app import preview_app
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "starlette":
        raise
    missing = "timmy.dispatcher.web needs Starlette: pip install 'timmy-dispatcher[web]'"
    raise ModuleNotFoundError(missing, name=error.name) from error
