"""Small trees in the layouts of real datasets, with rendered faces and the real names and oddities.

Each writer returns what must be read back: a row (clip, subject, emotion, authenticity, part) for
each clip, and the names of what is left out, ignored or a copy.
"""

from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from fer_core.synthetic.painter import paint_clip
from fer_core.synthetic.script import subject_identity, write_script

FRAMES = 3


@dataclass
class Tree:
    """What lies in a tree."""

    rows: list = field(default_factory=list)
    left_out: list = field(default_factory=list)
    ignored: list = field(default_factory=list)
    copies: list = field(default_factory=list)

    def add(self, clip, subject, emotion, authenticity=None, part=None):
        self.rows.append((clip, subject or clip, emotion, authenticity, part))


@cache
def faces(subject, emotion, genuine="genuine"):
    """Paint the first frames of a clip; a neutral face is the first frame of any."""
    shown = "happiness" if emotion == "neutral" else emotion
    script = write_script(0, subject, shown, genuine, identity=subject_identity(0, subject))
    return list(islice(paint_clip(script), FRAMES))


def save_image(path, picture, pixels=None, grey=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    bgr = bgr if pixels is None else cv2.resize(bgr, (pixels, pixels))
    cv2.imwrite(str(path), cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY) if grey else bgr)


def save_frames(folder, pictures, name="{:03d}.jpeg", first=0):
    for number, picture in enumerate(pictures, start=first):
        save_image(folder / name.format(number), picture)


