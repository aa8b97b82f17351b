"""The right to deliver: held by one thread at most, taken by trying, never by waiting."""

from __future__ import annotations

import _thread

#: A thread's attempt to take the token; each attempt is another object.
Claim = tuple[int]


class Token:
    """A lock that knows its holder, and that an exception cannot part from it.

    Taking it is one C call, made inside the `try` whose `finally` gives it back: a signal
    handler that raises finds it taken by a known claim or not at all.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[None, Claim] = {}

    def held(self) -> bool:
        """Whether someone delivers."""
        return bool(self._held)

    def mine(self) -> bool:
        """Whether the calling thread holds it."""
        claim = self._held.get(None)
        return claim is not None and claim[0] == _thread.get_ident()

    def elsewhere(self) -> bool:
        """Whether another thread holds it."""
        claim = self._held.get(None)
        return claim is not None and claim[0] != _thread.get_ident()

    def claim(self) -> Claim:
        """An attempt of the calling thread; takes nothing yet."""
        return (_thread.get_ident(),)

    def take(self, claim: Claim) -> bool:
        """Take it if it is free; returns whether the claim holds it."""
        return self._held.setdefault(None, claim) is claim

    def give(self, claim: Claim) -> None:
        """Give it back, where it is this claim that holds it."""
        if self._held.get(None) is claim:
            self._held.clear()

    def clear(self) -> None:
        """Take it from a claim of the calling thread that nobody stands behind any more."""
        if self.mine():
            self._held.clear()
