"""Packages extensions as Lambda layers, and proves the packages: ``python -m layer_build``.

`build` makes a layer from an extension's folder and its ``manifest.toml``, `verify` says what would break on Lambda, `inspect`
and `diff` show what is inside, `template` writes the infrastructure code around it. What lies where in a layer, and what the
parts of one say to each other, stands in ``layer_build/README.md``.
"""
