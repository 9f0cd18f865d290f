"""Configuration: the table of keys, the reading of values, and which layer a value comes from. Pure."""