def save_video(path, pictures):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=path.suffix[1:].lower()) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def save_text(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


OULU_PLACES = {"original": "B_OriginalImg/B_OriginalImg/OriginalImg", "cropped": "PreProcess_Img"}


def oulu_casia(root, camera="VL", light="Strong"):
    """All twelve trees lie side by side; those that are not asked for hold one sequence each."""
    tree = Tree()
    for lens in ("VL", "NI", "VL_Acropped", "NI_Acropped"):
        top = OULU_PLACES["cropped" if "_" in lens else "original"]
        for lamp in ("Strong", "Weak", "Dark"):
            folder = f"{top}/{lens}/{lamp}"
            if (lens, lamp) == (camera, light):
                _oulu_subjects(root, folder, tree)
            else:
                save_image(root / folder / "P001" / "Fear" / "000.jpeg", faces(9, "fear")[0])
    return tree


def _oulu_subjects(root, folder, tree):
    for subject, emotion in [(1, "anger"), (1, "fear"), (2, "surprise"), (80, "happiness")]:
        place = f"{folder}/P{subject:03d}/{emotion.capitalize()}"
        save_frames(root / place, faces(subject % 7, emotion))
        tree.add(place, f"P{subject:03d}", emotion)
    save_text(root / folder / "P002" / "Surprise" / "Thumbs.db", "not a frame")
    save_text(root / folder / "P002" / "Sadness" / "Thumbs.db", "a folder that lost its frames")
    tree.left_out.append(f"{folder}/P002/Sadness")


def sase_fe(root):
    """The full set: names in both cases, D2N2S, three equal files, a nameless one, a copy."""
    tree = Tree()
    names = {
        "1/N2H.MP4": ("happiness", "genuine"),
        "1/s2n2h.mp4": ("happiness", "acted"),
        "1/D2N2S.MP4": ("surprise", "acted"),
        "10/N2Sur.MP4": ("surprise", "genuine"),
        "10/H2N2S.MP4": ("sadness", "acted"),
        "8/N2C.MP4": ("contempt", "genuine"),
    }
    for number, (name, (emotion, authenticity)) in enumerate(names.items()):
        save_video(root / "FakeTrue_DB" / name, faces(number, emotion, authenticity))
        tree.add(f"FakeTrue_DB/{name}", name.split("/")[0], emotion, authenticity)
    for name in ("H2N2A", "H2N2C", "H2N2D"):  # one and the same file in the distributed set
        save_video(root / "FakeTrue_DB" / "8" / f"{name}.MP4", faces(8, "anger"))
        tree.left_out.append(f"FakeTrue_DB/8/{name}.MP4")
    save_video(root / "Val" / "31_CONTENTMENT.mp4", faces(8, "contempt"))
    tree.ignored.append("Val/31_CONTENTMENT.mp4")
    save_video(root / "Train" / "1" / "N2H.MP4", faces(0, "happiness"))
    tree.copies.append("Train/1/N2H.MP4")
    save_text(root / "FakeTrue_DB" / "1" / "._N2H.MP4", "what a Mac leaves behind")
    return tree


def ck_plus(root):
    """A labelled and an unlabelled sequence, an empty label folder, a label without images."""
    tree = Tree()
    sequences = {
        ("S005", "001"): ("disgust", "   3.0000000e+00\n"),
        ("S010", "002"): ("surprise", "   7.0000000e+00\n"),
        ("S011", "001"): ("contempt", "   2.0000000e+00\n"),
        ("S999", "003"): ("sadness", "   6.0000000e+00\n"),
        ("S010", "001"): ("fear", None),
    }
    for number, ((subject, sequence), (emotion, label)) in enumerate(sequences.items()):
        place = f"cohn-kanade-images/{subject}/{sequence}"
        name = f"{subject}_{sequence}_{{:08d}}.png"
        save_frames(root / place, faces(number, emotion), name, first=1)
        (root / "Emotion" / subject / sequence).mkdir(parents=True)
        if label is None:
            tree.ignored.append(place)
            continue
        file = f"Emotion/{subject}/{sequence}/{subject}_{sequence}_{FRAMES:08d}_emotion.txt"
        save_text(root / file, label)
        tree.add(place, subject, emotion)
    lost = "Emotion/S005/009/S005_009_00000011_emotion.txt"
    save_text(root / lost, "   1.0000000e+00\n")
    tree.left_out.append(lost)
    save_text(root / "Landmarks" / "S005" / "001" / "S005_001_00000001_landmarks.txt", "1 2\n")
    return tree


def ck_plus_48(root):
    """The copy of photographs: three of a sequence, and a name that tells nothing."""
    tree = Tree()
    shown = {
        ("S010", "004"): ("anger", "anger"),
        ("S010", "006"): ("happy", "happiness"),
        ("S138", "008"): ("contempt", "contempt"),
        ("S005", "001"): ("disgust", "disgust"),
    }
    for number, ((subject, sequence), (folder, emotion)) in enumerate(shown.items()):
        for frame, picture in enumerate(faces(number, emotion), start=17):
            place = f"CK+48/{folder}/{subject}_{sequence}_{frame:08d}.png"
            save_image(root / place, picture, 48, grey=True)
            tree.add(place, subject, emotion)
    save_image(root / "CK+48" / "fear" / "fear1.png", faces(7, "fear")[0], 48, grey=True)
    tree.left_out.append("CK+48/fear/fear1.png")
    save_image(root / "CK+48" / "other" / "S502_001_00000001.png", faces(8, "fear")[1], 48)
    tree.left_out.append("CK+48/other/S502_001_00000001.png")
    return tree


SESSION = """<?xml version="1.0" encoding="UTF-8"?>
<Session sessionId="{number}">
  <Subject id="{subject}" ethnicity="European" />
  <Track filename="{file}"><Metatag Name="View" Value="1" /></Track>
  <Metatag Name="Emotion" Value="{value}" />
</Session>
"""


def mmi(root):
    """Sessions of emotions, one with two files, and a session of an action unit."""
    tree = Tree()
    sessions = {
        1: ("S001", ["S001-001.avi"], "1", "anger"),
        2: ("S002", ["S002-007.avi", "S002-008.avi"], "4", "happiness"),
        1767: ("S031", ["front.avi"], "6", "surprise"),
        1800: ("S031", ["S031-010.avi"], "12", None),
    }
    for number, (subject, files, value, emotion) in sessions.items():
        folder = root / "Sessions" / str(number)
        for part, file in enumerate(files):
            save_video(folder / file, faces(number % 9 + part, emotion or "sadness"))
            name = f"Sessions/{number}/{file}"
            if emotion is None:
                tree.ignored.append(name)
            else:
                tree.add(name, subject, emotion)
        text = SESSION.format(number=number, subject=subject, file=files[0], value=value)
        save_text(folder / "session.xml", text)
    save_video(root / "Sessions" / "9" / "S003-001.avi", faces(3, "fear"))
    tree.left_out.append("Sessions/9/S003-001.avi")
    return tree


def kdef(root, every_angle=False):
    """Both sessions of a subject, all angles, lower case, and a name that tells nothing."""
    tree = Tree()
    names = {
        "AF01/AF01AFS.JPG": ("F01", "fear"),
        "BF01/BF01HAS.JPG": ("F01", "happiness"),
        "AM35/am35nes.jpg": ("M35", "neutral"),
        "BM35/BM35SUS.JPG": ("M35", "surprise"),
    }
    side = {"AF01/AF01DIHL.JPG": ("F01", "disgust"), "AF01/AF01SAFR.JPG": ("F01", "sadness")}
    for number, (name, (subject, emotion)) in enumerate({**names, **side}.items()):
        save_image(root / "KDEF" / name, faces(number, emotion)[0])
        if name in names or every_angle:
            tree.add(f"KDEF/{name}", subject, emotion)
        else:
            tree.ignored.append(f"KDEF/{name}")
    save_image(root / "KDEF" / "AF31" / "AF31V.JPG", faces(7, "anger")[0])
    tree.left_out.append("KDEF/AF31/AF31V.JPG")
    return tree


def jaffe(root):
    """One flat folder of grey TIFFs."""
    tree = Tree()
    shown = {"KA.AN1.39": "anger", "KA.NE2.27": "neutral", "YM.FE4.70": "fear", "KL.DI3.177": 0}
    for number, (name, emotion) in enumerate(shown.items()):
        save_image(root / f"{name}.tiff", faces(number, emotion or "disgust")[0], grey=True)
        tree.add(f"{name}.tiff", name[:2], emotion or "disgust")
    save_text(root / "README", "JAFFE")
    return tree


FER_ROWS = [  # emotion code, FER2013's name, usage, votes of FER+, its label
    (1, "disgust", "Training", "0,0,0,0,2,8,0,0,0,0", "disgust"),  # the last is the same face
    (0, "anger", "Training", "4,0,0,1,5,0,0,0,0,0", "anger"),
    (3, "happiness", "Training", "0,10,0,0,0,0,0,0,0,0", "happiness"),
    (6, "neutral", "Training", "5,0,0,5,0,0,0,0,0,0", None),
    (2, "fear", "PublicTest", "1,1,1,1,0,0,4,1,1,0", "fear"),
    (5, "surprise", "PrivateTest", "0,0,2,0,0,0,0,1,7,0", None),
    (4, "sadness", "PrivateTest", "0,0,0,2,0,0,0,3,2,3", None),
    (3, "happiness", "PublicTest", "4,5,0,0,0,0,1,0,0,0", "happiness"),
    (1, "disgust", "PrivateTest", "0,0,0,0,2,8,0,0,0,0", "disgust"),
]
USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}


