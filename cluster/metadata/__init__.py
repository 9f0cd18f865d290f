"""The metadata image, and the controller that decides over it. Pure."""
