"""What a dispatcher raises. Every text names what is wrong and never holds the token."""


class DispatcherError(RuntimeError):
    """Something was not done; also raised itself, by a dispatcher that is not open."""


class Refused(DispatcherError, ValueError):  # noqa: N818
    """A task that is not taken, or a setting that cannot work; nothing was kept or sent."""


class NotNow(DispatcherError):  # noqa: N818
    """It is not possible where the dispatch stands: to cancel what has ended, say."""


class LedgerError(DispatcherError):
    """The ledger did not do it: its database failed, or the file is somebody else's, or newer.

    Whether a submission was kept is not known; the same one again is safe.
    """


class Forked(LedgerError):  # noqa: N818
    """The dispatcher was opened before a fork and is used in the child: open it there."""


class OtherTask(LedgerError, ValueError):  # noqa: N818
    """The idempotency key belongs to another task."""


class Unknown(LedgerError, LookupError):  # noqa: N818
    """The ledger has no such dispatch or effect."""
