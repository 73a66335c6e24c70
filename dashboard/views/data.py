"""stub"""
TITLE, ICON, URL = "page.data", ":material/search:", "data"
def render(): pass
