"""Neural networks: everything between what a trial reads of a clip and the scores of its classes.

In come the inputs of each stream (crops, stored activations or encoded landmarks) and the choices
of a `Config`; out come logits for each class. `network` assembles the trainable part of a model;
`stream_readers`, `recurrent`, `fusion`, `head`, `pooling` and `dropout` are its parts. `backbones/`
builds the convolutional networks and transformers that read images, and `vgg_face/` and
`state_dicts` read weight files. The rooms features, training, trial and predict use these networks.
"""
