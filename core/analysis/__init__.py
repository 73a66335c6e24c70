"""Ways of looking at a perturbation and at what a network does with it."""
