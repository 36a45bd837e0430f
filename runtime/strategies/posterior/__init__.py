"""The strategy `posterior`: one posterior over members from everything that is known of them."""
