"""What the passes know of the machines they compile for, one table each."""
