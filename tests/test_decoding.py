"""Whatever a camera, a phone, a scanner or a microscope writes becomes the picture a person sees, or a refusal."""

import os
import struct
import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dabench import data
from dabench.core import DabenchError
from dabench.data.pictures import listed

SIDE = 32
RAMP = np.linspace(0, 255, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint8)
COLOURS = np.stack([RAMP, RAMP.T, 255 - RAMP], axis=2)


def seen(path, channels=3):
    return data.Picture(path.name, 0, path).decoded((channels, SIDE, SIDE), SIDE).astype(int)


def grey(path):
    """The picture's single channel, which all three must be."""
    pixels = seen(path)
    assert (pixels == pixels[:1]).all()
    assert np.abs(seen(path, 1) - pixels[:1]).max() <= 1
    return pixels[0]


def saved(tmp_path, picture, name="picture.png", **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


IN_PNG = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"]
IN_TIFF = [*IN_PNG, "CMYK", "YCbCr", "LAB"]


@pytest.mark.parametrize(
    ("mode", "name"), [*((mode, "a.png") for mode in IN_PNG), *((mode, "a.tif") for mode in IN_TIFF)]
)
def test_a_picture_looks_the_same_in_every_mode(tmp_path, mode, name):
    coloured = mode in ("P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB")
    original = Image.fromarray(COLOURS if coloured else RAMP)
    if mode.startswith("I;16"):
        picture = Image.fromarray(RAMP.astype(">u2" if mode == "I;16B" else "<u2") * 257)
    elif mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.applyTransform(original, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    else:
        picture = original.quantize(256) if mode == "P" else original.convert(mode)
    pixels = seen(saved(tmp_path, picture, name)).transpose(1, 2, 0)
    wanted = COLOURS if coloured else np.repeat(RAMP[:, :, None], 3, axis=2)
    off = np.abs(pixels - wanted).mean()
    assert off < {"1": 100, "P": 12, "LAB": 6}.get(mode, 2), off


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2", "a.pgm"])
def test_sixteen_bits_are_divided_by_257(tmp_path, name):
    deep = np.linspace(0, 65535, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)
    if name.endswith("pgm"):
        (tmp_path / name).write_bytes(b"P5 %d %d 65535\n" % (SIDE, SIDE) + deep.astype(">u2").tobytes())
    else:
        Image.fromarray(deep).save(tmp_path / name)
    assert np.abs(grey(tmp_path / name) - deep / 257).max() <= 1


def tiff(tmp_path, bits, photometric, samples):
    """An uncompressed TIFF of one strip, written by hand: pillow writes neither 12 bits nor inverted 16."""
    tags = [(256, SIDE), (257, SIDE), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, SIDE)]
    tags.append((279, len(samples)))
    directory = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(samples))
    (tmp_path / "a.tif").write_bytes(head + samples + struct.pack("<H", len(tags)) + directory + bytes(4))
    return tmp_path / "a.tif"


def test_twelve_bits_are_bright(tmp_path):
    deep = np.linspace(0, 4095, SIDE * SIDE).astype(np.uint16)
    first, second = deep[::2], deep[1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8)
    assert np.abs(grey(tiff(tmp_path, 12, 1, packed.tobytes())).ravel() - deep * (255 / 4095)).max() <= 1


def test_where_zero_is_white_the_picture_is_no_negative(tmp_path):
    deep = np.linspace(0, 65535, SIDE * SIDE).astype("<u2")
    pixels = grey(tiff(tmp_path, 16, 0, deep.tobytes()))
    assert np.abs(pixels.ravel() - (255 - deep / 257)).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "name"),
    [(np.float32(RAMP) * 3, "a.tif"), (np.float32(RAMP) / 255, "a.tif"), (np.int32(RAMP) * 70000, "a.tif")],
)
def test_numbers_without_a_white_are_refused_in_words(tmp_path, pixels, name):
    path = saved(tmp_path, Image.fromarray(pixels), name)
    with pytest.raises(DabenchError, match=r"a\.tif.*no value is white; save it with 8 or 16 bits"):
        seen(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["phone.jpg", "phone.png", "phone.webp", "phone.tif"])
