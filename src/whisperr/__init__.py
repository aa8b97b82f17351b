"""Report what happens to your users to Whisperr, from Python backends that fork."""

from ._client import Whisperr, after_fork, before_exit, flush_all
from ._result import FlushResult
from ._stats import ProcessInfo, Stats
from ._verbs import Draft
from ._version import VERSION
from .billing import BillingEvent, BillingProperties
from .channel import Channel
from .errors import WhisperrError

__version__ = VERSION

__all__ = [
    "BillingEvent",
    "BillingProperties",
    "Channel",
    "Draft",
    "FlushResult",
    "ProcessInfo",
    "Stats",
    "Whisperr",
    "WhisperrError",
    "__version__",
    "after_fork",
    "before_exit",
    "flush_all",
]
