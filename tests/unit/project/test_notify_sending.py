"""What is sent, to real sockets, by relays and web servers that are well, ill and hostile."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

import sinks
from corpus.hosts import isolated, kernel
from corpus.model.deployment import Kind, Outcome
from corpus.project import notifications
from corpus.project.log import Log
from corpus.project.notifications import hooks, mail, sending
from corpus.project.notifications.status import Status, one_line
from sinks import Relay, Web

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DOCS = Path(__file__).resolve().parents[3] / "docs"
STATUS = Status(
    project="guestbook",
    deployment="20261122T215948-9f2181c4-7d90-44ea-92ef-eacff4319716",
    outcome=Outcome.LIVE,
    kind=Kind.DEPLOY,
    mode="cooking",
    commit="c" * 40,
    branch="refs/heads/master",
    by="guestbook",
    error="",
    ended=1795384793.102,
    seconds=5.4,
    held=0.8,
    previous="b" * 40,
    subject="Add moods",
    platform="staging",
    environment="a1b2",
    environment_name="web-1",
)


def other(**values: Any) -> Status:
    return Status.parse(STATUS.as_dict() | values)


class Sent:
    """One call of ``send``: how long it took, what the log and the bus got."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.seconds = 0.0

    def __call__(
        self,
        relay: Relay | str = "",
        *urls: str,
        status: Status = STATUS,
        fire: sending.Fire | None = None,
        **setting: Any,
    ) -> list[str]:
        notify = notifications.parse(
            {"hooks": [{"url": url, "secret": SECRET} for url in urls], **setting}, "here"
        )
        address = relay if isinstance(relay, str) else relay.address
        began = time.monotonic()
        sending.send(
            notify,
            address,
            status,
            Log(self.folder / "log", self.lines.append),
            fire or (lambda *event: self.events.append(event)),
        )
        self.seconds = time.monotonic() - began
        return self.lines


@pytest.fixture
def send(tmp_path: Path) -> Sent:
    return Sent(tmp_path)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> float:
    """Make the time for everything short, and return it."""
    monkeypatch.setattr(sending, "LIMIT", 1.0)
    return 1.0


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay().running() as running:
        yield running


@pytest.fixture
def web() -> Iterator[Web]:
    with Web().running() as running:
        yield running


TO = ["ann@example.org", "bob@example.org"]


# -- mail


def test_a_mail(send: Sent, relay: Relay) -> None:
    assert send(relay, mail=TO) == ["       told ann@example.org, bob@example.org"]
    (letter,) = relay.letters
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
    assert relay.envelopes == [(f"corpus@{host}", TO)]
    assert relay.helo == host
    assert letter["Subject"] == "[guestbook] live: cccccccccc Add moods"
    assert letter["From"] == f"corpus@{host}"
    assert letter["To"] == "ann@example.org, bob@example.org"
    assert letter["Message-ID"] == f"<{STATUS.deployment}-live@{host}>"
    assert letter["Date"] == "Sun, 22 Nov 2026 21:59:53 +0000"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Content-Transfer-Encoding"] == "quoted-printable"


def text_of(status: Status) -> str:
    notify = notifications.Notify(mail=("ann@example.org",))
    message = message_from_bytes(mail.compose(notify, status).as_bytes(), policy=default)
    return str(message.get_content()).replace("\r\n", "\n")


def test_the_words_of_one_that_is_live() -> None:
    assert (
        text_of(STATUS)
        == f"""\
The deployment of guestbook in web-1 (staging) is live.

  commit       {"c" * 40} Add moods
  branch       master
  by           guestbook
  mode         cooking
  took         5.4 s, visitors waited for 0.8 s
  deployment   {STATUS.deployment}
  environment  a1b2

Live now: {"c" * 40}, before it {"b" * 40}.

To see more, as root in the environment:

    salt-call --local mc_project.report guestbook limit=1
    less /srv/projects/guestbook/.corpus/logs/{STATUS.deployment}.log
"""
    )


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("refused", "was refused. Nothing was touched"),
        ("rolled_back", "failed and was undone: code and data are those of before."),
    ],
)
def test_the_words_of_one_that_failed(outcome: str, said: str) -> None:
    text = text_of(other(outcome=outcome, error="build failed\n  where: line 3"))
    assert said in text
    assert f"Live now: {'b' * 40}.\n" in text
    assert "What went wrong:\n\n    build failed\n      where: line 3\n" in text
    first = other(outcome=outcome, previous="")
    assert "Live now: nothing, as before." in text_of(first)


def test_the_words_when_a_person_is_needed() -> None:
    status = other(outcome="rollback_failed", error="dump: restore failed")
    text = text_of(status)
    assert "Visitors are held off, everything is kept" in text
    assert f"Live now: nothing that is certain, before it {'b' * 40}." in text
    assert "systemctl restart corpus-deploy" in text
    assert status.live == ""
    subject = mail.compose(notifications.Notify(mail=("a@b.c",)), status)["Subject"]
    assert subject.startswith("[guestbook] ROLLBACK FAILED: cccc")


