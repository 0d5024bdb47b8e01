"""PostgreSQL's own regression suite as a file of statements, and a database that they find their objects in."""
