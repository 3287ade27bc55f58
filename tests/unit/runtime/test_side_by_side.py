import threading
from time import sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcnet.runtime.side_by_side import in_order

pytestmark = pytest.mark.unit


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 5))
def test_results_come_in_the_order_of_the_pieces(waits, threads):
    def work(piece):
        number, wait = piece
        sleep(wait / 5000)
        return number

    assert list(in_order(work, enumerate(waits), threads)) == list(range(len(waits)))


@given(st.integers(1, 4), st.integers(0, 20))
def test_few_pieces_are_taken_ahead(threads, count):
    taken = []
    pieces = (taken.append(number) or number for number in range(count))
    for done, _ in enumerate(in_order(abs, pieces, threads)):
        assert len(taken) <= done + 1 + threads
    assert len(taken) == count


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_in_its_place_and_ends_the_work(threads):
    def work(number):
        if number == 5:
            raise ValueError("piece 5")
        return number

    found = []
    with pytest.raises(ValueError, match="piece 5"):
        found.extend(in_order(work, iter(range(10**9)), threads))
    assert found == [0, 1, 2, 3, 4]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ctcnet-side-by-side")]


def test_one_thread_is_the_calling_one():
    assert list(in_order(lambda _: threading.current_thread(), [0], 1)) == [threading.current_thread()]
