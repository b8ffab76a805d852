"""Infrastructure code for a layer: one module for each kind, ``render(subject)`` gives the file's text, ``file_name`` its name.

A text is made from the manifest alone and is the same for the same layer. What an author wrote (summary, reasons, resources)
gets into it quoted, or as a comment on one line: it cannot become code.
"""
