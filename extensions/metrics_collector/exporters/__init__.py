"""Where points go: EMF and OTLP. Imported at the first export, and only the one that is configured."""
