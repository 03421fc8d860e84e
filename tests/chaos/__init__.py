"""Real processes, broken on purpose: ``./dev chaos``. Begin with ``__main__.py``."""
