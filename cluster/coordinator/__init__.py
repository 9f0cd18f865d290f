"""State machines hosted over partitions of internal topics, and the one runtime that hosts them. Pure."""
