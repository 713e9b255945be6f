"""Training: fit the trainable part of networks to clips, alone or several at once.

In come fits: a network, a function that reads its batches, labels, and the rows to train on. Out
come trained networks and the mean loss of each epoch. The words: a fit is one network's training;
it takes `epochs`, and in each a step for every batch. Fits that go on together are a group. A
group trains its fits one by one, or, as a stack, in one batched computation (`stacking/`).
`loop` trains a single network, `optimizer` builds what updates it, and `checkpoint` saves it. The
trial room makes the fits, and decides after each epoch which of them go on.
"""
