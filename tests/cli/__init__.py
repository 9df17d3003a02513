"""The command line without an engine: parsing, templates, formats, HTTP, terminals."""
