"""Values: their fields are fixed once they are made; they are compared and shown by them.

What `dataclasses` makes, without the milliseconds that it takes of everyone's start. No tuples:
who collects the locals of a frame would read the items of one, a key among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: object) -> Any:
        """For type checkers, which know it from `typing_extensions`."""
        return lambda kind: kind


@dataclass_transform(frozen_default=True)
class Value:
    """A value whose fields are the annotations of its class; what the class assigns is a default.

    Raises:
        TypeError: for an argument that is no field, and for a field without a value.
        AttributeError: where a field is assigned.
    """

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = (*cls._fields, *cls.__annotations__)

    def __init__(self, *values: Any, **named: Any) -> None:
        kind = type(self)
        given = {**dict(zip(kind._fields, values, strict=False)), **named}
        left = [name for name in kind._fields if name not in given]
        if len(given) < len(values) + len(named) or given.keys() - set(kind._fields):
            raise TypeError(f"{kind.__name__} takes {', '.join(kind._fields)}, each once.")
        missing = [name for name in left if not hasattr(kind, name)]
        if missing:
            raise TypeError(f"{kind.__name__} needs {', '.join(missing)}.")
        given.update((name, getattr(kind, name)) for name in left)
        self.__dict__.update((name, given[name]) for name in kind._fields)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"A {type(self).__name__} cannot be changed: make another one.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"A {type(self).__name__} cannot be changed: make another one.")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({', '.join(shown)})"
