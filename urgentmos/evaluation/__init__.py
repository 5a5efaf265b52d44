"""How far predictions agree with listeners: correlations, preferences, MOS-RMBench."""
