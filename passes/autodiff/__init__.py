"""How gradients are made; the passes `differentiate` and `remat` run it."""
