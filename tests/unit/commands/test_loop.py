from __future__ import annotations

from pathlib import PurePath

from corpus.commands import loop

MOUNTINFO = r"""
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
88 22 0:44 / /var/lib/corpus-lab/demo/pool rw,noatime - btrfs /dev/loop3 rw,space_cache=v2
90 22 0:44 /state /mnt/with\040space rw shared:7 master:2 - btrfs /dev/loop3 rw
""".strip()


def test_a_filesystem_is_made_whatever_lay_in_the_file() -> None:
    argv = loop.make_btrfs(PurePath("/x/pool.img"), "corpus-demo")
    assert argv[0] == "mkfs.btrfs"
    assert argv[-1] == "/x/pool.img"
    assert "--label=corpus-demo" in argv


def test_a_copy_gets_an_id_without_a_question_asked() -> None:
    assert loop.own_id(PurePath("/x/a.part")) == ["btrfstune", "-f", "-m", "/x/a.part"]


def test_an_ext4_leaves_no_writing_to_the_kernel() -> None:
    argv = loop.make_ext4(PurePath("/x/node2.img"), "demo-node2")
    assert argv[0] == "mkfs.ext4"
    assert argv[-3:] == ["-L", "demo-node2", "/x/node2.img"]
    assert "nodiscard" not in argv  # it would not know that inode tables are empty
    mount = loop.mount_ext4(PurePath("/x/node2.img"), PurePath("/x/node2"))
    assert mount[:3] == ["mount", "-t", "ext4"]
    assert mount[-2:] == ["/x/node2.img", "/x/node2"]


def test_loop_devices_are_parsed_with_the_paths_of_removed_files() -> None:
    text = "/dev/loop0 /a/pool.img\n/dev/loop1 /b/p.img\\x20(deleted)\n/dev/loop2 /c\\x20d/p.img\n"
    assert loop.parse_loops(text) == {
        "/dev/loop0": "/a/pool.img",
        "/dev/loop1": "/b/p.img",
        "/dev/loop2": "/c d/p.img",
    }


def test_mounts_are_parsed_with_optional_fields_and_escapes() -> None:
    assert loop.parse_mounts(MOUNTINFO) == [
        loop.Mount("/", "ext4", "/dev/vda"),
        loop.Mount("/var/lib/corpus-lab/demo/pool", "btrfs", "/dev/loop3"),
        loop.Mount("/mnt/with space", "btrfs", "/dev/loop3"),
    ]
