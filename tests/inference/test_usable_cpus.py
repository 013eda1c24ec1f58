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


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds processes to processors")
def test_processors_that_the_process_is_kept_from_do_not_count():
    done = subprocess.run([sys.executable, "-c", COUNT], check=True, capture_output=True, text=True)
    assert int(done.stdout) == 1


@pytest.mark.parametrize(("counted", "expected"), [(5, 5), (None, 1)])
def test_where_the_system_tells_no_more_all_of_the_machine_count(counted, expected, monkeypatch):
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert usable_cpus() == expected


def test_what_python_itself_counts_comes_first(monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 3, raising=False)
    assert usable_cpus() == 3


@pytest.mark.parametrize(("usable", "threads"), [(3, 3), (64, 8)])
def test_a_crew_has_a_thread_a_processor_and_no_more_than_eight(usable, threads, monkeypatch):
    monkeypatch.setattr("maskwright.inference.bounded_pool.usable_cpus", lambda: usable)
    monkeypatch.setattr("maskwright.inference.bounded_pool.ThreadPoolExecutor", lambda most: most)
    assert BoundedPool(limit=1)._pool == threads
