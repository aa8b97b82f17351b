"""The endpoints that set the clock, the faults and the mode of a running server."""

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict

from whisperr.server.clock import parse_moment
from whisperr.server.faults import Fault
from whisperr.server.service import Service


class ClockSetting(BaseModel):
    """The moment to set the clock to (RFC 3339); null: real time."""

    model_config = ConfigDict(extra="forbid")

    now: str | None


class StrictSetting(BaseModel):
    """Whether one malformed event makes its batch a 400, for one app or for all (null)."""

    model_config = ConfigDict(extra="forbid")

    key: str | None = None
    strict: bool


def routes(service: Service) -> APIRouter:
    """Return the control endpoints."""
    router = APIRouter(prefix="/control")

    @router.get("/clock")
    async def read_clock() -> ClockSetting:
        """Return the server's now."""
        return ClockSetting(now=service.clock.now().isoformat(timespec="milliseconds"))

    @router.put("/clock")
    async def set_clock(setting: ClockSetting) -> ClockSetting:
        """Set the clock, which runs on from there."""
        try:
            service.clock.set(None if setting.now is None else parse_moment(setting.now))
        except ValueError as error:
            raise HTTPException(400, f"now: {error}") from None
        return await read_clock()

    @router.put("/strict-batches")
    async def set_strict(setting: StrictSetting) -> StrictSetting:
        """Act like an older service, or no longer."""
        service.strict[setting.key] = setting.strict
        return setting

    router.include_router(_fault_routes(service))
    return router


def _fault_routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/faults")

    @router.get("")
    async def armed_faults(key: str | None = None) -> list[Fault]:
        """Return what is armed, in the order in which it will be met."""
        return service.faults.armed(key)

    @router.post("")
    async def arm_fault(fault: Fault) -> Fault:
        """Arm a fault behind those that are armed."""
        service.faults.arm(fault)
        return fault

    @router.delete("")
    async def clear_faults(key: str | None = None) -> list[Fault]:
        """Delete the faults of one app, or all; return what is left."""
        service.faults.clear(key)
        return service.faults.armed()

    return router
