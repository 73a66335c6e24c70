"""One page a module: TITLE (a key of the catalogues), ICON, URL and render()."""
