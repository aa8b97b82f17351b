"""Every SDK behind one face; run in an environment that holds nothing but that SDK.

Each is given room for all that is tracked, so that none drops: what its own options allow.
"""

from __future__ import annotations

import json
import os
import time
from http.client import HTTPConnection
from typing import Any, Protocol
from urllib.parse import urlsplit

#: More than any run tracks.
ROOM = 1_000_000
#: Seconds that no run lasts.
LONG = 3600.0
KEY = "wrk_benchmark"
EVENT = "payment_failed"


class Client(Protocol):
    """What is measured."""

    def track(self, user: str, properties: dict[str, Any]) -> object:
        """Report an event, in the way that the SDK documents."""

    def flush(self) -> object:
        """Deliver all of it."""


class Whisperr:
    """Ours and the incumbent, which share a constructor."""

    def __init__(self, url: str, *, held: bool, **options: Any) -> None:
        import whisperr

        if held:
            options.update(flush_at=ROOM, flush_interval=LONG)
        if hasattr(whisperr, "flush_all"):  # ours also has a ceiling in bytes
            options.setdefault("max_queue_bytes", 1 << 30)
        options.setdefault("max_queue_size", ROOM)
        self.client = whisperr.Whisperr(KEY, base_url=url, **options)
        self.flush = self.client.flush

    def track(self, user: str, properties: dict[str, Any]) -> None:
        self.client.track(user, EVENT, properties)


class PostHog:
    def __init__(self, url: str, *, held: bool) -> None:
        from posthog import Posthog

        options = {"flush_at": ROOM, "flush_interval": LONG} if held else {}
        self.client = Posthog(
            KEY,
            host=url,
            max_queue_size=ROOM,
            disable_geoip=True,
            enable_local_evaluation=False,
            **options,
        )
        self.flush = self.client.flush

    def track(self, user: str, properties: dict[str, Any]) -> None:
        self.client.capture(EVENT, distinct_id=user, properties=properties)


class Segment:
    def __init__(self, url: str, *, held: bool) -> None:
        from segment.analytics import Client as Analytics

        options = {"upload_size": ROOM, "upload_interval": LONG} if held else {}
        self.client = Analytics(KEY, host=url, max_queue_size=ROOM, **options)

    def track(self, user: str, properties: dict[str, Any]) -> None:
        self.client.track(user, EVENT, properties)

    def flush(self) -> None:
        """Its own waits for the interval: that is cut short, by an event that wakes the sender."""
        before = [(consumer, consumer.upload_interval) for consumer in self.client.consumers]
        for consumer, _ in before:
            consumer.upload_interval = 0.01
        self.track("nobody", {"id": "ev9999999."})
        self.client.flush()
        for consumer, interval in before:
            consumer.upload_interval = interval


class Amplitude:
    def __init__(self, url: str, *, held: bool) -> None:
        from amplitude import Amplitude as Client
        from amplitude import BaseEvent

        self.event = BaseEvent
        self.client = Client(KEY)
        self.client.configuration.server_url = f"{url}/2/httpapi"
        if held:
            self.client.configuration.flush_queue_size = ROOM
            self.client.configuration.flush_interval_millis = int(LONG * 1000)

    def track(self, user: str, properties: dict[str, Any]) -> None:
        self.client.track(self.event(EVENT, user_id=user, event_properties=properties))

    def flush(self) -> None:
        for future in self.client.flush():
            if future is not None:
                future.result()


class OpenTelemetry:
    """Its logs, each event a record, over OTLP/HTTP."""

    def __init__(self, url: str, *, held: bool) -> None:
        from opentelemetry._logs import LogRecord, SeverityNumber
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

        self.record, self.severity = LogRecord, SeverityNumber.INFO
        provider = LoggerProvider()
        options = {"schedule_delay_millis": LONG * 1000} if held else {}
        batch = ROOM if held else 512
        self.processor = BatchLogRecordProcessor(
            OTLPLogExporter(endpoint=f"{url}/v1/logs"),
            max_queue_size=ROOM,
            max_export_batch_size=batch,
            **options,
        )
        provider.add_log_record_processor(self.processor)
        self.logger = provider.get_logger("bench")

    def track(self, user: str, properties: dict[str, Any]) -> None:
        self.logger.emit(
            self.record(
                timestamp=time.time_ns(),
                severity_number=self.severity,
                body=EVENT,
                attributes={"user": user, **properties},
            )
        )

    def flush(self) -> None:
        self.processor.force_flush(int(LONG * 1000))


class Sentry:
    """Its logs. It drops beyond 1 000 and no option changes that, so it is given room here."""

    def __init__(self, url: str, *, held: bool) -> None:
        import sentry_sdk
        from sentry_sdk._log_batcher import LogBatcher

        LogBatcher.MAX_BEFORE_DROP = ROOM
        if held:
            LogBatcher.MAX_BEFORE_FLUSH, LogBatcher.FLUSH_WAIT_TIME = ROOM, LONG
        address = urlsplit(url).netloc
        sentry_sdk.init(f"http://{KEY}@{address}/1", enable_logs=True, transport_queue_size=ROOM)
        self.logs, self.sdk = sentry_sdk.logger, sentry_sdk

    def track(self, user: str, properties: dict[str, Any]) -> None:
        self.logs.info(EVENT, attributes={"user": user, **properties})

    def flush(self) -> None:
        self.sdk.flush(LONG)


class Limit:
    """What cannot be left out, in a bare loop: an id, a time, one encoding; 500 for a request."""

    def __init__(self, url: str, *, held: bool) -> None:
        import orjson

        self.dumps = orjson.dumps
        self.address = urlsplit(url).netloc
        self.connection = HTTPConnection(self.address)
        self.most = ROOM if held else 500
        self.bodies: list[bytes] = []

    def track(self, user: str, properties: dict[str, Any]) -> None:
        self.bodies.append(
            self.dumps(
                {
                    "external_user_id": user,
                    "event_type": EVENT,
                    "occurred_at": time.time(),
                    "properties": properties,
                    "context": {"$message_id": os.getrandom(16).hex()},
                }
            )
        )
        if len(self.bodies) >= self.most:
            self.flush()

    def flush(self) -> None:
        while self.bodies:
            body = b'{"events":[' + b",".join(self.bodies[:500]) + b"]}"
            del self.bodies[:500]
            headers = {"Content-Type": "application/json", "X-API-Key": KEY}
            self.connection.request("POST", "/v1/events/batch", body, headers)
            json.loads(self.connection.getresponse().read())


CLIENTS: dict[str, Any] = {
    "whisperr": Whisperr,
    "posthog": PostHog,
    "segment": Segment,
    "amplitude": Amplitude,
    "opentelemetry": OpenTelemetry,
    "sentry": Sentry,
    "limit": Limit,
}
