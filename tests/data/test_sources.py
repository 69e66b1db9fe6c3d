"""Files out of files, folders and archives: order, suffixes, damage, hostile names."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from hmeg.data import sources
from hmeg.data.sources import SourceError, is_archive, iter_files

FILES = {"b.inkml": b"B", "a/2.inkml": b"2", "a/1.INKML": b"1", "a/note.txt": b"n", "c/d/3.inkml": b"3"}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "folder"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def archive_of(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_a_file_is_yielded_whatever_its_suffix(folder):
    assert list(iter_files(folder / "a" / "note.txt", (".inkml",))) == [("note.txt", b"n")]
    assert list(iter_files(str(folder / "b.inkml"))) == [("b.inkml", b"B")]


def test_a_folder_is_searched_in_sorted_order(folder):
    assert [name for name, _ in iter_files(folder, (".inkml",))] == ["b.inkml", "a/1.INKML", "a/2.inkml", "c/d/3.inkml"]
    assert dict(iter_files(folder)) == FILES


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_is_read_in_its_own_order_whatever_its_name(tmp_path, mode):
    path = archive_of(tmp_path / "some.data", FILES, mode)
    assert is_archive(path)
    wanted = [(name, data) for name, data in FILES.items() if name.lower().endswith(".inkml")]
    assert list(iter_files(path, (".inkml",))) == wanted


def test_names_in_an_archive_are_labels_and_never_places(tmp_path):
    files = {"../../outside.lg": b"1", "/etc/absolute.lg": b"2", "._companion.lg": b"3"}
    path = archive_of(tmp_path / "a.tar", files)
    before = sorted(p.name for p in tmp_path.parent.iterdir())
    assert [name for name, _ in iter_files(path, (".lg",))] == ["../../outside.lg", "/etc/absolute.lg"]
    assert sorted(p.name for p in tmp_path.parent.iterdir()) == before


def test_links_in_an_archive_are_passed_over(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("link.lg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        fifo = tarfile.TarInfo("fifo.lg")
        fifo.type = tarfile.FIFOTYPE
        archive.addfile(fifo)
    assert list(iter_files(path)) == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("suffixes", [(), (".inkml",)])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
def test_an_archive_that_breaks_off_is_damaged(tmp_path, mode, suffixes, kept):
    path = archive_of(tmp_path / "a.tar", {f"{i}.lg": os.urandom(5000) for i in range(20)}, mode)
    assert len(list(iter_files(path))) == 20
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(SourceError, match=r"a\.tar: damaged archive"):
        list(iter_files(path, suffixes))


def test_an_archive_that_breaks_off_between_members_is_damaged(tmp_path):
    path = archive_of(tmp_path / "a.tar", {"1.lg": b"1" * 512, "2.lg": b"2"})
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(SourceError, match="breaks off"):
        list(iter_files(path))


@pytest.mark.parametrize("data", [b"", b"this is no archive", b"\xfd7zXZ\x00 nor this", bytes(range(256)) * 8])
def test_what_is_named_an_archive_and_is_none(tmp_path, data):
    path = tmp_path / "a.tar.xz"
    path.write_bytes(data)
    with pytest.raises(SourceError, match="damaged archive"):
        list(iter_files(path))


@pytest.mark.parametrize("packed", [False, True])
def test_too_large_a_file_is_left_out_and_the_rest_goes_on(folder, tmp_path, monkeypatch, packed):
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 1)
    (folder / "a" / "2.inkml").write_bytes(b"22")
    source = archive_of(tmp_path / "a.tar", {**FILES, "a/2.inkml": b"22"}) if packed else folder
    refused = []
    names = {name for name, _ in iter_files(source, (), lambda name, reason: refused.append((name, reason)))}
    assert names == set(FILES) - {"a/2.inkml"}
    assert refused == [("a/2.inkml", "larger than 0 MiB")]
    with pytest.raises(SourceError, match=r"a/2\.inkml: larger"):
        list(iter_files(source))


def test_what_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="no such file or folder"):
        list(iter_files(tmp_path / "none"))
    assert not is_archive(tmp_path / "none")
    assert not is_archive(tmp_path)


def test_a_pipe_is_no_source(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="neither a file nor a folder"):
        list(iter_files(tmp_path / "pipe"))
    assert list(iter_files(tmp_path)) == []
