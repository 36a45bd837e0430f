"""Which channels of a supernet stay, decided with its operations."""
