"""What a command calls: search, train, evaluate, compare, export."""
