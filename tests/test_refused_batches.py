"""Batches that the service refuses as a whole: what is good in them is delivered, in order."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from raw_server import RawServer
from whisperr import Whisperr, WhisperrError
from whisperr._bisection import MOST_PIECES, MOST_REFUSALS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from harness import LocalServer
    from raw_server import Peer

SIZE = 500
MESSAGE = "event_type: this name is not known"
REFUSAL = json.dumps({"error": {"code": "invalid_request", "message": MESSAGE}}).encode()


class OlderService(RawServer):
    """Answers 400 to a whole batch for one malformed event in it, 413 to more than it takes."""

    def __init__(self, most_bytes: int = 10**9) -> None:
        self.most_bytes = most_bytes
        self.arrived: list[int] = []
        self.refused = 0
        super().__init__(self._answer)

    def _answer(self, peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            events = json.loads(request.body)["events"]
            if len(request.body) > self.most_bytes:
                self.refused += 1
                peer.answer(413)
            elif any(event["event_type"] == "malformed" for event in events):
                self.refused += 1
                peer.answer(400, REFUSAL)
            else:
                self.arrived += [event["properties"]["number"] for event in events]
                peer.answer(202, b'{"accepted": %d, "rejected": 0}' % len(events))


class Run:
    """A client and the service that it has."""

    def __init__(self, service: OlderService, **options: Any) -> None:
        self.errors: list[WhisperrError] = []
        self.service = service
        self.client = Whisperr(
            "wrk_x",
            base_url=service.url,
            flush_interval=0,
            flush_at=10_000,
            on_error=self.errors.append,
            **options,
        )

    def deliver(self, malformed: Collection[int], size: int = SIZE, **properties: Any) -> int:
        """Deliver a batch that is malformed in these places; returns how many requests it took."""
        self.service.arrived.clear()
        self.errors.clear()
        before = len(self.service.requests)
        for number in range(size):
            name = "malformed" if number in malformed else "good"
            self.client.track("u", name, {"number": number, **properties})
        result = self.client.flush(timeout=60)
        assert (result.queued, result.timed_out) == (0, False)
        assert self.client.stats().balanced
        return len(self.service.requests) - before


@pytest.fixture
def run() -> Iterator[Run]:
    with OlderService() as service:
        run = Run(service)
        yield run
        run.client.shutdown()


def good(malformed: Collection[int], size: int = SIZE) -> list[int]:
    return [number for number in range(size) if number not in malformed]


@pytest.mark.parametrize("chunk", range(8))
def test_five_malformed_events_anywhere_cost_no_other_in_at_most_seventy_requests(
    run: Run, chunk: int
) -> None:
    for seed in range(chunk * 25, chunk * 25 + 25):
        malformed = set(Random(seed).sample(range(SIZE), 5))
        assert run.deliver(malformed) <= 70, f"seed {seed}"
        assert run.service.arrived == good(malformed), f"seed {seed}"
        (error,) = run.errors
        assert (error.type, error.reason, error.count) == ("dropped", "rejected", 5)
        assert (error.status, error.event_types) == (400, ("malformed",))
        assert error.service_message == MESSAGE
        assert MESSAGE not in str(error)


@pytest.mark.parametrize(
    "malformed", [range(5), range(495, 500), range(0, 500, 100), range(99, 500, 100)], ids=str
)
def test_so_do_five_at_the_beginning_at_the_end_and_evenly(run: Run, malformed: range) -> None:
    assert run.deliver(malformed) <= 70
    assert run.service.arrived == good(malformed)
    assert run.client.stats().dropped["rejected"] == 5


@pytest.mark.parametrize("count", [10, 50])
def test_more_of_them_scattered_cost_no_other(run: Run, count: int) -> None:
    malformed = set(Random(count).sample(range(SIZE), count))
    run.deliver(malformed)
    assert run.service.arrived == good(malformed)
    assert [error.count for error in run.errors] == [count]


def test_forty_in_a_row_cost_no_other(run: Run) -> None:
    malformed = range(217, 257)
    run.deliver(malformed)
    assert run.service.arrived == good(malformed)


def test_a_hundred_in_a_row_cost_at_most_what_is_in_a_piece_with_them(run: Run) -> None:
    malformed = range(123, 223)
    assert run.deliver(malformed) <= MOST_REFUSALS + MOST_PIECES + 20
    lost = sorted(set(good(malformed)) - set(run.service.arrived))
    assert run.service.arrived == [n for n in good(malformed) if n not in lost]
    assert len(lost) < SIZE / MOST_PIECES
    assert lost == list(range(223, 223 + len(lost)))  # behind the last of them, in its piece
    counts = {error.event_types: error.count for error in run.errors}
    assert counts == {("malformed",): 100, **({("good",): len(lost)} if lost else {})}


def test_five_hundred_malformed_events_take_at_most_eighty_requests(run: Run) -> None:
    assert run.deliver(range(SIZE)) <= MOST_REFUSALS + MOST_PIECES
    assert run.service.arrived == []
    assert [error.count for error in run.errors] == [SIZE]
    assert "pieces" in run.errors[0].message
    assert run.deliver([]) == 1  # the next batch is asked for as a whole


def test_a_batch_that_is_too_large_for_the_service_is_sent_in_halves() -> None:
    with OlderService(most_bytes=100_000) as service:
        run = Run(service)
        run.deliver([], text="x" * 600)
        assert service.arrived == good([])
        assert run.errors == []
        refused = service.refused
        run.deliver([], text="x" * 600)
        assert service.refused <= refused + 2, "it forgot what the service takes"
        run.client.shutdown()


def test_a_single_event_that_is_too_large_is_dropped_with_its_size_and_type() -> None:
    with OlderService(most_bytes=50_000) as service:
        run = Run(service)
        run.client.track("u", "document_saved", {"number": -1, "text": "x" * 60_000})
        run.deliver([], size=50)
        assert service.arrived == good([], 50)
        (error,) = run.errors
        assert (error.type, error.reason, error.status) == ("dropped", "too_large", 413)
        assert error.event_types == ("document_saved",)
        assert "document_saved of 60" in error.message
        assert run.client.stats().dropped["too_large"] == 1
        run.client.shutdown()


def test_what_was_lost_before_an_outage_is_not_held_back_by_it() -> None:
    answers = iter([400, 400, 400])

    def serve(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer(next(answers, 503))

    with RawServer(serve) as service:
        errors: list[WhisperrError] = []
        client = Whisperr(
            "wrk_x", base_url=service.url, flush_interval=0, max_retries=0, on_error=errors.append
        )
        for _ in range(4):
            client.track("u", "happened")
        assert client.flush(timeout=10).queued == 3
        assert [(error.type, error.count) for error in errors] == [
            ("dropped", 1),
            ("retry_exhausted", 3),
        ]
        client.shutdown(timeout=0)


@pytest.mark.malformed
def test_the_local_server_in_its_strict_mode_gets_everything_but_the_malformed(
    server: LocalServer, api_key: str
) -> None:
    server.put("/control/strict-batches", key=api_key, strict=True)
    errors: list[WhisperrError] = []
    client = Whisperr(
        api_key, base_url=server.url, flush_interval=0, flush_at=10**6, on_error=errors.append
    )
    malformed = set(Random(7).sample(range(SIZE), 5))
    long_ago = datetime(2020, 1, 1, tzinfo=timezone.utc)
    for number in range(SIZE):
        occurred_at = long_ago if number in malformed else None
        client.track("u", "happened", {"number": number}, occurred_at=occurred_at)
    client.flush(timeout=60)
    arrived = [row["body"]["properties"]["number"] for row in server.events(api_key)]
    assert arrived == good(malformed)
    assert [(error.reason, error.count) for error in errors] == [("rejected", 5)]
    client.shutdown()
