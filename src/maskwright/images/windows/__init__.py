"""Read and write images larger than memory, window by window."""
