"""For Celery: tasks for the user of the request that sent them, and children that are killed.

A client delivers at the other ends of a worker by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whisperr import flush_all
from whisperr.request import RequestClient, Unresolved, current

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from whisperr import Whisperr

#: The header of a message that carries the user's id, as text.
HEADER = "whisperr_user"
#: What it carries where the sender's user could not be found in time.
_UNKNOWN = ""


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

    _connect(signals.task_postrun, deliver, "whisperr.deliver_after_task")


def carry_user(client: Whisperr) -> None:
    """Have a task track for the user of the request, or of the task, that sent it.

    In the task, `whisperr.request.current_request` returns a client for that user, and so it
    does in the tasks that this one sends, in its retries and in the rest of its chain. A task
    that was sent by nobody, or for an anonymous user, has an anonymous one: its calls come to
    nothing. A header ``whisperr_user`` that the sender sets itself stays.

    Sending a task is a use of the user, which may cause the query that finds it. On an event
    loop there is none. A user that could not be found does not pass for an anonymous one: the
    task's calls are reported as ``dropped`` (``user_unresolved``). Where finding it takes an
    await, await ``atrack()`` before sending, or set the header.

    Call it where the Celery application is made, in the senders and in the workers. A second
    call replaces the client. The id travels in the message, for whoever can read the broker.

    Args:
        client: what tasks track with.
    """
    from celery import signals

    def begin(task: Any = None, **_: object) -> None:
        user = (task.request.headers or {}).get(HEADER)
        if task.request.is_eager and user is None and current.get() is not None:
            return  # it runs inside the request that sent it
        task.request.whisperr_token = current.set(RequestClient(client, _CARRIED, user))

    _connect(signals.before_task_publish, _add_header, "whisperr.carry_user.publish")
    _connect(signals.task_prerun, begin, "whisperr.carry_user.begin")
    _connect(signals.task_postrun, _end, "whisperr.carry_user.end")


def _connect(signal: Any, receiver: Any, uid: str) -> None:
    """In the place of what an earlier call connected."""
    signal.disconnect(dispatch_uid=uid)
    signal.connect(receiver, weak=False, dispatch_uid=uid)


def _add_header(headers: MutableMapping[str, Any], **_: object) -> None:
    request = current.get()
    if request is None or HEADER in headers:
        return
    try:
        user = request._found_now()  # user_id() does not tell nobody from not found
    except Exception:  # noqa: BLE001 - the application's resolver, or a database
        user = _UNKNOWN
    if user is not None:
        headers[HEADER] = str(user)


def _end(task: Any = None, **_: object) -> None:
    token = task.request.get("whisperr_token")
    if token is not None:
        current.reset(token)


class _CarriedUser:
    """Finds the user in what the message carried."""

    lasting = False

    def find(self, user: str | None) -> str | None:
        if user == _UNKNOWN:
            raise Unresolved(
                "The request that sent the task could not find its user: where that takes an "
                "await, await atrack() before sending it, or set the task's header whisperr_user."
            )
        return user

    async def afind(self, user: str | None) -> str | None:
        return self.find(user)


_CARRIED = _CarriedUser()
