"""Images larger than memory: predicted block by block, each once, whatever interrupts it."""
