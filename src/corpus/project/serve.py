"""What a paired environment may ask over SSH: the releases and commits of one project, to read.

It is the forced command of the account ``corpus-releases``, one line of whose authorized keys
names the project's directory; it runs alone, nothing of corpus is imported. SSH hands over what
was asked, by a machine that may be anybody's by now:

``list``               the newest releases, a JSON object a line: manifest and signature
``get FILE [OFFSET]``  the bytes of one file of a release, from an offset on
``git-upload-pack …``  git's protocol for the project's repository, whatever path was asked

Only files of releases that this account can read are served, through no link.
"""

import json
import os
import re
import stat
import sys

ID = r"\d{8}T\d{6}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
REST = r"(?:\.[a-z0-9][a-z0-9-]{0,40})?\.tar\.zst|\.manifest\.json(?:\.sig)?"
MANIFEST = ".manifest.json"
LISTED = 50
TEXT = 64 << 10
CHUNK = 1 << 18


def main(root: str, asked: str) -> None:
    """Answer what was ``asked`` about the project in the directory ``root``."""
    words = asked.split(" ")
    if asked == "list":
        show(root)
    elif words[0] == "get" and len(words) in (2, 3):
        send(root, words[1], words[2] if len(words) == 3 else "0")
    elif words[0] == "git-upload-pack":
        upload_pack(f"{root}/git/project.git")
    else:
        refuse("only list, get and git-upload-pack are answered here")


def refuse(why: str) -> None:
    """End, and tell the other side why."""
    sys.exit(f"refused: {why}")


def opened(root: str, name: str) -> int:
    """Return a descriptor of a file of a release. Raises OSError."""
    # The directory is root's and its names have no slash: nothing can be led elsewhere.
    handle = os.open(f"{root}/releases/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("not a file")
    return handle


def is_release_file(root: str, name: str) -> bool:
    """Tell whether ``name`` is that of a file of a release of this project."""
    project = re.escape(root.rpartition("/")[2])
    return bool(re.fullmatch(f"{project}-{ID}(?:{REST})", name, re.ASCII))


def show(root: str) -> None:
    """Write manifest and signature of each release, the newest first."""
    names = [name for name in os.listdir(f"{root}/releases") if name.endswith(MANIFEST)]  # noqa: PTH208
    found = [name for name in sorted(names, reverse=True) if is_release_file(root, name)]
    for name in found[:LISTED]:
        try:
            texts = [text(root, name), text(root, f"{name}.sig")]
        except (OSError, ValueError):
            continue  # half written, removed meanwhile, or not for this account
        print(json.dumps(dict(zip(("manifest", "signature"), texts, strict=True))))


def text(root: str, name: str) -> str:
    """Return the text of a small file. Raises OSError, ValueError."""
    with open(opened(root, name), "rb") as file:
        data = file.read(TEXT + 1)
    if len(data) > TEXT:
        raise ValueError("too large")
    return data.decode("ascii")


def send(root: str, name: str, offset: str) -> None:
    """Write the bytes of a file from ``offset`` on."""
    if not is_release_file(root, name):
        refuse("not a file of a release of this project")
    if not re.fullmatch(r"\d{1,15}", offset, re.ASCII):
        refuse("not an offset")
    try:
        handle = opened(root, name)
    except OSError:
        refuse("no such file")
    with open(handle, "rb", buffering=0) as file:  # noqa: PTH123
        file.seek(int(offset))
        while data := file.read(CHUNK):
            sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def upload_pack(repository: str) -> None:
    """Become git's server of commits for ``repository``, deaf to other configuration."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/",
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    # Its owner is the project's account, another one than this; a release's commit may lie
    # behind the branch's tip.
    settings = [f"safe.directory={repository}", "uploadpack.allowAnySHA1InWant=true"]
    options = [word for setting in settings for word in ("-c", setting)]
    command = ["git", *options, "upload-pack", "--strict", "--timeout=60", repository]
    os.execve("/usr/bin/git", command, environment)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), os.environ.get("SSH_ORIGINAL_COMMAND", ""))
