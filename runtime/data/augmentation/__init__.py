"""What is done to images before a network learns from them."""
