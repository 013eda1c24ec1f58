"""A run becomes an engine; knows runs, networks and data, and is known by none of them."""
