"""What `fit_peak_head.py` and `fit_frame_head.py` share: heads on frozen convolutions, taught.

A head learns from labels and, in every frame, from numbers that say more: a linear map from its
frames foretells them, and is thrown away. What the convolutions give and those numbers are stored
once for each recording.
"""
