"""The sample web application: one page that says what runs here."""

import html
import importlib.metadata
import json
import os
from pathlib import Path

import waitress

VERSION = Path(__file__).with_name("VERSION").read_text().strip()
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Shop {version}</title>
<style>body {{ font: 18px/1.5 sans-serif; margin: 4em auto; max-width: 40em }} code {{ word-break: break-all }}</style>
<h1>Shop {version}</h1>
<p>Served by waitress {waitress}, from the image <code>{digest}</code>.</p>
</html>
"""


def page():
    """Shows the version, and the digest that the deployment was made from."""
    digest = os.environ.get("COUNTERSIGN_DIGEST", "that nobody named")
    values = {"version": VERSION, "waitress": importlib.metadata.version("waitress"), "digest": digest}
    return "text/html; charset=utf-8", PAGE.format(**{name: html.escape(value) for name, value in values.items()})


def healthz():
    """Says that the process answers."""
    return "application/json", json.dumps({"status": "ok", "version": VERSION})


ROUTES = {"/": page, "/healthz": healthz}


def application(environ, start_response):
    """Answers the two paths (PEP 3333)."""
    route = ROUTES.get(environ["PATH_INFO"])
    status, (kind, body) = ("200 OK", route()) if route else ("404 Not Found", ("text/plain", "not found\n"))
    data = body.encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(data)))])
    return [data]


if __name__ == "__main__":
    waitress.serve(application, host="0.0.0.0", port=8080, ident=None)
