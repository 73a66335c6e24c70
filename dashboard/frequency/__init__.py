"""The three sections of the Frequency lab, a module each, and their figures."""
