"""Compare finished rows of leaderboards, for a paper: read them, test them, print and draw them.

`search.compare` is the command. `scored_rows` reads rows and refuses those that do not compare,
`comparison` tests them, and `tables`, `latex`, `tabarena` and `diagram` write what was found.
"""
