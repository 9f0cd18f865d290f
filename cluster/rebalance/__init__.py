"""Server-side assignors of consumer groups (KIP-848), and the check of what any of them came to. Pure policy."""
