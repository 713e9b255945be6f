"""Compute each intermediate result once, keep it, and share it between trials and machines.

What comes in are stages: pure functions (find the faces, cut the views, run a frozen backbone), and
the values that each depends on. What goes out are arrays that are read by memory map, from a store
on this machine or from one that all machines share. The rooms `faces`, `features` and `training`
keep their results here. This room also has what all other rooms use: the paths, the safe
writing of files, the safe opening of videos, the formats of CSV tables and the worker processes.
"""
