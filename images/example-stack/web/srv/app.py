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
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import psycopg2
import redis

NODE = os.environ.get("NODE", "")
DATABASE = os.environ.get("DATABASE", "tasks.db")
CACHE = os.environ.get("CACHE", "tasks.cache")
PASSWORD = Path(os.environ.get("PASSWORD_FILE", "/secret/db-password"))
PORT = 8080
REMEMBERED = 5
PATIENCE = 0.3
"""Seconds that a request waits for the cache, which is there to make it faster."""
AWAY = 5.0
"""Seconds for which a cache that did not answer is not asked again."""
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


class Database:
    """One connection that all requests take turns at: making one costs more than using it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: psycopg2.extensions.connection | None = None

    def ask(self, words: str, *values: str) -> list[tuple[str, str, str]]:
        """One transaction; its rows, if any. After a failure the next looks where the database is then."""
        with self._lock:
            try:
                connection = self._connection = self._connection or self._connect()
                with connection, connection.cursor() as cursor:
                    cursor.execute(words, values)
                    return cursor.fetchall() if cursor.description else []
            except psycopg2.Error:
                if self._connection is not None:
                    self._connection.close()
                self._connection = None
                raise

    def _connect(self) -> psycopg2.extensions.connection:
        password = PASSWORD.read_text().strip()
        alive = {
            "keepalives_idle": 3,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 8000,
        }
        connection = psycopg2.connect(
            host=DATABASE, user="shop", dbname="shop", password=password, connect_timeout=10, **alive
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(TABLE)
        return connection


class Cache:
    """Redis, or nothing for a few seconds after it did not answer: no request waits for it twice."""

    def __init__(self) -> None:
        self._redis = redis.Redis(host=CACHE, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
        self._away = 0.0

    def ask(self, command: str, *words: object, **more: object) -> Any:
        """What it answers; None where it does not."""
        if time.monotonic() < self._away:
            return None
        try:
            return getattr(self._redis, command)(*words, **more)
        except redis.RedisError:
            self._away = time.monotonic() + AWAY
            return None


database, cache = Database(), Cache()


class Notes:
    """The newest notes: from the cache, else what this process read last while it reads them anew."""

    def __init__(self) -> None:
        self._last: str | None = None
        self._reading = threading.Lock()

    def newest(self) -> dict[str, object]:
        """They, whence they come, and how often somebody has asked."""
        visits, found, source = cache.ask("incr", "visits") or 0, cache.ask("get", "notes"), "cache"
        if found is None and self._last is None:
            found, source = self.read(), "database"
        elif found is None:
            found, source = self._last, "memory"
            threading.Thread(target=self._again, daemon=True).start()
        return {"node": NODE, "source": source, "visits": visits, "notes": json.loads(found or "[]")}

    def write(self, text: str) -> None:
        """Keep a note; whoever reads next finds it."""
        database.ask("INSERT INTO notes (text, node) VALUES (%s, %s)", text, NODE)
        counts.add("writes")
        cache.ask("delete", "notes")
        with suppress(psycopg2.Error):
            self.read()

    def read(self) -> str:
        """From the database, for this process and the cache."""
        rows = database.ask(
            "SELECT text, node, at::timestamptz(0)::text FROM notes ORDER BY id DESC LIMIT 20"
        )
        self._last = json.dumps([{"text": text, "node": node, "at": at} for text, node, at in rows])
        cache.ask("set", "notes", self._last, ex=REMEMBERED)
        return self._last

    def _again(self) -> None:
        if self._reading.acquire(blocking=False):
            try:
                self.read()
            except (psycopg2.Error, OSError) as error:
                failed("reading", error)
            finally:
                self._reading.release()


notes = Notes()


def failed(path: str, error: Exception) -> None:
    """Count and tell a request that the database did not serve."""
    counts.add("failures")
    print(f"node={NODE} path={path} error={str(error).strip()!r}", file=sys.stderr, flush=True)


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
                    self._say(200, page(notes.newest()), "text/html; charset=utf-8")
                case "/api/notes":
                    self._say(200, json.dumps(notes.newest()), "application/json")
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
            notes.write(text)
        except (psycopg2.Error, OSError) as error:
            self._failed(error)
            return
        self._say(303, "", more={"Location": "/"})

    def _failed(self, error: Exception) -> None:
        failed(self.path, error)
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
