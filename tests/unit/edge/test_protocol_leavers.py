import asyncio

from app.edge.protocol_leavers import CLOSED_A_TURN, Leavers


async def test_a_crowd_is_closed_in_the_order_it_left_some_in_each_turn() -> None:
    leavers, closed = Leavers(), list[int]()
    for number in range(CLOSED_A_TURN + 1):
        leavers.add(lambda number=number: closed.append(number))  # type: ignore[misc]

    seen = [len(closed)]
    for _ in range(3):
        await asyncio.sleep(0)
        seen.append(len(closed))

    assert seen == [0, CLOSED_A_TURN, CLOSED_A_TURN + 1, CLOSED_A_TURN + 1]
    assert closed == sorted(closed)


async def test_who_leaves_later_is_closed_too() -> None:
    leavers, closed = Leavers(), list[str]()
    leavers.add(lambda: closed.append("one"))
    await asyncio.sleep(0)

    leavers.add(lambda: closed.append("two"))
    await asyncio.sleep(0)

    assert closed == ["one", "two"]
