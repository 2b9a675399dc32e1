import ctypes

from x86emu.bus.clock import FOREVER, Clock
from x86emu.bus.platform import Wiring


def test_events_run_in_order_of_deadline_then_of_scheduling() -> None:
    clock, seen = Clock(), []
    for name, deadline in (("c", 30), ("a", 10), ("b1", 20), ("b2", 20)):
        clock.schedule(deadline, lambda name=name: seen.append((name, clock.now())))
    assert clock.next_deadline() == 10
    clock.advance_to(25)
    assert seen == [("a", 10), ("b1", 20), ("b2", 20)]
    assert clock.now() == 25
    clock.advance(5)
    assert seen[-1] == ("c", 30)
    assert clock.next_deadline() == FOREVER


def test_callback_may_reschedule_and_cancel() -> None:
    clock, ticks = Clock(), []
    doomed = clock.schedule(35, lambda: ticks.append("never"))

    def tick() -> None:
        ticks.append(clock.now())
        if len(ticks) < 4:
            clock.schedule(clock.now() + 10, tick)
        if len(ticks) == 3:
            clock.cancel(doomed)

    clock.schedule(10, tick)
    clock.advance_to(100)
    assert ticks == [10, 20, 30, 40]
    assert not doomed.active
    clock.cancel(doomed)
    clock.cancel(None)


def test_run_due_leaves_the_future_alone() -> None:
    clock, seen = Clock(), []
    clock.schedule(0, lambda: seen.append(0))
    clock.schedule(1, lambda: seen.append(1))
    assert clock.run_due() == 1
    assert seen == [0]
    assert clock.next_deadline() == 1


def test_cancelled_events_do_not_pile_up() -> None:
    clock = Clock()
    seen = []
    for i in range(10_000):
        clock.cancel(clock.schedule(1000 + i, lambda: seen.append("cancelled")))
    clock.schedule(500, lambda: seen.append("kept"))
    clock.advance_to(20_000)
    assert seen == ["kept"]


def test_an_exception_in_a_callback_reaches_the_caller_and_the_queue_goes_on() -> None:
    clock, seen = Clock(), []
    clock.schedule(1, lambda: 1 // 0)
    clock.schedule(2, lambda: seen.append(2))
    try:
        clock.advance_to(3)
    except ZeroDivisionError:
        clock.advance_to(3)
    assert seen == [2]


def test_now_is_exact_inside_a_slice_and_an_earlier_event_shortens_it() -> None:
    wiring = Wiring()
    clock = Clock(wiring)
    shortened = []
    elapsed = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(lambda engine: 123)
    shorten = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(lambda engine, when: shortened.append(when))
    clock.advance_to(1000)
    wiring.set_engine(ctypes.cast(elapsed, ctypes.c_void_p).value, ctypes.cast(shorten, ctypes.c_void_p).value)
    assert clock.now() == 1123
    clock.schedule(2000, lambda: None)
    clock.schedule(3000, lambda: None)  # later than the earliest: the slice ends before it anyway
    clock.schedule(1500, lambda: None)
    assert shortened == [2000, 1500]


def test_save_and_load() -> None:
    clock = Clock()
    clock.advance_to(77)
    other = Clock()
    other.schedule(5, lambda: None)
    other.load(clock.save())
    assert other.now() == 77
    assert other.next_deadline() == FOREVER
