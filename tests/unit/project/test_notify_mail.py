"""The mail of a deployment: its words, whatever is in them, and relays that do not want it."""

from __future__ import annotations

import re
import socket
from email import message_from_bytes
from email.policy import default

import pytest

from corpus.project import notifications
from corpus.project.notifications import mail
from corpus.project.notifications.status import Status, one_line
from sinks import Relay
from sinks import relay as relay
from unit.project.telling import STATUS, TO, Sent, other
from unit.project.telling import send as send


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


def test_one_line() -> None:
    assert one_line("a\r\n\tb\x1b\u202e c ") == "a b c"
    assert one_line("x" * 300, 10) == "x" * 9 + "…"