@pytest.mark.parametrize(("kind", "noun"), [("rollback", "rollback"), ("promote", "promotion")])
def test_kinds(kind: str, noun: str) -> None:
    status = other(kind=kind)
    assert text_of(status).startswith(f"The {noun} of guestbook in web-1")
    subject = mail.compose(notifications.Notify(mail=("a@b.c",)), status)["Subject"]
    assert subject.startswith(f"[guestbook] live ({noun}): ")


def test_hostile_words_stay_words(send: Sent, relay: Relay) -> None:
    subject = "x\r\nBcc: eve@example.org\r\n\r\n.\r\nMAIL FROM:<eve@example.org> \x1b[2J\u202e é"
    send(relay, mail=TO, status=other(subject=subject, error="\r\n.\r\nQUIT\r\n\x1b[2J\n" * 3))
    (letter,) = relay.letters
    assert letter["Bcc"] is None
    assert relay.envelopes[0][1] == TO
    whole = message_from_bytes(letter.as_bytes(), policy=default)
    assert "MAIL FROM:<eve@example.org> [2J é" in whole["Subject"]
    assert "\x1b" not in str(whole.get_content())


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"mail FROM": "550 not you"}, "550 not you"),
        ({"rcpt TO": "550 no such user"}, "ann@example.org: 550 no such user; bob@example.org"),
        ({"rcpt TO:<ann": "551 moved"}, "ann@example.org: 551 moved"),
        ({"data": "451 later"}, "451 later"),
        ({".": "554 \x1b[2Jspam " + "x" * 600}, "554 [2Jspam xxx"),
        ({"ehlo": "421 busy", "helo": "421 busy"}, "421 busy"),
    ],
)
def test_a_relay_that_does_not_want_it(send: Sent, answers: dict[str, str], said: str) -> None:
    with Relay(answers).running() as relay:
        (line,) = send(relay, mail=TO)
    assert line.startswith(" !     mail to ann@example.org, bob@example.org was not accepted: ")
    assert said in line
    assert len(line) < 520
    assert "\x1b" not in line


def test_one_who_is_refused_keeps_no_other_from_his_mail(send: Sent) -> None:
    with Relay({"rcpt TO:<ann": "550 gone"}).running() as relay:
        send(relay, mail=TO)
    assert [to for _, to in relay.envelopes] == [["bob@example.org"]]


def test_a_relay_that_hangs_after_it_took_it(send: Sent) -> None:
    with Relay(silent=("quit",)).running() as relay:
        assert send(relay, mail=TO) == ["       told ann@example.org, bob@example.org"]
    assert send.seconds < 8


def test_no_relay(send: Sent) -> None:
    (line,) = send("", mail=TO)
    assert line.endswith("was not accepted: this environment has no mail relay")


@pytest.mark.parametrize("address", ["", "x:y", "a b:25", "relay:0", "relay:99999", "-\n"])
def test_no_address_of_a_relay(address: str) -> None:
    with pytest.raises(OSError, match="host:port"):
        mail.address(address)


def test_addresses_of_relays() -> None:
    assert mail.address("10.0.3.1:2525") == ("10.0.3.1", 2525)
    assert mail.address("relay.example.org") == ("relay.example.org", 25)
    assert mail.address("[fd00::1]:25") == ("fd00::1", 25)


# -- web hooks


def test_a_post(send: Sent, web: Web) -> None:
    assert send("", f"{web.url}/T1/X?y=1") == [f"       told {web.url}"]
    ((path, headers, _body),) = web.posts
    assert path == "/T1/X?y=1"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == f"{STATUS.deployment}-live"
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 30
    (told,) = web.told
    assert told["type"] == "deployment.live"
    assert told["timestamp"] == "2026-11-22T21:59:53.102Z"
    assert told["data"] == STATUS.as_dict()


