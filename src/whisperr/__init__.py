"""Report what happens to your users to Whisperr, from Python backends that fork."""

from ._client import Whisperr, after_fork, before_exit, flush_all
from ._result import FlushResult
from ._stats import ProcessInfo, Stats
from ._version import VERSION
from .billing import BillingEvent
from .channel import Channel
from .errors import WhisperrError

__version__ = VERSION

__all__ = [
    "BillingEvent",
    "Channel",
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
