from pathlib import Path

from corpus.commands import layers


def test_pack_leaves_no_trace_of_when_and_who() -> None:
    command = layers.pack(Path("/tree"), Path("/a.tar.zst"))
    assert {"--sort=name", "--numeric-owner", "--xattrs-include=security.capability"} <= {*command}
    assert command[-1] == "."


def test_unpack_keeps_numbers() -> None:
    command = layers.unpack(Path("/a.tar.zst"), Path("/t"))
    assert {"--extract", "--directory=/t", "--numeric-owner"} <= {*command}


def test_overlay_has_the_topmost_first() -> None:
    command = layers.mount_overlay([Path("/b"), Path("/a")], Path("/u"), Path("/w"), Path("/t"))
    assert command[4].startswith("lowerdir=/b:/a,upperdir=/u,workdir=/w")
    assert command[-1] == "/t"


def test_memory() -> None:
    assert "size=64m,mode=1777" in layers.mount_memory(Path("/t"), 64, mode=0o1777)


def test_a_part_of_a_layer_is_unpacked_without_what_it_lies_in() -> None:
    command = layers.unpack_below(Path("/a"), Path("/opt/corpus"), Path("/t"))
    assert {"--strip-components=3", "--directory=/t"} <= {*command}
    assert command[-1] == "./opt/corpus"
