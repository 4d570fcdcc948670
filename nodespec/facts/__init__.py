"""What can be known: value types, declarations, live observation."""
