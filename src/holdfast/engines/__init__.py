"""How a database is spoken to: the only code that names one."""
