"""One module for each command of ``extension-kit``: ``arguments`` declares options, ``run`` returns the exit status."""
