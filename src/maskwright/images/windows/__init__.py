"""Reading and writing of images larger than memory, window by window."""