def test_a_picture_is_turned_as_its_exif_says(tmp_path, orientation, name):
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90"}
    turns |= {7: "TRANSVERSE", 8: "ROTATE_270"}  # what takes the upright picture to the stored one
    upright = Image.fromarray(COLOURS)
    stored = upright.transpose(Image.Transpose[turns[orientation]]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = seen(saved(tmp_path, stored, name, exif=exif, **({"quality": 95} if "jpg" in name else {})))
    assert np.abs(pixels.transpose(1, 2, 0) - COLOURS).mean() < 12


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA", "P", "L", "RGB"])
def test_what_transparency_hides_stays_hidden_under_white(tmp_path, mode):
    options = {}
    if mode in ("LA", "RGBA", "PA"):
        picture = Image.new("RGBA", (SIDE, SIDE), (10, 10, 10, 0)).convert(mode if mode != "PA" else "RGBA")
        if mode == "PA":
            picture = picture.quantize(4)
    else:
        picture = Image.new(mode, (SIDE, SIDE), 0)
        options["transparency"] = (0, 0, 0) if mode == "RGB" else 0
    assert grey(saved(tmp_path, picture, **options)).min() == 255


def test_a_transparent_value_of_sixteen_bits_is_white(tmp_path):
    picture = Image.fromarray(np.full((SIDE, SIDE), 700, np.uint16))
    path = saved(tmp_path, picture, transparency=700)
    assert grey(path).min() == 255


def test_of_several_frames_the_first_is_used_and_said(tmp_path):
    (tmp_path / "x" / "cat").mkdir(parents=True)
    dark, light = Image.new("L", (SIDE, SIDE), 20), Image.new("L", (SIDE, SIDE), 220)
    dark.save(tmp_path / "x" / "cat" / "a.gif", save_all=True, append_images=[light])
    with pytest.warns(UserWarning, match=r"1 pictures with several frames \(such as cat/a.gif\) the first is used"):
        domain = data.decoded(data.pictures_in(tmp_path / "x", ("cat",)), tmp_path / "cache", (3, SIDE, SIDE))
    assert np.abs(domain.images.astype(int) - 20).max() <= 2


def test_a_very_long_picture_is_cropped_before_it_is_enlarged(tmp_path):
    stripe = np.zeros((4, 60_000), np.uint8)
    stripe[:, 29_900:30_100] = 200
    assert grey(saved(tmp_path, Image.fromarray(stripe))).min() == 200


# Whatever bytes a file holds


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 7), changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8))
def test_a_damaged_picture_is_pixels_or_one_clear_error(tmp_path, start, changes):
    kinds = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"]
    path = tmp_path / "damaged.png"
    Image.fromarray(COLOURS).save(path, kinds[start])
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content)
    try:
        pixels = seen(path)
    except DabenchError:
        return
    assert pixels.shape == (3, SIDE, SIDE)


def test_a_page_description_named_as_a_picture_is_handed_to_no_other_program(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n")
    with pytest.raises(DabenchError, match=r"cannot decode a\.png"):
        seen(tmp_path / "a.png")


# Which files of a folder


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8)).save(path, "PNG")


def test_folders_in_folders_and_every_known_ending_are_read_and_the_rest_is_counted(tmp_path):
    for name in ("a.JPG", "b.jfif", "s1/c.pgm", "s1/s2/d.gif", ".hidden/e.png", "._f.png", "__MACOSX/g.png"):
        put(tmp_path / "cat" / name)
    put(tmp_path / "beside.png")
    for name in ("notes.txt", "s1/raw.cr2", "s1/raw2.cr2", "README"):
        (tmp_path / "cat" / name).write_text("no picture")
    listing = listed(tmp_path, ("cat",))
    assert {picture.name for picture in listing.pictures} == {
        "cat/a.JPG",
        "cat/b.jfif",
        "cat/s1/c.pgm",
        "cat/s1/s2/d.gif",
    }
    assert listing.passed_over == {".txt": 1, ".cr2": 2, "no ending": 1, "in no class folder": 1}
    assert "5 files are left out (2 .cr2, 1 .txt" in data.left_out(tmp_path, ("cat",))


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "the file is empty"), (b"<html>404</html>", "no picture of a kind that is known")]
)
def test_what_is_no_picture_is_said_in_words(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DabenchError, match=rf"cannot decode a\.jpg .*: .*{reason}"):
        seen(tmp_path / "a.jpg")


def test_a_link_that_leads_nowhere_is_counted(tmp_path):
    put(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "b.png").symlink_to(tmp_path / "not fetched.png")
    assert listed(tmp_path, ("cat",)).passed_over == {"broken links": 1}


def test_a_folder_that_holds_itself_is_entered_once(tmp_path):
    put(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat")
    assert len(data.pictures_in(tmp_path, ("cat",))) == 1


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_a_name_that_is_not_utf8_can_be_read_and_printed(tmp_path):
    put(tmp_path / "cat" / "a.png")
    os.rename(tmp_path / "cat" / "a.png", os.fsencode(tmp_path / "cat") + b"/caf\xe9.png")
    (picture,) = data.pictures_in(tmp_path, ("cat",))
    assert picture.decoded((1, 8, 8), 8).shape == (1, 8, 8)
    picture.path.write_bytes(b"no picture")
    with pytest.raises(DabenchError) as told:
        picture.decoded((1, 8, 8), 8)
    assert "caf\\udce9.png" in str(told.value).encode().decode()


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_a_class_whose_name_is_not_utf8_is_refused(tmp_path):
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    with pytest.raises(DabenchError, match="not UTF-8; rename it"):
        data.classes_in(tmp_path)


def test_the_same_letters_in_other_bytes_are_the_same_class_and_the_same_split(tmp_path):
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    for place, name in zip("ab", names, strict=True):
        for number in range(10):
            put(tmp_path / place / name / f"é{number}.png")
    assert data.classes_in(tmp_path / "a") == data.classes_in(tmp_path / "b") == (names[0],)
    pictures = [data.pictures_in(tmp_path / place, (names[0],)) for place in "ab"]
    assert [one.name for one in pictures[0]] == [one.name for one in pictures[1]]


# Room


def test_images_that_no_memory_holds_are_refused_before_any_is_decoded(tmp_path):
    put(tmp_path / "cat" / "a.png")
    with pytest.raises(DabenchError, match=r"100000x100000 pixels take .* choose a smaller image size"):
        data.decoded(data.pictures_in(tmp_path, ("cat",)), tmp_path / "cache", (3, 100_000, 100_000))
