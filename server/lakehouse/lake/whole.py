"""Parts that know no profiles: a caller bound to one is refused them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

if TYPE_CHECKING:
    from lakehouse.lake.parts import Parts

T = TypeVar("T")


class Whole(Generic[T]):
    """A part of the lake, built when it is first used, that holds everybody's things and cannot be divided.

    Within a call that is bound to a profile, reaching for it raises Forbidden. `of` is how the lake itself gets it.
    """

    def __init__(self, build: Callable[[Any], T]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, lake: None, owner: type[Any]) -> "Whole[T]": ...

    @overload
    def __get__(self, lake: "Parts", owner: type[Any] | None = None) -> T: ...

    def __get__(self, lake: "Parts | None", owner: type[Any] | None = None) -> "Whole[T] | T":
        if lake is None:
            return self
        lake.check_unbound()
        return self.of(lake)

    def of(self, lake: "Parts") -> T:
        """The part, whoever calls."""
        built = lake.built
        if self not in built:
            built[self] = self._build(lake)
        return cast(T, built[self])
