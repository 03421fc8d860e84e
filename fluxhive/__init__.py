"""FlowHive: turns a room of GPU machines into one queue."""

__version__ = "1.0.0a1"
