import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from maskwright.inference.engines.keras import KerasEngine
from tests.inference.fake_engines import bundle


class Meeting:
    """A network in which two calls at once would meet."""

    def __init__(self):
        self.both = threading.Barrier(2)
        self.met = False

    def predict_on_batch(self, images):
        try:
            self.both.wait(0.1)
            self.met = True
        except threading.BrokenBarrierError:  # nobody came
            self.both.reset()
        return images


def test_threads_that_share_a_network_use_it_one_after_the_other():
    network, images = Meeting(), np.ones((1, 2, 2, 1), np.float32)
    engine = KerasEngine(network, bundle())
    with ThreadPoolExecutor(2) as threads:
        assert all((answer == images).all() for answer in threads.map(engine, [images, images]))
    assert not network.met
