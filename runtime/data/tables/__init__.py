"""Tables: files of rows, and what becomes of their columns."""
