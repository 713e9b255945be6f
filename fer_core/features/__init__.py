"""Turn views of faces into what the networks of a trial read.

In come the stages `faces` and `views` of the room `faces`, a trial's config, and the study's data.
Out goes, for each stream and each fold, a function that gives the tensors of a batch, with the
blocks of the backbone that are still to be trained. `trial` uses the room to train and score, and
`predict` uses its encoders for videos that no store knows.

On the way to a first batch the modules act in this order:

1. `context`: the data that all streams of a trial share, with the faces and the views.
2. `stream_inputs`: each stream, fold by fold; the one door for `trial`.
3. `activations`: what the frozen blocks give, from memory, from the store, or computed.
4. `extraction`: the pass through the frozen blocks, which the store keeps.
5. `reduction`: standardising and PCA, fitted on the training clips of a fold.

Where a config asks for them, `pretraining` fits a backbone without labels, and `augment` changes
training images. `encoders` hold what a fold fitted, `storing_rule` decides whether a pass is
stored, and `speed` measures what the machine can do.
"""
