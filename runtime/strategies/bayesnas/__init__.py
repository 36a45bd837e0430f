"""The strategy `bayesnas`, as published."""
