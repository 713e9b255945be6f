"""Stacking: train several networks of one shape as one batched computation.

The heads that a search trains are small: most of a step is the overhead of calling each operation,
not arithmetic. A stack puts the weights of M networks into tensors with an axis for the members in
front, so that one call does the step of all of them. Each member keeps its own weights, batches,
dropout, learning rate and weight decay, and becomes what it would alone, except for the last bits.
`stack` is the group of fits that the trial room trains; `forward` runs the stacked networks,
`cells` their recurrent cells; `targets` is for their losses, `optimizers` updates the values, and
`calibration` measures how many members should share a call.
"""
