"""The trials of a study: what was asked, what came out, and what is still to do."""
