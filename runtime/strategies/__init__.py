"""How a search judges and removes."""
