"""The parts of a figure: what looks alike, folded chains, words, one motif, the page."""
