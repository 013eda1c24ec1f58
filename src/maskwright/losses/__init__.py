"""What a network is taught to minimise: each a pure function and its thin Keras object; knows networks not at all."""
