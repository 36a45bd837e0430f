"""The parts of a figure: what looks alike, what is folded, words, lines, boxes, the page."""
