"""The gateway: authenticate, validate, one Temporal call or one read through a port, map errors."""
