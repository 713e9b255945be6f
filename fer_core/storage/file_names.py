"""What the name of a file says: whether it is an image or a video, or what a system leaves behind.

`media` asks what a file is by its content. The suffixes here only find files in a folder that no
table describes, and decide where the content says nothing.
"""

from pathlib import Path


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Cameras' own raw formats. They hold a small preview, which must not be taken for the photograph.
RAW_SUFFIXES = _words(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf "
    ".raw .rw2 .rwl .sr2 .srf .srw .x3f"
)
HEIF_SUFFIXES = _words(".heic .heics .heif .hif")
IMAGE_SUFFIXES = (
    RAW_SUFFIXES
    | HEIF_SUFFIXES
    | _words(
        ".apng .avif .avifs .bmp .dib .exr .gif .hdr .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf "
        ".jpg .jpx .jxl .mpo .pbm .pcx .pfm .pgm .png .pnm .ppm .psd .qoi .ras .sgi .tga .tif "
        ".tiff .webp"
    )
)
MOTION_JPEG_SUFFIXES = _words(".mjpeg .mjpg")  # JPEG files one after another
VIDEO_SUFFIXES = _words(
    ".3g2 .3gp .asf .avi .divx .dv .f4v .flv .m1v .m2t .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4 "
    ".mpe .mpeg .mpg .mts .mxf .nut .ogm .ogv .qt .rm .rmvb .ts .vob .webm .wmv .y4m"
)
MEDIA_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
# The suffixes that earlier versions knew. Their studies and stores hold no other files.
EARLIER_IMAGES = _words(".bmp .jpeg .jpg .png .tif .tiff .webp")
EARLIER_VIDEOS = _words(".avi .flv .m4v .mkv .mov .mp4 .mpg .webm")
EARLIER = EARLIER_IMAGES | EARLIER_VIDEOS
# Folders and files that Windows, macOS and network drives (Synology) leave beside the user's own.
_JUNK = _words("thumbs.db ehthumbs.db ehthumbs_vista.db desktop.ini __macosx @eadir $recycle.bin")
_JUNK |= {"icon\r", "system volume information"}


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is left behind by a system and never means anything."""
    return name.startswith(".") or name.lower() in _JUNK


def is_image_name(path: Path) -> bool:
    """Whether a path has the suffix of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_no_utf_8(name: str) -> bool:
    """Whether a name has bytes that are no UTF-8; Python writes each as a half of a character."""
    return any("\udc80" <= letter <= "\udcff" for letter in name)
