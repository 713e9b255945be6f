"""What a dataset holds, and which of its subjects train, choose and stay sealed.

The folder of a dataset comes in. A `Manifest` (one row per clip, with its labels and its hash), a
`Protocol` (a split that leaks no subject) and `StudyData` (both, with the study's settings) go out.
The adapters in `datasets` read one dataset each. `media` says what a file is, by its content; no
pixel is read in this room. The room `faces` reads the clips, and `trial` and
`search` follow the protocol.
"""
