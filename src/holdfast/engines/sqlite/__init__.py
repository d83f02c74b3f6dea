"""SQLite through the standard library, on threads of our own."""