def _pixels(picture):
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (48, 48))
    return " ".join(map(str, grey.ravel()))


def fer2013_table(root, plus=False):
    """The table of pixels, its windows line ends, and a training face that is tested on, too."""
    tree = Tree()
    lines, votes = [], []
    for number, (code, emotion, usage, counts, majority) in enumerate(FER_ROWS):
        face = number % (len(FER_ROWS) - 1)
        lines.append(f"{code},{_pixels(faces(face, emotion)[0])},{usage}")
        votes.append(f"{usage},fer{number:07d}.png,{counts}")
        name = f"fer2013/fer2013.csv/{number:05d}"
        if number == 0:
            tree.copies.append(name)
        elif not plus or majority:
            tree.add(name, None, majority if plus else emotion, None, USAGES[usage])
        else:
            tree.ignored.append(name)
    head = "emotion,pixels,Usage"
    save_text(root / "fer2013" / "fer2013.csv", "\r\n".join([head, *lines, ""]))
    if plus:
        names = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
        text = "\n".join([f"Usage,Image name,{names}", *votes, ""])
        save_text(root / "FERPlus" / "fer2013new.csv", text)
    return tree


def ferplus(root):
    return fer2013_table(root, plus=True)


def fer2013_folders(root):
    """The copy that is spread as folders of images: no validation part, other spellings."""
    tree = Tree()
    folders = {"angry": "anger", "happy": "happiness", "sad": "sadness", "neutral": "neutral"}
    for number, (folder, emotion) in enumerate(folders.items()):
        for part, name in (("train", "Training_3908.jpg"), ("test", "PrivateTest_10131363.jpg")):
            place = f"{part}/{folder}/{name}"
            save_image(root / place, faces(number, emotion)[part == "train"], 48, grey=True)
            tree.add(place, None, emotion, None, part)
    return tree


