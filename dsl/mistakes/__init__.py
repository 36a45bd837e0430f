"""What people write by mistake, and the sentences that explain it."""
