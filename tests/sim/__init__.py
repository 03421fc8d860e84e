"""The hive in simulated worlds where everything goes wrong: ``./dev sim``."""
