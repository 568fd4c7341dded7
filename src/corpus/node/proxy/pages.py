"""The two pages that the proxy itself answers with."""

from __future__ import annotations

_STYLE = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:20vh auto;padding:0 1rem;"
    "color:#222;background:#fff}@media(prefers-color-scheme:dark){body{color:#ddd;"
    "background:#181818}}h1{font-size:1.5rem}"
)


def _page(title: str, text: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{title}</h1>\n<p>{text}</p>\n</body>\n</html>\n"
    )


UNKNOWN_HOST = _page(
    "No site has this name here",
    "The address leads to this machine, but nobody has routed its host name to an environment.",
)


def maintenance(retry_after: int = 30) -> str:
    """Return the whole HTTP answer of a request that was held in vain, as HAProxy reads it."""
    body = _page("Back in a moment", "This site is being updated. Please try again shortly.")
    head = [
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(body.encode())}",
        f"Retry-After: {retry_after}",
        "Cache-Control: no-store",
    ]
    return "\r\n".join(head) + "\r\n\r\n" + body
