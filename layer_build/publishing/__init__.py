"""Layers on AWS: ``plan`` says what is to be done, as values; ``reading`` and ``doing`` speak to AWS. See PUBLISHING.md."""
