"""For Celery workers whose children may be killed; a client delivers at any other end by itself."""

from __future__ import annotations

from typing import Any

from whisperr import flush_all

_UID = "whisperr.deliver_after_task"


def deliver_after_task(timeout: float = 2.0) -> None:
    """Deliver what a task tracked before the worker takes the next, from the next task on.

    Then a child that is killed (by a hard time limit, by the kernel for want of memory) loses
    only what its last task tracked. The cost is one exchange for each task that tracked
    something, and `timeout` for each where the service does not answer. What a task could not
    deliver stays queued.

    Call it where the Celery application is made. A second call replaces the timeout. Tasks that
    are run eagerly, inside their caller, are left out.

    Args:
        timeout: seconds at most for each task.
    """
    from celery import signals

    def deliver(task: Any = None, **_: object) -> None:
        if not task.request.is_eager:
            flush_all(timeout)

    signals.task_postrun.disconnect(dispatch_uid=_UID)
    signals.task_postrun.connect(deliver, weak=False, dispatch_uid=_UID)
