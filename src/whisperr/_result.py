"""What a flush came to."""

from __future__ import annotations

from ._value import Value


class FlushResult(Value):
    """What a flush came to; true when nothing accepted before it is left or was lost.

    Attributes:
        delivered: operations delivered since the flush before.
        dropped: operations dropped since the flush before.
        queued: operations accepted before the call that are still undelivered.
        timed_out: whether the time ran out, or the call could not wait (in a callback).
    """

    delivered: int = 0
    dropped: int = 0
    queued: int = 0
    timed_out: bool = False

    def __bool__(self) -> bool:
        return not self.dropped and not self.queued

    def __add__(self, other: FlushResult) -> FlushResult:
        return FlushResult(
            self.delivered + other.delivered,
            self.dropped + other.dropped,
            self.queued + other.queued,
            self.timed_out or other.timed_out,
        )
