"""Check a dataset before a study uses it, and show its faces to a person.

In comes the folder of a dataset. Out come a report of everything that is missing, odd or unusable,
and a picture of some faces. `search.doctor` is the command line of this room.
"""
