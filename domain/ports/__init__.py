"""One Protocol module per outside thing, for effects and for reads. Adapters implement them, workers wire them."""
