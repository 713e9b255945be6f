"""Training: fit the trainable part of networks to clips, alone or several at once.

In come fits from the trial room, each with a network, its data and its optimiser's settings; out
come the trained networks and the mean loss of each epoch. A fit takes epochs, and an epoch takes a
step for each batch. Fits that are trained together are a group (`fits`): one by one, by `loop` with
`optimizer` and `checkpoint`, or as a stack, in one batched computation (`stacking/`). The trial
room asks a group for one epoch after another, and drops the fits that it stops.
"""
