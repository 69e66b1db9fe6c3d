"""Image files from anywhere: limits, formats, and names of members."""

import io

import numpy as np
import pytest
from PIL import Image

from hmeg.image_sets.image_files import Piece, decode, is_image_name, is_plain_name, sample_and_suffix, size_of


def encoded(width, height, format="PNG"):
    file = io.BytesIO()
    Image.new("L", (width, height), 200).save(file, format=format)
    return file.getvalue()


@pytest.mark.parametrize(
    ("member", "sample", "suffix"),
    [
        ("000000.png", "000000", ".png"),
        ("./000000.png", "./000000", ".png"),
        ("v1.0/a/000.seg.png", "v1.0/a/000", ".seg.png"),
        ("nothing", "nothing", ""),
    ],
)
def test_members_are_split_at_the_first_dot_of_their_last_part(member, sample, suffix):
    assert sample_and_suffix(member) == (sample, suffix)


def test_images_are_read():
    pixels = decode(encoded(7, 3), "x")
    assert pixels.shape == (3, 7) and pixels.dtype == np.uint8 and (pixels == 200).all()
    assert size_of(encoded(7, 3), "x") == (7, 3)


def png(image, **options):
    file = io.BytesIO()
    image.save(file, format="PNG", **options)
    return file.getvalue()


def with_alpha(mode, ink):
    """One row: transparent, half covered, covered by ink; the transparent pixel's colour is that of the ink."""
    image = Image.new(mode, (3, 1), (ink, 0) if mode == "LA" else (ink, ink, ink, 0))
    image.putalpha(Image.fromarray(np.array([[0, 128, 255]], np.uint8)))
    return image


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_images_lie_on_white_paper(mode):
    assert decode(png(with_alpha(mode, 0)), "x").tolist() == [[255, 127, 0]]
    assert decode(png(with_alpha(mode, 100)), "x").tolist() == [[255, 177, 100]]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_white_ink_without_paper_lies_on_black(mode):
    assert decode(png(with_alpha(mode, 255)), "x").tolist() == [[0, 128, 255]]
    assert decode(png(Image.new(mode, (2, 1), "white")), "x").tolist() == [[255, 255]], "opaque: a white page"
    nothing = Image.new(mode, (2, 1), (255, 0) if mode == "LA" else (255, 255, 255, 0))
    assert decode(png(nothing), "x").tolist() == [[255, 255]]


def test_a_transparent_colour_of_a_palette_or_of_grey_is_paper():
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    palette.putpalette([0, 0, 0, 10, 10, 10, 200, 200, 200])
    assert decode(png(palette), "x").tolist() == [[0, 10, 200]]
    assert decode(png(palette, transparency=0), "x").tolist() == [[255, 10, 200]]
    grey = Image.fromarray(np.array([[0, 1, 200]], np.uint8))
    assert decode(png(grey, transparency=0), "x").tolist() == [[255, 1, 200]]


def test_16_bits_of_grey_are_scaled_to_8():
    image = Image.fromarray(np.array([[0, 128, 129, 257 * 100, 257 * 254, 65535]], np.uint16))
    assert decode(png(image), "x").tolist() == [[0, 0, 1, 100, 254, 255]]
    assert decode(png(image, transparency=0), "x").tolist() == [[255, 0, 1, 100, 254, 255]]


def test_errors_name_no_objects_in_memory():
    for read in (decode, size_of):
        with pytest.raises(ValueError, match=r"^place is no readable image \(neither PNG nor JPEG nor BMP") as raised:
            read(b"rubbish", "place")
        assert "object at" not in str(raised.value)


@pytest.mark.parametrize("read", [decode, size_of])
@pytest.mark.parametrize("data", [b"", b"rubbish", encoded(7, 3)[:20], encoded(7, 3, "GIF")])
def test_other_files_are_refused(read, data):
    with pytest.raises(ValueError, match=r"^place is no readable image"):
        read(data, "place")


def test_too_many_pixels_are_refused():
    with pytest.raises(ValueError, match="place: 9000 x 1 pixels are more than is read here"):
        decode(encoded(9000, 1), "place")


def test_pieces_of_files_are_read_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    assert Piece(path, 2, 3).read() == b"234"
    for piece, problem in (
        (Piece(path, 8, 3), "f: it breaks off"),
        (Piece(path, 0, -1), "f: -1 bytes are more than"),
        (Piece(path, 0, 1 << 40), "f: 1,099,511,627,776 bytes are more than any image"),
        (Piece(tmp_path / "g", 0, 1), "g: No such file"),
    ):
        with pytest.raises(ValueError, match=problem):
            piece.read()


def test_names():
    for name in ("", ".", "..", "a/b", "/a", "../a", "a/", 3, None):
        assert not is_plain_name(name)
    assert is_plain_name("a.png") and is_plain_name("a b")
    assert is_image_name("data/img/a.BMP") and not is_image_name("data/._a.png") and not is_image_name("a.txt")
