"""Networks: backbones as lists of blocks, pooling, recurrent cells, heads, and their assembly."""
