import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from maskwright.inference.engines.keras import KerasEngine
from tests.inference.fake_engines import bundle


class OverlapDetector:
    """A network that detects two calls at once."""

    def __init__(self):
        self.both = threading.Barrier(2)
        self.overlapped = False

    def predict_on_batch(self, images):
        try:
            self.both.wait(0.1)
            self.overlapped = True
        except threading.BrokenBarrierError:
            self.both.reset()
        return images


def test_threads_call_a_shared_network_one_after_another():
    network, images = OverlapDetector(), np.ones((1, 2, 2, 1), np.float32)
    engine = KerasEngine(network, bundle())
    with ThreadPoolExecutor(2) as threads:
        assert all((output == images).all() for output in threads.map(engine, [images, images]))
    assert not network.overlapped
