"""PostgreSQL through asyncpg, on a pool of our own."""
