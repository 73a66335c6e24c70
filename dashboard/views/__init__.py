"""One page a module with render(): its name is the address, and app.py gives it an icon."""