def test_the_documented_way_to_verify(send: Sent, web: Web) -> None:
    page = (DOCS / "reference/notifications.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    send("", web.url)
    ((_path, headers, body),) = web.posts
    assert names["is_ours"](SECRET, headers, body)
    assert not names["is_ours"](SECRET, headers, body + b" ")
    assert not names["is_ours"](SECRET.replace("M", "N"), headers, body)
    assert not names["is_ours"](SECRET, headers | {"webhook-timestamp": "1"}, body)


def test_the_signature_of_the_specification() -> None:
    """The example that the specification's own libraries test with."""
    hook = notifications.parse({"hooks": [{"url": "http://x", "secret": SECRET}]}, "").hooks[0]
    given = hooks.headers(hook, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert given["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_documented_keys() -> None:
    page = (DOCS / "reference/notifications.md").read_text()
    table = page.partition("\n## The status\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {word for row in rows for word in re.findall(r"`(\w+)`", row)} == set(STATUS.as_dict())


def test_another_attempt(send: Sent) -> None:
    with Web([503, 500]).running() as web:
        assert send("", web.url) == [f"       told {web.url}"]
    assert len({headers["webhook-id"] for _, headers, _ in web.posts}) == 1
    assert len(web.posts) == 3
    assert 1.4 < send.seconds < 8


@pytest.mark.parametrize(
    ("answers", "posts", "said"),
    [
        ([404], 1, "it answered 404"),
        ([401, 204], 1, "it answered 401"),
        ([302], 1, "it answered 302, and redirects are not followed"),
        ([500, 502, 503], 3, "it answered 503"),
    ],
)
def test_a_server_that_does_not_want_it(
    send: Sent, answers: list[int], posts: int, said: str
) -> None:
    with Web(answers).running() as web:
        (line,) = send("", f"{web.url}/secret-path")
    assert line == f" !     the web hook {web.url} did not take it: {said}"
    assert len(web.posts) == posts


def test_no_proxy_of_the_environment(send: Sent, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send("", web.url) == [f"       told {web.url}"]


def test_a_body_without_end_is_not_read(send: Sent) -> None:
    with sinks.listening(sinks.stream(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        assert send("", f"http://127.0.0.1:{port}") == [f"       told http://127.0.0.1:{port}"]
    assert send.seconds < 8


def test_a_certificate_of_nobody_known(send: Sent, soon: float) -> None:
    with sinks.listening(sinks.stream(b"no TLS at all")) as port:
        (line,) = send("", f"https://127.0.0.1:{port}")
    assert "did not take it" in line


# -- whatever there is


HTTP_HEAD = b"HTTP/1.1 200 OK\r\n"
ILL: dict[str, sinks.Talk] = {
    "hangs": sinks.hang,
    "hangs up": sinks.hang_up,
    "drips": sinks.drip,
    "streams": sinks.stream(b""),
    "streams a header": sinks.stream(HTTP_HEAD + b"X: "),
    "goes on and on": sinks.stream(b"HTTP/1.1 100 Go on\r\n\r\n", again=True),
}


@pytest.mark.parametrize("talk", ILL.values(), ids=ILL)
def test_all_that_is_ill_takes_the_time_for_all_at_most(
    send: Sent, soon: float, talk: sinks.Talk, web: Web
) -> None:
    with sinks.listening(talk) as port:
        lines = send(f"127.0.0.1:{port}", f"http://127.0.0.1:{port}", web.url, mail=TO)
    assert send.seconds < soon + 3
    assert len(lines) == 3, lines
    assert lines[0].startswith(" !     mail to ann@example.org, bob@example.org was not acc")
    assert lines[1].startswith(f" !     the web hook http://127.0.0.1:{port} did not take it: ")
    assert lines[2] == f"       told {web.url}"
    assert send.events


def test_nobody_listens(send: Sent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    lines = send(f"127.0.0.1:{port}", f"http://127.0.0.1:{port}", mail=TO)
    assert len(lines) == 2
    assert all("Connection refused" in line for line in lines)
    assert 1.4 < send.seconds < 8  # the pauses before the second and the third attempt


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts, and answers as a name server")
def test_a_name_server_that_does_not_answer(send: Sent, soon: float, tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.86.74.53\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")

    def work() -> tuple[list[str], float]:
        for name in ("resolv.conf", "nsswitch.conf"):
            kernel.bind_mount(tmp_path / name, Path("/etc") / name)
        with socket.socket(type=socket.SOCK_DGRAM) as silent:
            silent.bind(("127.86.74.53", 53))
            lines = send("relay.example.org:25", "http://hooks.example.org", mail=TO)
            assert silent.recv(512), "nobody was asked"
            return lines, send.seconds

    lines, seconds = isolated.run(work)
    assert [line.rpartition(": ")[2] for line in lines] == ["no answer within 1 s"] * 2
    assert soon <= seconds < soon + 3


def test_an_event(send: Sent) -> None:
    assert send() == []
    assert send.events == [("corpus/deployment/guestbook/live", STATUS.as_dict())]


def raises(*_event: object) -> None:
    raise RuntimeError("no bus\nat all")


def hangs(*_event: object) -> None:
    time.sleep(20)


@pytest.mark.parametrize(
    ("fire", "said"), [(raises, "no bus at all"), (hangs, "no answer within 0.3 s")]
)
def test_a_bus_that_is_ill(
    send: Sent, web: Web, monkeypatch: pytest.MonkeyPatch, fire: Callable[..., None], said: str
) -> None:
    monkeypatch.setattr(sending, "EVENT_LIMIT", 0.3)
    lines = send("", web.url, fire=fire)
    assert lines == [f" !     no event on Salt's bus: {said}", f"       told {web.url}"]
    assert send.seconds < 8


def test_the_time_for_all_is_ten_seconds() -> None:
    assert (sending.LIMIT, sending.EVENT_LIMIT) == (10.0, 2.0)


def test_one_line() -> None:
    assert one_line("a\r\n\tb\x1b\u202e c ") == "a b c"
    assert one_line("x" * 300, 10) == "x" * 9 + "…"
