"""What work costs on this machine, measured before it is done."""
