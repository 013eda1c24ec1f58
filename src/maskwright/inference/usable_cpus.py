"""Count the CPUs available to this process, which a container or a batch job may limit."""

import os


def usable_cpus() -> int:
    """Return the number of CPUs on which this process may run, at least 1."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13, which also reads PYTHON_CPU_COUNT
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
