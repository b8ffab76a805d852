"""The extension ``my-extension``: what it is and may do stands in ``manifest.toml``, what it does in ``plugin.py``."""
