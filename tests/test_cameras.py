import numpy as np
import pytest

from dabench.core import DabenchError
from dabench.data.cameras import Power, Rotated


def _random_images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8)


def test_turning_by_nothing_changes_nothing_but_rounding():
    images = _random_images(4, 32)
    assert np.abs(Rotated(0).apply(images).astype(int) - images).max() <= 1


def _cielab(rgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 255], shape (..., 3), to CIELAB with the D65 white, written from its definition."""
    scaled = rgb / 255
    linear = np.where(scaled > 0.04045, ((scaled + 0.055) / 1.055) ** 2.4, scaled / 12.92)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    relative = linear @ to_xyz.T / [0.9505, 1, 1.089]
    root = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def test_the_reference_knows_the_published_value_of_red():
    assert np.abs(_cielab(np.array([255, 0, 0])) - [53.24, 80.09, 67.20]).max() < 0.1


def test_rotated_keeps_luminosity_and_turns_the_hue_where_nothing_clips():
    images = 116 + _random_images(4, 32) // 10  # nearly grey, so that no colour leaves sRGB
    before, after = (_cielab(np.moveaxis(some, 1, 3)) for some in (images, Rotated(150).apply(images)))
    assert np.abs(before[..., 0] - after[..., 0]).max() < 0.5
    turned = (before[..., 1] + 1j * before[..., 2]) * np.exp(1j * np.radians(150))
    assert np.abs(turned - (after[..., 1] + 1j * after[..., 2])).max() < 1


def test_power_raises_each_channel_to_its_own_power():
    images = np.array([0, 51, 255], np.uint8).reshape(3, 1, 1, 1).repeat(3, axis=1)
    expected = [[0, 0, 0], [185, 157, 134], [255, 255, 255]]
    assert Power().apply(images)[:, :, 0, 0].tolist() == expected


def test_power_loses_information_when_quantised():
    images = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1).repeat(3, axis=1)
    assert [len(np.unique(channel)) for channel in Power().apply(images).swapaxes(0, 1)] == [120, 149, 173]


@pytest.mark.slow
def test_many_pictures_are_looked_up_in_a_table_that_agrees():
    images = _random_images(110, 224)
    assert (Rotated(150).apply(images)[:2] == Rotated(150).apply(images[:2])).all()


@pytest.mark.parametrize("camera", [Rotated(), Power()])
def test_a_camera_refuses_grey_images(camera):
    with pytest.raises(DabenchError, match="RGB images"):
        camera.apply(np.zeros((2, 1, 8, 8), np.uint8))
