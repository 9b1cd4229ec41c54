"""What the experience is made of: records, rows and tables, connections, sources, files that travel."""
