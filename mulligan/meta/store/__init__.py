"""What the experience is made of: records, tables, files that travel, an overview."""
