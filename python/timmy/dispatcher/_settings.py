"""The settings: the host's own, or the environment's.

A host with a ``config`` module that has ``settings`` keeps using that. Otherwise
``GITEA_URL``, ``GITEA_TOKEN``, ``GITEA_REPO`` and ``GITEA_ENABLED`` are read when they are used.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any


class EnvironmentSettings:
    """Settings read from the environment at each access."""

    @property
    def gitea_url(self) -> str:
        """``GITEA_URL``; default ``http://localhost:3000``."""
        return os.environ.get("GITEA_URL") or "http://localhost:3000"

    @property
    def gitea_token(self) -> str:
        """``GITEA_TOKEN``: an access token with the scope ``write:issue``; default none."""
        return os.environ.get("GITEA_TOKEN", "")

    @property
    def gitea_repo(self) -> str:
        """``GITEA_REPO``: ``owner/name``; default none."""
        return os.environ.get("GITEA_REPO", "")

    @property
    def gitea_enabled(self) -> bool:
        """``GITEA_ENABLED``; default true."""
        value = os.environ.get("GITEA_ENABLED", "").strip().lower()
        return value not in {"0", "false", "no", "off", "f", "n"}

    def __repr__(self) -> str:
        """Name what is set, never the token."""
        return f"EnvironmentSettings(gitea_repo={self.gitea_repo!r})"


def _find() -> Any:
    try:
        from config import settings  # noqa: PLC0415 — the host's module, which may not exist
    except ImportError:
        return EnvironmentSettings()
    if isinstance(settings, ModuleType) and not hasattr(settings, "gitea_url"):
        return EnvironmentSettings()  # somebody else's package `config` with a module `settings`
    return settings


settings: Any = _find()
