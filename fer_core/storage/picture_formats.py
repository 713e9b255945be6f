"""Pillow's formats: what it reads here with its plugins, and what it raises on a damaged file.

`media` asks what a file is, and the room `faces` decodes pictures. Pillow is imported within the
functions, because that takes too long for --help.
"""

import errno
import struct
import warnings
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from fer_core.errors import DataError

# Pillow names these formats and cannot decode them, or (SPIDER) takes other files for one of them.
_NOT_PILLOW = frozenset(("MPEG", "EPS", "WMF", "HDF5", "GRIB", "BUFR", "SPIDER"))
# Pillow's names of the formats whose pictures follow each other in time. The pictures of other
# formats are pages (TIFF), layers (PSD) or lenses (MPO).
_MOVING = frozenset(("GIF", "PNG", "WEBP", "AVIF", "FLI"))
# What Pillow reads with a plugin: its name of the format, ours, and what to install.
_PLUGINS = {"HEIF": ("HEIC", "pillow-heif"), "JXL": ("JPEG XL", "pillow-jxl-plugin")}


def kind(path: Path) -> Literal["image", "animation"] | None:
    """Say whether Pillow reads a file as one picture or as one that moves; None if as neither.

    Raises: OSError if it cannot be opened.
    """
    from PIL import Image

    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(path, formats=pillow_formats()) as image,
        ):
            moves = image.format in _MOVING and getattr(image, "is_animated", False)
            return "animation" if moves else "image"
    except pillow_errors() as error:
        # A damaged file can name a place that no file has, which is EINVAL, too.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        return None


@cache
def pillow_errors() -> tuple[type[Exception], ...]:
    """List what Pillow and its plugins raise on a damaged file; they document no such list."""
    from PIL import Image

    return (
        *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, RuntimeError),
        *(ArithmeticError, AssertionError, AttributeError, struct.error),
        Image.DecompressionBombError,
    )


@cache
def pillow_formats() -> tuple[str, ...]:
    """Name the formats that Pillow decodes here, with its plugins."""
    from PIL import Image

    if find_spec("pillow_heif"):
        from pillow_heif import register_heif_opener  # the extra `heif`

        register_heif_opener()
    if find_spec("pillow_jxl"):
        import_module("pillow_jxl")  # which adds its format to Pillow
    Image.init()
    return tuple(name for name in Image.OPEN if name not in _NOT_PILLOW)


def check_plugin(format: str) -> None:
    """Refuse a photograph for which Pillow needs a plugin that is not installed.

    Raises: DataError that names the plugin.
    """
    if format not in pillow_formats():
        name, package = _PLUGINS[format]
        raise DataError(f"it is a {name} photograph; pip install {package} to have these read")


def tiff_tags(path: Path) -> Mapping[int, Any]:
    """Read the tags of the first picture of a TIFF; empty if they are damaged."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            head = file.read(8)
            directory = ImageFileDirectory_v2(head + (file.read(8) if head[2] == 43 else b""))
            file.seek(directory.next)
            directory.load(file)
            return dict(directory)
    except pillow_errors():
        return {}
