"""Secrets Manager, Parameter Store and AppConfig on localhost, cached."""
