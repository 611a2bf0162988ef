"""Orchestration: one file per feature. Workflows schedule effects through `workflows.gate` and touch nothing themselves."""
