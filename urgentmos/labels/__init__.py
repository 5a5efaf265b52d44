"""Label metrics: what other tools say of a recording, to train on and to compare with."""
