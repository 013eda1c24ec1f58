import os
import subprocess
import sys

import pytest

from maskwright.inference.bounded_pool import BoundedPool
from maskwright.inference.usable_cpus import usable_cpus

COUNT = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from maskwright.inference.usable_cpus import usable_cpus
print(usable_cpus())
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds processes to CPUs")
def test_cpus_that_the_process_may_not_use_are_excluded():
    done = subprocess.run([sys.executable, "-c", COUNT], check=True, capture_output=True, text=True)
    assert int(done.stdout) == 1


@pytest.mark.parametrize(("counted", "expected"), [(5, 5), (None, 1)])
def test_without_an_affinity_all_cpus_of_the_machine_count(counted, expected, monkeypatch):
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert usable_cpus() == expected


def test_the_count_of_python_takes_precedence(monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 3, raising=False)
    assert usable_cpus() == 3


@pytest.mark.parametrize(("usable", "threads"), [(3, 3), (64, 8)])
def test_a_pool_has_one_thread_per_cpu_and_at_most_eight(usable, threads, monkeypatch):
    monkeypatch.setattr("maskwright.inference.bounded_pool.usable_cpus", lambda: usable)
    monkeypatch.setattr("maskwright.inference.bounded_pool.ThreadPoolExecutor", lambda most: most)
    assert BoundedPool(limit=1)._pool == threads
