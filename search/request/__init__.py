"""What the user asks for: options checked, data loaded and split, faces found, presets fitted.

In come the arguments of the command, or the study.json of a resumed study. Out come `Settings`
(what to search, and where files lie), `Machines` (where trials run), and the `StudyData` that all
trials share. The commands, the plan and the cluster use this room.
"""
