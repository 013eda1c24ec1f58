"""Reading and writing pixels and masks; knows no network and no Keras."""
