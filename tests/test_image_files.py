"""Image files from anywhere: limits, formats, and names of members."""

import io

import numpy as np
import pytest
from PIL import Image

from hmeg.evaluation.image_files import decode, sample_and_suffix, width_of


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
    assert width_of(encoded(7, 3), "x") == 7


@pytest.mark.parametrize("read", [decode, width_of])
@pytest.mark.parametrize("data", [b"", b"rubbish", encoded(7, 3)[:20], encoded(7, 3, "GIF")])
def test_other_files_are_refused(read, data):
    with pytest.raises(ValueError, match=r"^place is no readable image"):
        read(data, "place")


def test_too_many_pixels_are_refused():
    with pytest.raises(ValueError, match="place: 9000 x 1 pixels are more than is read here"):
        decode(encoded(9000, 1), "place")
