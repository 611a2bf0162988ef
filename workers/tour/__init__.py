"""`soma tour`: what the product does, shown on the running stack."""
