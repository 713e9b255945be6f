"""The arguments of the command lines: the type, the bounds and the help text of each.

The signature of `search.run` is made of these types; `search.doctor` and `search.replay` use those
that they share with it, and add their own. `machine_arguments` has those that say where a study
runs and where files are. Typer checks the values and prints the help.
"""

from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from fer_core.config import Task as TaskName

# The groups of --help.
STUDY, DATA, BUDGET, OUTPUT = "Study", "Data", "Budget", "Output"

_LARGEST_SEED = 2**32 - 1  # NumPy's
_MOST_TRIALS = 1_000_000

Space = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        rich_help_panel=STUDY,
        help="The space to search: a Python file with a function 'space', such as "
        "spaces/temporal.py. A new study needs no other option: without --dataset it renders a "
        "small synthetic dataset, and without a Ray cluster it runs on this machine.",
    ),
]
Resume = Annotated[
    str | None,
    Option(
        metavar="STUDY",
        rich_help_panel=STUDY,
        help="Continue a study instead of starting one: its name, or its folder. It keeps the "
        "options that it began with; a larger --trials extends it.",
    ),
]
Rebuild = Annotated[
    bool,
    Option(
        "--rebuild",
        metavar="",
        rich_help_panel=STUDY,
        help="With --resume: rebuild a lost or outdated journal from the results of the trials.",
    ),
]
Seed = Annotated[
    int,
    Option(
        metavar="N",
        min=0,
        max=_LARGEST_SEED,
        rich_help_panel=STUDY,
        help="Fixes the random choices: the configs drawn from the space, and every training.",
    ),
]
SplitSeed = Annotated[
    int,
    Option(
        metavar="N",
        min=0,
        max=_LARGEST_SEED,
        rich_help_panel=DATA,
        help="Fixes who is sealed and who is in which fold. Leave it at 0: studies of a dataset "
        "compare only if they share their sealed subjects.",
    ),
]
Dataset = Annotated[
    str,
    Option(
        metavar="NAME",
        rich_help_panel=DATA,
        help="The name of the dataset, such as 'oulu_casia', or 'folder' for your own files. "
        "A wrong name is answered with the list of all names.",
    ),
]
DataRoot = Annotated[
    Path,
    Option(
        metavar="DIR", rich_help_panel=DATA, help="The folder of the dataset, or a folder above it."
    ),
]
OptionalDataRoot = Annotated[
    Path | None,
    Option(
        metavar="DIR",
        rich_help_panel=DATA,
        help="The folder of the dataset, or a folder above it. Only the synthetic dataset can do "
        "without: it is then rendered into the store.",
    ),
]
SubjectPattern = Annotated[
    str | None,
    Option(
        metavar="REGEX",
        rich_help_panel=DATA,
        help="A regular expression whose first group, or group 'subject', is the subject in the "
        r"path of each file, such as '(\d+)_'. For the dataset 'folder' only.",
    ),
]
Columns = Annotated[
    list[str] | None,
    Option(
        "--column",
        metavar="NAME=THEIRS",
        rich_help_panel=DATA,
        help="What the table of your files calls a column, as in subject=person_id. The names are "
        "path, subject, emotion and authenticity. May be given several times.",
    ),
]
SubjectTable = Annotated[
    Path | None,
    Option(
        "--subjects",
        metavar="TABLE",
        rich_help_panel=DATA,
        help="A second table that names the subject of each clip: a column 'path' (or 'file') and "
        "a column 'subject'. For the dataset 'folder', and where nobody knows the people.",
    ),
]
Task = Annotated[
    TaskName | None,
    Option(
        metavar="TASK",
        rich_help_panel=DATA,
        help="What to recognise. 'emotion': which emotion is shown. 'authenticity': whether it is "
        "felt or acted. 'hidden': both at once. Default: hidden if the dataset knows what is "
        "acted, else emotion.",
    ),
]
Protocol = Annotated[
    str,
    Option(
        "--protocol",
        metavar="NAME",
        rich_help_panel=DATA,
        help="How subjects are split. 'sealed': a fifth is kept for the final test, five folds of "
        "the others choose. Or the name of a protocol that was published with the dataset.",
    ),
]
Nested = Annotated[
    bool,
    Option(
        "--nested",
        metavar="",
        rich_help_panel=DATA,
        help="Also seal each fold in turn, run a whole search on the other folds, and test its "
        "best trial on the sealed fold, once. The score of all folds together is that of the "
        "whole procedure, on all subjects. It takes as many more searches as there are folds.",
    ),
]
Faces = Annotated[
    Literal["auto", "given", "found"],
    Option(
        metavar="HOW",
        rich_help_panel=DATA,
        help="'given': each picture is a face that was cut out already, so none is looked for. "
        "'found': the face is looked for in each picture. 'auto': given for datasets of cut-out "
        "faces, such as fer2013, else found.",
    ),
]
Missing = Annotated[
    Literal["leave-out", "fallback", "wrong"] | None,
    Option(
        metavar="WHAT",
        rich_help_panel=DATA,
        help="What becomes of a clip in which no face is found. 'leave-out': no trial is scored on "
        "it. 'fallback': the whole picture is shown in the place of the face. 'wrong': it counts "
        "as wrong. Default: fallback for given faces, wrong for a published protocol, else "
        "leave-out.",
    ),
]
Landmarks = Annotated[
    Literal["auto", "data", "dlib", "face_alignment"],
    Option(
        metavar="ENGINE",
        rich_help_panel=DATA,
        help="Where the 68 face points come from. 'data': the dataset brings them. 'dlib' or "
        "'face_alignment': this engine finds them. 'auto': the dataset's if it has them, else "
        "the best engine that is installed.",
    ),
]
MaxMissing = Annotated[
    float,
    Option(
        metavar="SHARE",
        min=0,
        max=1,
        rich_help_panel=DATA,
        help="The largest share of the clips that may be unusable (damaged, or without a face "
        "where --missing does not show the whole picture). If more are, no study starts.",
    ),
]
Weights = Annotated[
    list[str] | None,
    Option(
        metavar="NAME=FILE",
        rich_help_panel=DATA,
        help="The file with the trained weights of a backbone, as in vgg16=vgg_face.pth. May be "
        "given several times.",
    ),
]
Surface = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        rich_help_panel=DATA,
        help="The 3D face surface (.npz or .obj) by which frontal views are made. Default: the "
        "project's own.",
    ),
]
Trials = Annotated[
    int | None,
    Option(
        metavar="N",
        min=1,
        max=_MOST_TRIALS,
        rich_help_panel=BUDGET,
        help="How many configs to try. Default: 24; with --smoke 4; and all points of a space "
        "that lists its points.",
    ),
]
PerFamily = Annotated[
    int,
    Option(
        metavar="N",
        min=0,
        rich_help_panel=BUDGET,
        help="Give each family of models at least N trials: the first ones go round the families.",
    ),
]
TimeBudget = Annotated[
    str | None,
    Option(
        metavar="TIME",
        rich_help_panel=BUDGET,
        help="Start no trial after this time, such as 30s, 10m or 2h. Trials that run then are "
        "finished.",
    ),
]
Smoke = Annotated[
    bool,
    Option(
        "--smoke",
        metavar="",
        rich_help_panel=BUDGET,
        help="Try the command quickly: a smaller synthetic dataset and few trials.",
    ),
]
Repeats = Annotated[
    int,
    Option(
        metavar="R",
        min=1,
        rich_help_panel=BUDGET,
        help="Refit each winner with R training seeds; its sealed test is still opened once.",
    ),
]
Pruning = Annotated[
    bool,
    Option(
        " /--no-pruning",
        metavar="",
        rich_help_panel=BUDGET,
        show_default=False,
        help="Train every trial on all folds and epochs. By default the worse trials are stopped "
        "early.",
    ),
]
DryRun = Annotated[
    bool,
    Option(
        "--dry-run",
        metavar="",
        rich_help_panel=OUTPUT,
        help="Print what the search would compute and how long it would take, and do nothing.",
    ),
]
AsJson = Annotated[
    bool,
    Option(
        "--json", metavar="", rich_help_panel=OUTPUT, help="Print the result as JSON, for programs."
    ),
]
Verbose = Annotated[
    bool,
    Option("-v", metavar="", rich_help_panel=OUTPUT, help="Print more about the progress."),
]
Quiet = Annotated[
    bool,
    Option("-q", metavar="", rich_help_panel=OUTPUT, help="Print only the result, and errors."),
]
