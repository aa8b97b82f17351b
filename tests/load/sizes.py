"""How much is tracked: in `make load` ten times what `make test` has time for."""

from __future__ import annotations

import os

#: For a service that answers nothing; where every event is delivered it is a tenth.
EVENTS = int(os.environ.get("WHISPERR_LOAD_EVENTS", "100000"))
