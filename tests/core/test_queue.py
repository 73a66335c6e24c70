"""The line of trainings: one at a time, in turns, and none can harm the others."""
import itertools
import threading
import time

import pytest

from core.training.queue import Job, Queue


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def counting(log, name, steps=5, seconds=0.01):
    for k in range(steps):
        log.append(name)
        time.sleep(seconds)
        yield k


def gated(gate):
    """Steps that wait to be let through."""
    for k in itertools.count():
        assert gate.wait(10)
        time.sleep(0.005)
        yield k


def test_one_at_a_time_in_the_order_of_coming():
    log, queue = [], Queue()
    jobs = [Job(counting(log, name)) for name in "abc"]
    for job in jobs:
        queue.add(job)
    assert [queue.place(job) for job in jobs] == [0, 1, 2]
    until(lambda: all(job.over for job in jobs))
    assert log == ["a"] * 5 + ["b"] * 5 + ["c"] * 5
    assert [job.state for job in jobs] == ["done"] * 3 and [job.reports for job in jobs] == [[0, 1, 2, 3, 4]] * 3


def test_long_ones_take_turns_while_others_wait():
    log, queue = [], Queue(turn=0.05)
    jobs = [Job(counting(log, name, 20)) for name in "ab"]
    for job in jobs:
        queue.add(job)
    until(lambda: all(job.over for job in jobs))
    changes = sum(one != other for one, other in zip(log, log[1:]))
    assert 2 <= changes <= 12 and log.count("a") == log.count("b") == 20


def test_a_paused_one_makes_room_and_goes_on_where_it_was():
    gate, log, queue = threading.Event(), [], Queue()
    first, second = Job(gated(gate)), Job(counting(log, "b"))
    queue.add(first)
    queue.add(second)
    until(lambda: first.state == "running")
    queue.pause(first)
    assert first.state == "running", "it hears after its step"
    gate.set()
    until(lambda: second.over)
    assert first.state == "paused" and first.reports == [0] and queue.place(first) == 0
    queue.add(first)
    until(lambda: len(first.reports) > 3)
    queue.stop(first)
    until(lambda: first.state == "stopped")
    assert first.reports == list(range(len(first.reports)))


def test_one_that_waits_can_be_paused_and_stopped():
    gate, queue = threading.Event(), Queue()
    first, second, third = (Job(gated(gate)) for _ in range(3))
    for job in (first, second, third):
        queue.add(job)
    queue.pause(second)
    queue.stop(third)
    assert (second.state, third.state) == ("paused", "stopped") and queue.place(second) == 0
    queue.stop(second)
    assert second.state == "stopped"
    queue.add(second)
    assert second.state == "stopped", "what is over stays over"
    queue.stop(first)
    gate.set()
    until(lambda: first.over)
    assert second.reports == third.reports == []


def test_a_failing_one_ends_alone():
    def failing():
        yield 0
        raise ZeroDivisionError("nothing left")
    log, queue = [], Queue()
    first, second = Job(failing()), Job(counting(log, "b"))
    queue.add(first)
    queue.add(second)
    until(lambda: second.over)
    assert (first.state, first.reports, str(first.error)) == ("failed", [0], "nothing left")
    assert second.state == "done"


def test_the_thread_ends_with_the_last_job_and_another_starts_with_the_next():
    log, queue = [], Queue()
    for _ in range(2):
        job = Job(counting(log, "a", 2))
        queue.add(job)
        until(lambda: job.over)
        until(lambda: not any(thread.name == "training" for thread in threading.enumerate()))
    assert log == ["a"] * 4


def test_one_whose_user_is_gone_is_paused_and_can_go_on():
    log, queue = [], Queue(forgotten=0.1)
    gone, there = Job(counting(log, "a", 60)), Job(counting(log, "b", 30))
    queue.add(gone)
    until(lambda: gone.state == "paused")
    assert 0 < len(gone.reports) < 60, "nobody waits for it, and yet it slows every page of the server"
    queue.add(there)
    while not there.over:
        there.look()
        time.sleep(0.005)
    assert there.state == "done" and len(there.reports) == 30
    done = len(gone.reports)
    queue.add(gone)
    until(lambda: len(gone.reports) > done)
    queue.stop(gone)


def test_added_twice_is_in_line_once():
    gate, queue = threading.Event(), Queue()
    job = Job(gated(gate))
    second = Job(gated(gate))
    queue.add(job)
    queue.add(job)
    queue.add(second)
    assert queue.place(second) == 1
    queue.stop(second)
    queue.stop(job)
    gate.set()
    until(lambda: job.over)


def test_steps_without_a_report_are_heard_between_and_what_is_over_is_let_go():
    held = threading.Event()

    def silent():
        try:
            while True:
                time.sleep(0.002)
                yield None
        finally:
            held.set()

    job, queue = Job(silent()), Queue()
    queue.add(job)
    until(lambda: job.state == "running")
    queue.stop(job)
    until(lambda: job.over)
    until(held.is_set)
    assert job.reports == []


@pytest.mark.parametrize("users", [4])
def test_many_users_at_once(users):
    log, queue = [], Queue(turn=0.01)
    jobs = [Job(counting(log, k, 4, 0.002)) for k in range(users * 3)]
    threads = [threading.Thread(target=lambda part=jobs[k::users]: [queue.add(job) for job in part]) for k in range(users)]
    for thread in threads:
        thread.start()
    until(lambda: all(job.over for job in jobs))
    assert all(job.reports == [0, 1, 2, 3] for job in jobs)
