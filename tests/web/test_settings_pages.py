"""Events, audit and settings in a browser: accessible, narrow and wide, light and dark; filters, forms, files."""

import pytest

from pxeserver.boot.model import EventKind

PATHS = ("/events", "/events?kind=booted", "/audit", "/audit?table=nodes")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 360)])
def test_pages_are_accessible_and_fit(site, open_page, path, dark, width):
    site.add_nodes(8)
    site.boot(number=1)
    site.tell(EventKind.IGNORED, "u1", "52:54:99:00:00:01", None, reason="policy-ignore", vendor="Dell <b>")
    site.do(site.hall.settled)
    page = open_page(width=width, dark=dark)
    page.go(path)
    page.picture(f"m-{path.strip('/').replace('/', '-').replace('?', '-')}-{width}")
    page.accessible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
