import threading

import pytest

from maskwright.inference.bounded_pool import BoundedPool


def test_results_arrive_in_the_order_of_submission():
    second_done = threading.Event()

    def work(number):
        if number == 1:
            second_done.set()
        elif number == 0:
            assert second_done.wait(10)
        return number

    with BoundedPool(limit=10) as pool:
        assert list(pool.ahead(work, range(4), cost=lambda _: 1)) == [0, 1, 2, 3]


def test_the_cost_of_submitted_items_stays_within_the_limit():
    taken = []
    with BoundedPool(limit=5) as pool:
        items = (taken.append(cost) or cost for cost in [2, 2, 2, 9, 1])
        results = pool.ahead(str, items, cost=int)
        assert next(results) == "2"
        assert taken == [2, 2, 2]  # the third waits until the first result is taken
        assert next(results) == "2"
        assert taken == [2, 2, 2, 9]  # taking the result made room
        assert list(results) == ["2", "9", "1"]  # 9 exceeds the limit and is held alone


def test_an_exception_is_raised_where_its_result_is_taken():
    with BoundedPool(limit=3) as pool:
        results = pool.ahead(lambda number: 1 // number, [1, 0, 1], cost=lambda _: 1)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_leaving_cancels_items_that_no_thread_has_begun():
    begun, release = [], threading.Event()

    def work(number):
        begun.append(number)
        release.wait(10)

    with pytest.raises(KeyboardInterrupt), BoundedPool(limit=1000) as pool:  # noqa: PT012
        for number in range(500):
            pool.submit(1, work, number)
        threading.Timer(0.05, release.set).start()
        raise KeyboardInterrupt
    assert len(begun) < 100


def test_finished_does_not_wait():
    release = threading.Event()
    with BoundedPool(limit=3) as pool:
        assert list(pool.finished()) == []
        pool.submit(1, lambda _: release.wait(10), None)
        assert list(pool.finished()) == []
        release.set()
        assert list(pool.rest()) == [True]
