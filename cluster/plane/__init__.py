"""The seam to the data plane."""
