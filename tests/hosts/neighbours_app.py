"""An application with a client of ours, Sentry and OpenTelemetry, each as its documents have it.

LAB_DSN: where Sentry sends to.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import sentry_sdk
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from sentry_sdk.transport import HttpTransport

import lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

#: Nothing but an end of the process exports spans, or delivers ours.
_NEVER = 3_600_000
_BOOT = 30
_OPERATIONS = 10


class _Exporter(SpanExporter):  # type: ignore[misc]
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            lab.note("spans", pid=os.getpid(), name=span.name)
        return SpanExportResult.SUCCESS


class _Transport(HttpTransport):  # type: ignore[misc]
    def kill(self) -> None:
        """The last that Sentry's exit handler does."""
        lab.note("sentry exits", pid=os.getpid())
        super().kill()


def trace_in_worker(*_: object) -> None:
    """OpenTelemetry's documents: made after the fork, as its processor has a thread."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(_Exporter(), schedule_delay_millis=_NEVER))
    trace.set_tracer_provider(provider)
    lab.note("post forks", pid=os.getpid())


sentry_sdk.init(os.environ["LAB_DSN"], transport=_Transport)
client = lab.client(flush_interval=0, flush_at=10**9)
for _ in range(_BOOT):
    lab.track(client)

try:
    from uwsgidecorators import postfork
except ImportError:  # gunicorn's configuration has the hook
    pass
else:
    postfork(trace_in_worker)


def application(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """The WSGI application: every request is an event of Sentry's, a span, and ten of ours."""
    if environ["PATH_INFO"] == "/work":
        with trace.get_tracer("neighbours").start_as_current_span("work"):
            lab.note("works", pid=os.getpid())
            sentry_sdk.capture_message("work")
            for _ in range(_OPERATIONS):
                lab.track(client)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
