"""Words and rules: frozen models, the error tree, ids, names and pure functions. No I/O, clock, randomness or temporalio."""
