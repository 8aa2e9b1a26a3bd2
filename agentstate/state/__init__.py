"""A project's state: its keys, its two homes, and where it stands between them."""
