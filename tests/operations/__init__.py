"""What whoever runs the database does with it."""
