import pytest

from dabench.core import Setting
from dabench.report.palette import LOOKS, MARKERS


def luminance(colour):
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, two):
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("setting", Setting)
def test_a_mark_can_be_seen_on_the_light_and_on_the_dark_page(setting):
    look = LOOKS[setting]
    assert contrast(look.light, "#ffffff") >= 3
    assert contrast(look.dark, "#14171b") >= 3
    assert look.shape in MARKERS


@pytest.mark.parametrize("page", ["light", "dark"])
def test_no_two_settings_look_the_same(page):
    assert len({(getattr(look, page), look.shape) for look in LOOKS.values()}) == len(Setting)
