"""What a user looks like after the identifies that were applied (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def user_state(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the merged traits, the channels (a later one of the same address replaces an
    earlier one) and the preferred channel after the rows of a timeline.
    """  # noqa: D205 # one sentence
    traits: dict[str, Any] = {}
    channels: dict[tuple[str, str], dict[str, Any]] = {}
    preferred: str | None = None
    for row in rows:
        if row["kind"] != "identify":
            continue
        body = row["body"]
        traits.update(body.get("traits", {}))
        preferred = body.get("preferred_channel", preferred)
        for channel in body.get("channels", []):
            channels[channel["channel"], channel["address"]] = channel
    return {
        "traits": traits,
        "channels": list(channels.values()),
        "preferred_channel": preferred,
    }
