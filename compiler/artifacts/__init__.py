"""What a graph is written as: JSON, formulas, figures, specs."""