RAF_LINES = {
    "train_00001": (5, "sadness"),
    "train_00002": (1, "surprise"),
    "train_12271": (7, "neutral"),
    "test_0001": (2, "fear"),
    "test_3068": (3, "disgust"),
}


def raf_db(root, ending=""):
    """Both sizes of each photograph, and a line whose photograph is lost."""
    tree = Tree()
    for number, (name, (_, emotion)) in enumerate(RAF_LINES.items()):
        picture = faces(number, emotion)[0]
        save_image(root / "basic" / "Image" / "original" / f"{name}.jpg", picture)
        save_image(root / "basic" / "Image" / "aligned" / f"{name}_aligned.jpg", picture, 100)
        folder = "aligned" if ending else "original"
        place = f"basic/Image/{folder}/{name}{ending}.jpg"
        tree.add(place, None, emotion, None, name.split("_")[0])
    tree.left_out.append(f"basic/Image/{'aligned' if ending else 'original'}/test_0404{ending}.jpg")
    lines = [f"{name}.jpg {code}" for name, (code, _) in RAF_LINES.items()] + ["test_0404.jpg 4"]
    save_text(root / "basic" / "EmoLabel" / "list_patition_label.txt", "\n".join(lines) + "\n")
    return tree


def raf_db_aligned(root):
    return raf_db(root, ending="_aligned")


AFFECT = [  # part, its table, image, code, emotion
    ("train", "training", "103/29a31ebf1567693f4644c8ba3476ca9a72ee07fe67a5860d98707a0a.jpg", 1),
    ("train", "training", "736/2d2b0f3eb1ec0e0b6a2f9a7f.JPG", 7),
    ("train", "training", "737/aa.png", 10),
    ("test", "validation", "66/1a.jpg", 0),
    ("test", "validation", "66/2b.jpg", 6),
    ("test", "validation", "66/3c.jpg", 9),
]
AFFECT_NAMES = {0: "neutral", 1: "happiness", 6: "anger", 7: "contempt"}


def affectnet_lists(root):
    """The first release: two tables, among whose codes are none, uncertain and no face."""
    tree = Tree()
    tables = {"training": [], "validation": []}
    for number, (part, table, image, code) in enumerate(AFFECT):
        emotion = AFFECT_NAMES.get(code)
        place = f"Manually_Annotated/Manually_Annotated_Images/{image}"
        save_image(root / place, faces(number, emotion or "fear")[0])
        tables[table].append(f"{image},0,0,192,192,10;20;30;40,{code},-0.1,0.2")
        if emotion:
            tree.add(place, None, emotion, None, part)
        else:
            tree.ignored.append(place)
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks"
    for table, lines in tables.items():
        text = "\n".join([f"{head},expression,valence,arousal", *lines, ""])
        save_text(root / "Manually_Annotated_file_lists" / f"{table}.csv", text, "utf-8-sig")
    return tree


