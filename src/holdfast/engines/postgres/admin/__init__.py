"""What whoever runs the database asks of it: backups, inspections, exclusive work."""
