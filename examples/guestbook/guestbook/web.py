"""The pages and the small JSON interface."""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict

from flask import Flask, abort, redirect, render_template, request, session, url_for

from guestbook import VERSION, database, store

app = Flask(__name__)
app.config.update(
    # Without a key of its own a page opened before a restart has to be sent again.
    SECRET_KEY=os.environ.get("GUESTBOOK_SECRET_KEY") or secrets.token_hex(),
    SESSION_COOKIE_SAMESITE="Lax",
    MAX_CONTENT_LENGTH=16 * 1024,
)
TITLE = os.environ.get("GUESTBOOK_TITLE", "Guestbook")


def token() -> str:
    """Return the session's token; a form that comes back without it is not ours."""
    return session.setdefault("token", secrets.token_urlsafe(16))


def page(problem: str = "", form: dict[str, str] | None = None, status: int = 200):
    """Show the book."""
    shown = render_template(
        "page.html",
        title=TITLE,
        version=VERSION,
        schema=database.schema(),
        entries=store.entries(),
        count=store.count(),
        problem=problem,
        form=form or {},
        token=token(),
    )
    return shown, status


@app.get("/")
def read():
    """Show the entries and the form."""
    return page()


@app.post("/")
def sign():
    """Take the form."""
    sent = request.form.get("token", "")
    if not secrets.compare_digest(sent.encode(), session.get("token", "").encode()) or not sent:
        return page("The page was open too long. Please send it again.", request.form, 400)
    try:
        number = store.sign(request.form)
    except store.BadEntry as problem:
        return page(str(problem), request.form, 400)
    return redirect(url_for("read", _anchor=f"entry-{number}"), 303)


@app.get("/api/entries")
def list_entries():
    """Return the newest entries."""
    return {"entries": [asdict(entry) for entry in store.entries()]}


@app.post("/api/entries")
def add_entry():
    """Take an entry as JSON, which no foreign page's form can send."""
    form = request.get_json()
    if not isinstance(form, dict):
        abort(400)
    try:
        return {"id": store.sign(form)}, 201
    except store.BadEntry as problem:
        return {"problem": str(problem)}, 400


@app.get("/health")
def health():
    """Say whether the database can be read and is of this version's schema."""
    try:
        found, wanted = database.schema(), store.wanted_schema()
    except database.Error as problem:
        return {"status": "no database", "problem": str(problem)}, 503
    if found != wanted:
        return {"status": "wrong schema", "schema": found, "wanted": wanted}, 503
    return {"status": "ok"}


@app.get("/version")
def version():
    """Say what runs here."""
    return {"version": VERSION, "schema": database.schema(), "entries": store.count()}
