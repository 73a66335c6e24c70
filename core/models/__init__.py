"""Networks, their cards and how to load them."""