def affectnet_sets(root):
    """The release of eight labels: an annotation is an array of one text or number, or missing."""
    tree = Tree()
    shown = [("train", "0"), ("train", "1.0"), ("train", 7.0), ("val", 6), ("val", "0")]
    for number, (part, code) in enumerate(shown):
        emotion = AFFECT_NAMES[int(float(code))]
        place = f"{part}_set/images/{number}.jpg"
        save_image(root / place, faces(number, emotion)[0])
        notes = root / f"{part}_set" / "annotations"
        notes.mkdir(exist_ok=True)
        np.save(notes / f"{number}_exp.npy", np.array(code))
        np.save(notes / f"{number}_val.npy", np.array("-0.3"))
        tree.add(place, None, emotion, None, "test" if part == "val" else "train")
    for number, code in ((97, "1.5"), (98, "happy"), (99, None)):
        save_image(root / "val_set" / "images" / f"{number}.jpg", faces(number % 9, "sadness")[0])
        tree.left_out.append(f"val_set/images/{number}.jpg")
        if code:
            np.save(root / "val_set" / "annotations" / f"{number}_exp.npy", np.array(code))
    return tree


DFEW_NAMES = ["happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear"]


def dfew(root):
    """Seven clips over five folds; the last is named by the tables, but its frames are lost."""
    tree = Tree()
    labels = {number: number for number in range(1, 8)} | {8: 1}
    fold_of = {number: str((number - 1) % 5 + 1) for number in labels}
    for number, code in labels.items():
        place = f"Clip/jpg_256/{number:05d}"
        if number == 8:
            tree.left_out.append(place)
            continue
        save_frames(root / place, faces(number, DFEW_NAMES[code - 1]), "{:05d}.jpg", first=1)
        tree.add(place, None, DFEW_NAMES[code - 1], None, fold_of[number])
    for fold in "12345":
        for side in ("train", "test"):
            chosen = [n for n in labels if (fold_of[n] == fold) == (side == "test")]
            text = "video_name,label\n" + "".join(f"{n},{labels[n]}\n" for n in chosen)
            table = f"EmoLabel_DataSplit/{side}(single-labeled)/set_{fold}.csv"
            save_text(root / table, text)
    return tree


def folder(root):
    """Any tree, by place and name."""
    tree = Tree()
    for number, (emotion, file) in enumerate(
        [("joy", "ann_1.jpg"), ("joy", "bob_1.png"), ("rage", "ann_x.mp4"), ("rage", "bob_2.jpg")]
    ):
        save = (
            save_video if file.endswith("mp4") else lambda path, shown: save_image(path, shown[0])
        )
        save(root / emotion / file, faces(number, "happiness"))
        tree.add(f"{emotion}/{file}", file[:3], emotion)
    return tree


LAYOUTS = {  # a name for the test: the dataset, and its writer
    "affectnet": ("affectnet", affectnet_lists),
    "affectnet of eight labels": ("affectnet", affectnet_sets),
    "ck_plus": ("ck_plus", ck_plus),
    "ck_plus of 48 pixels": ("ck_plus", ck_plus_48),
    "dfew": ("dfew", dfew),
    "fer2013": ("fer2013", fer2013_table),
    "fer2013 in folders": ("fer2013", fer2013_folders),
    "ferplus": ("ferplus", ferplus),
    "folder": ("folder", folder),
    "jaffe": ("jaffe", jaffe),
    "kdef": ("kdef", kdef),
    "kdef_all": ("kdef_all", lambda root: kdef(root, every_angle=True)),
    "mmi": ("mmi", mmi),
    "oulu_casia": ("oulu_casia", oulu_casia),
    "oulu_casia cropped": (
        "oulu_casia_cropped",
        lambda root: oulu_casia(root, camera="VL_Acropped"),
    ),
    "raf_db": ("raf_db", raf_db),
    "raf_db_aligned": ("raf_db_aligned", raf_db_aligned),
    "sase_fe": ("sase_fe", sase_fe),
}


def write(name: str, root: Path) -> tuple[str, Tree]:
    """Write a layout; return the name of its dataset and what lies there."""
    dataset, writer = LAYOUTS[name]
    root.mkdir(parents=True, exist_ok=True)
    return dataset, writer(root)
