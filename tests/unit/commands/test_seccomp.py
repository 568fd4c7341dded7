from __future__ import annotations

from corpus.commands import seccomp


def test_calls_that_name_quota_groups_are_refused_whatever_their_upper_bits() -> None:
    lines = seccomp.profile().splitlines()
    assert lines[:2] == ["2", "denylist"]
    assert "reject_force_umount" in lines
    assert "open_by_handle_at errno 1" in lines
    for number in ("0x50009417", "0x50009418"):
        assert f"ioctl errno 25 [1,{number},SCMP_CMP_MASKED_EQ,0xffffffff]" in lines
