"""What one step of the control plane costs alone."""
