"""Real trainings on real data that need no download: see digits.py and digits_torch.py."""
