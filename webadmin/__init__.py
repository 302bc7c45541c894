"""The web admin: server-rendered pages over the services of the API.

add_pages(app, rooms)       # the pages, on an application that also has the API's routes

A page group is one Python file with a tuple PAGES and a folder of templates; docs/web-admin.md shows how to
add one.
"""

from webadmin.application import add_pages

__all__ = ["add_pages"]
