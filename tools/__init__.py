"""Programs that make what ships or what the documents show; none is imported by the package."""
