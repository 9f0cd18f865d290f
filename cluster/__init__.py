"""The control plane: decides; the data plane below it moves the bytes."""
