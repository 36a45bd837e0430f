"""How good what a strategy finds is, judged by tables of ground truth."""
