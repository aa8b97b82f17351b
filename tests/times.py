"""Times in the order of a microsecond are judged where nothing else runs: by `make frameworks`."""

from __future__ import annotations

import os

import pytest

JUDGED = bool(os.environ.get("WHISPERR_TIMES"))
judged = pytest.mark.skipif(not JUDGED, reason="`make frameworks` judges times")
