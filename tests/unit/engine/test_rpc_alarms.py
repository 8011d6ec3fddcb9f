"""Many alarms behind one timer: who is due is rung, who was taken back is not, and one that raises harms nobody."""

from __future__ import annotations

import asyncio

from tradingbot_engine.rpc.alarms import Alarms


class _Sleeper:
    def __init__(self, name: str, rung: list[str], *, raises: bool = False) -> None:
        self.name, self.rung, self.raises = name, rung, raises

    def ring(self) -> None:
        self.rung.append(self.name)
        if self.raises:
            raise RuntimeError("a bug of one call")


async def test_alarms_ring_in_time_in_whatever_order_they_were_set() -> None:
    """An earlier one that is set later moves the timer; one that was taken back is never rung."""
    alarms, rung = Alarms(), list[str]()
    late, soon, gone = (_Sleeper(name, rung) for name in ("late", "soon", "gone"))
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    alarms.set(late, 0.03)
    alarms.set(gone, 0.002)
    alarms.set(soon, 0.01)
    alarms.unset(gone)
    while not rung:
        await asyncio.sleep(0.001)
    assert loop.time() - began_s >= 0.009
    while len(rung) < 2:
        await asyncio.sleep(0.001)
    assert loop.time() - began_s >= 0.029
    assert rung == ["soon", "late"]


async def test_an_alarm_set_anew_while_it_rings_rings_again() -> None:
    """A race that starts one extra request waits for the next in the same way."""
    alarms, rung = Alarms(), list[str]()

    class Again(_Sleeper):
        def ring(self) -> None:
            super().ring()
            if len(self.rung) < 3:
                alarms.set(self, 0.001)

    alarms.set(Again("again", rung), 0.001)
    while len(rung) < 3:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    assert rung == ["again"] * 3


async def test_one_that_raises_does_not_keep_the_others_from_being_rung() -> None:
    """A bug of one call must not leave every other late call without its hedge."""
    alarms, rung, seen = Alarms(), list[str](), list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(str(context.get("exception"))))
    alarms.set(_Sleeper("bad", rung, raises=True), 0.001)
    alarms.set(_Sleeper("good", rung), 0.001)
    while len(rung) < 2:
        await asyncio.sleep(0.001)
    assert rung == ["bad", "good"]
    assert seen == ["a bug of one call"]


async def test_after_close_nobody_is_rung() -> None:
    """What is closed leaves no timer behind."""
    alarms, rung = Alarms(), list[str]()
    alarms.set(_Sleeper("a", rung), 0.002)
    alarms.close()
    await asyncio.sleep(0.01)
    assert rung == []
