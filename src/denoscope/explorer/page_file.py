"""The explorer's page as one file: its modules, styles and data, so that it works without a server."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("page")
"""The page and everything that it loads."""
REPLACED = {"api.js": "exported_api.js"}
"""Modules that ask the server, and those that take their place."""
POLICY = "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"
"""The file is opened from disk, so what it may run is what it holds; it may load nothing."""
IMPORT = re.compile(r'(from|import) "\./([\w./-]+\.js)"')


def page_file(data: Mapping[str, Any]) -> bytes:
    """A page of HTML that shows `data`: what the server would answer, as JSON values."""
    html = (PAGE / "index.html").read_text()
    head = re.sub(r"<link [^>]*>\n|<script [^>]*></script>\n", "", html.partition("</head>")[0])
    styles = "\n".join((PAGE / name).read_text() for name in ("vendor/leaflet/leaflet.css", "style.css"))
    licence = (PAGE / "vendor/leaflet/LICENSE").read_text().replace("-->", "")
    parts = [
        head.replace("<head>", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        f"<!-- This file contains Leaflet:\n{licence}-->\n<style>{styles}</style>",
        f'<script type="importmap">{_escaped({"imports": _modules()})}</script>',
        f'<script type="application/json" id="exported">{_escaped(data)}</script>',
        '<script type="module">import "page/app.js";</script>',
        "</head>" + html.partition("</head>")[2],
    ]
    return "\n".join(parts).encode()


def _modules() -> dict[str, str]:
    """Each module of the page as a data URL, by a name that other modules import wherever they lie."""
    names = [path.name for path in PAGE.glob("*.js") if path.name not in REPLACED.values()]
    return {
        f"page/{name}": _data_url(PAGE / REPLACED.get(name, name))
        for name in (*names, "vendor/leaflet/leaflet.js")
    }


def _data_url(path: Path) -> str:
    code = IMPORT.sub(r'\1 "page/\2"', path.read_text())
    return f"data:text/javascript;base64,{base64.b64encode(code.encode()).decode()}"


def _escaped(content: Any) -> str:
    """JSON that no text in it can end: a script element ends at `</`."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
