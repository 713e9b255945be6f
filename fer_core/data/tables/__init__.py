"""Tables of labels and of subjects, as people save them: their format, columns and paths."""
