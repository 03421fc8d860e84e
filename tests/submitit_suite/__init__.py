"""submitit's own tests, with a hive in the place of its local executor."""
