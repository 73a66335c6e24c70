"""stub"""
TITLE, ICON, URL = "page.curves", ":material/search:", "curves"
def render(): pass
