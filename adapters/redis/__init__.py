"""Redis: what may be lost. Breakers, limits and streams of the model backplane."""
