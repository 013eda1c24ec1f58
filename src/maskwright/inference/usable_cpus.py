"""How many processors this process may use, which in a container or a batch job are fewer than the machine has."""

import os


def usable_cpus() -> int:
    """Processors that the system lets this process run on; at least 1."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13, which also heeds PYTHON_CPU_COUNT
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
