"""What ``extension-kit check`` looks at, a module for each subject; `findings` has what all of them speak in.

A layer never holds this: it runs where the extension is written or attached. `layer_build` judges layers and reads manifests,
and is imported when that is wanted.
"""
