"""`python -m core.training NAME` reproduces a file of assets/weights."""
