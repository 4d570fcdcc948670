"""Facts: value types, declarations, live observation."""
