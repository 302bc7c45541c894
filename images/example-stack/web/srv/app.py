"""The example's web application: notes that are kept in the database, counted and remembered in the cache.

GET  /             a page: the notes, and which node answered
POST /notes        text=... ; writes a note
GET  /api/notes    the same as JSON: {"node", "source", "visits", "notes": [{"text", "node", "at"}]}
GET  /healthz      200 while the process answers; the database may be on its way to another node
GET  /metrics      for Prometheus
"""

from __future__ import annotations

import html
import json
import os
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import psycopg2
import redis

NODE = os.environ.get("NODE", "")
DATABASE = os.environ.get("DATABASE", "tasks.db")
CACHE = os.environ.get("CACHE", "tasks.cache")
PASSWORD = Path(os.environ.get("PASSWORD_FILE", "/secret/db-password"))
PORT = 8080
REMEMBERED = 5
LARGEST = 4096
TABLE = (
    "CREATE TABLE IF NOT EXISTS notes (id bigserial PRIMARY KEY, text text NOT NULL, node text NOT NULL, "
    "at timestamptz NOT NULL DEFAULT now())"
)
PAGE = """<!doctype html><meta charset="utf-8"><title>Notes</title>
<style>body{{font:16px sans-serif;max-width:40em;margin:2em auto}}td{{padding:.2em 1em .2em 0}}</style>
<h1>Notes</h1><p>Answered by node <b>{node}</b>, {visits} visits, read from the {source}.</p>
<form method="post" action="/notes"><input name="text" maxlength="200" required> <button>Write</button></form>
<table>{rows}</table>"""


class Counts:
    """What /metrics tells."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = self.writes = self.failures = 0

    def add(self, name: str) -> None:
        """Count one more."""
        with self._lock:
            setattr(self, name, getattr(self, name) + 1)

    def text(self) -> str:
        """In Prometheus' format."""
        names = ("requests", "writes", "failures")
        return "".join(f"# TYPE shop_{n}_total counter\nshop_{n}_total {getattr(self, n)}\n" for n in names)


counts = Counts()
cache = redis.Redis(host=CACHE, socket_timeout=2, socket_connect_timeout=2)


def database() -> psycopg2.extensions.connection:
    """A connection of its own for each request: after the database moved, the next request finds it."""
    return psycopg2.connect(
        host=DATABASE,
        user="shop",
        dbname="postgres",
        password=PASSWORD.read_text().strip(),
        connect_timeout=3,
    )


def ask(words: str, *values: str) -> list[tuple[str, str, str]]:
    """One transaction; its rows, if any."""
    connection = database()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(TABLE)
            cursor.execute(words, values)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def notes() -> dict[str, object]:
    """The newest notes: from the cache, or from the database where the cache has none or is away."""
    found, visits, source = None, 0, "cache"
    with suppress(redis.RedisError):
        visits = cache.incr("visits")
        found = cache.get("notes")
    if found is None:
        source = "database"
        rows = ask("SELECT text, node, at::timestamptz(0)::text FROM notes ORDER BY id DESC LIMIT 20")
        found = json.dumps([{"text": text, "node": node, "at": at} for text, node, at in rows])
        with suppress(redis.RedisError):
            cache.set("notes", found, ex=REMEMBERED)
    return {"node": NODE, "source": source, "visits": visits, "notes": json.loads(found)}


def write(text: str) -> None:
    """Keep a note; whoever reads next asks the database."""
    ask("INSERT INTO notes (text, node) VALUES (%s, %s)", text, NODE)
    counts.add("writes")
    with suppress(redis.RedisError):
        cache.delete("notes")


def page(found: dict) -> str:
    """The notes for a person."""
    rows = "".join(
        f"<tr><td>{html.escape(n['text'])}<td>{html.escape(n['node'])}<td>{html.escape(n['at'])}"
        for n in found["notes"]
    )
    return PAGE.format(rows=rows, node=html.escape(NODE), visits=found["visits"], source=found["source"])


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        counts.add("requests")
        try:
            match self.path.partition("?")[0]:
                case "/":
                    self._say(200, page(notes()), "text/html; charset=utf-8")
                case "/api/notes":
                    self._say(200, json.dumps(notes()), "application/json")
                case "/healthz":
                    self._say(200, "well\n")
                case "/metrics":
                    self._say(200, counts.text())
                case _:
                    self._say(404, "nothing here\n")
        except (psycopg2.Error, OSError) as error:
            self._failed(error)

    def do_POST(self) -> None:
        counts.add("requests")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, LARGEST)).decode("utf-8", "replace")
        text = parse_qs(body).get("text", [""])[0].strip()[:200]
        if self.path != "/notes" or not text or length > LARGEST:
            self.close_connection = True
            self._say(400, "POST /notes with text=...\n")
            return
        try:
            write(text)
        except (psycopg2.Error, OSError) as error:
            self._failed(error)
            return
        self._say(303, "", more={"Location": "/"})

    def _failed(self, error: Exception) -> None:
        counts.add("failures")
        print(f"node={NODE} path={self.path} error={str(error).strip()!r}", file=sys.stderr, flush=True)
        self._say(503, "the database does not answer\n", more={"Retry-After": "2"})

    def _say(
        self, status: int, text: str, kind: str = "text/plain; charset=utf-8", more: dict | None = None
    ) -> None:
        data = text.encode()
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": len(data), **(more or {})}.items():
            self.send_header(key, str(value))
        self.send_header("X-Node", NODE)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        """Nothing: the proxy counts requests."""


def main() -> int:
    """Serve for ever."""
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
