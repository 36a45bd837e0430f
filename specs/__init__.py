"""Search spaces, one .nas file each."""
