"""What whoever runs the database asks of it: backups and inspections."""
